"""`joulebench meters ...`: one command a question. Only signatures; bodies import what they need."""

from __future__ import annotations

from typing import Annotated

import typer

meters_app = typer.Typer(
    help="Meters: what is plugged in, what it reads, whether it is well, what can go wrong.", no_args_is_help=True
)

AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output and nothing else there.")]


@meters_app.command("list")
def meters_list(as_json: AsJson = False) -> None:
    """List the meter drivers and what is plugged in."""
    from harness.cli.look import list_meters

    list_meters(as_json=as_json)
