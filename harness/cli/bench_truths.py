"""What a run says beside its figure: meters held against each other, what nobody could notice, what watching cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape

from harness.cli.format import engineering, percent
from harness.store.run_reader import RunReader


def beside(reader: RunReader, result: Mapping[str, Any]) -> dict[str, Any]:
    """For `show --json`: `crosschecks`, `not_compared`, `unobservable`, `observers`."""
    from analysis.crosscheck.observers import observers
    from analysis.crosscheck.unobservable import unobservable, without_model

    pairs = result.get("crosschecks", [])
    return {
        "crosschecks": pairs,
        "not_compared": [list(pair) for pair in without_model(reader.spec)],
        "unobservable": unobservable(reader.spec, result.get("meters", [result]), pairs),
        "observers": observers(reader.path, reader.spec),
    }


def print_beside(out: Console, told: Mapping[str, Any], *, bench: str) -> None:
    """The same for people; nothing is left out because it is unpleasant."""
    for pair in told["crosschecks"]:
        out.print(_pair(pair), soft_wrap=True)
    for a, b in told["not_compared"]:
        out.print(f"  {escape(a)} and {escape(b)} are not compared: the bench declares no plane model between them")
    for observer in told["observers"]:
        out.print(_observer(observer, bench), soft_wrap=True)
    for line in told["unobservable"]:
        out.print(f"  unobservable: {escape(line)}", soft_wrap=True, highlight=False)


def _pair(pair: Mapping[str, Any]) -> str:
    colours = {"agree": "green", "disagree": "bold red", "not_comparable": "yellow"}
    outcome, names = pair["outcome"], f"{escape(pair['upstream'])} against {escape(pair['downstream'])}"
    compared = "; ".join(_compared(name, pair[name]) for name in ("dynamic", "gross") if pair[name])
    words = f"[{colours[outcome]}]{outcome.replace('_', ' ')}[/]"
    return f"  {names}: {words}: {escape(pair['reason'])}" + (f"\n    {compared}" if compared else "")


def _compared(name: str, found: Mapping[str, Any]) -> str:
    low, high = (engineering(value, "J", digits=4) for value in found["expected_j"])
    expected = low if low == high else f"{low} to {high}"
    return (
        f"{name} {engineering(found['upstream_j'], 'J', digits=4)}, expected {expected} "
        f"(u {engineering(found['u_j'], 'J', digits=2)}, {found['sigmas']:.1f} of {found['limit_sigmas']:.1f} sigma)"
    )


def _observer(found: Mapping[str, Any], bench: str) -> str:
    often = "" if found["period_s"] is None else f" every {engineering(found['period_s'], 's', digits=3)}"
    share = "an unknown share" if found["cpu_share"] is None else percent(found["cpu_share"])
    text = f"  observer {escape(found['meter'])}: {found['what']}{often}, {share} of one CPU of the board"
    if found["power_w"] is None:
        return f"{text}; its power was not measured: joulebench boards cost {escape(bench)}"
    half = engineering(found["power_half_width_w"], "W", digits=2)
    return f"{text}; {engineering(found['power_w'], 'W', digits=2)} ± {half} at rest ({escape(found['power_source'])})"


def observer_line(power_w: float, half_width_w: float, source: str) -> str:
    """The line for a bench's meter that keeps what `boards cost` found with its runs."""
    return f'observer: {{power_w: {power_w:.2g}, half_width_w: {half_width_w:.2g}, source: "{source}"}}'


def print_pairs(out: Console, results: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    """After a campaign: one line for each pair of meters of each run, (run id, result)."""
    for run_id, result in results:
        for pair in result.get("crosschecks", []):
            out.print(f"  {escape(run_id)}:{_pair(pair).splitlines()[0][1:]}", soft_wrap=True)
