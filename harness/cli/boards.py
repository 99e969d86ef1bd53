"""`joulebench boards ...`: get to know a board, describe it, see what works on it, tidy it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from harness.boards.board import TransportBoard
from harness.cli.compose import open_board
from harness.cli.results import console, print_json
from harness.config.bench import load_bench, load_board
from harness.config.complain import did_you_mean
from harness.config.lookup import FOLDER, config_dirs, find_config
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import CheckItem
from harness.core.spec import BoardSpec

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_TRIED_AT_ONCE = 8


# --- finding ----------------------------------------------------------------------------------------


def board_called(name: str, configs: Path | None) -> BoardSpec:
    """The board of the bench called `name`, else the board of that name. SpecError naming both kinds."""
    dirs = config_dirs(configs)
    if _is_known("benches", name, dirs):
        return load_bench(find_config("benches", name, dirs), dirs).board
    if _is_known("boards", name, dirs):
        return load_board(find_config("boards", name, dirs))
    known = [path.stem for kind in ("benches", "boards") for folder in dirs for path in (folder / kind).glob("*.yaml")]
    raise SpecError(
        f"there is neither a bench nor a board called {name!r} in {', '.join(map(str, dirs)) or 'any folder'}",
        hint=did_you_mean(name, set(known)) or "joulebench boards list",
    )


def _is_known(kind: str, name: str, dirs: Sequence[Path]) -> bool:
    try:
        find_config(kind, name, dirs)
    except SpecError:
        return False
    return True


def _opened(spec: BoardSpec) -> TransportBoard:
    board = open_board(spec)
    assert isinstance(board, TransportBoard)
    return board


# --- check ------------------------------------------------------------------------------------------


def check_board(name: str, *, configs: Path | None, as_json: bool) -> None:
    """Print the findings about a board, or a bench's. DeviceError or TransientError if something must be mended."""
    spec = board_called(name, configs)
    items = findings(spec)
    if as_json:
        print_json([{"name": i.name, "ok": i.ok, "found": i.found, "mend": i.mend} for i in items])
    else:
        print_findings(spec.name, items)
    bad = [item.name for item in items if not item.ok]
    if bad:
        kind = TransientError if bad == ["connection"] else DeviceError
        raise kind(f"board {spec.name}: to be mended: {', '.join(bad)}", hint="do what is said there, then check again")


def findings(spec: BoardSpec) -> list[CheckItem]:
    """What works on a board and what does not; one that cannot be reached is one finding. Nothing is raised."""
    board = _opened(spec)
    items: list[CheckItem] = []
    try:
        if spec.transport == "ssh":
            from harness.boards.ssh.checks import check_link
            from harness.boards.ssh.transport import SshTransport

            assert isinstance(board.transport, SshTransport)
            items += check_link(board.transport)
            if not items[0].ok:
                return items
        try:
            items += board.agents.check(None)
            items += board.board_state.check(spec)
        except (DeviceError, TransientError) as error:
            if all(item.ok for item in items):  # else it is a consequence of what is said already
                items.append(CheckItem("agent", False, error.message, error.hint))
        return items
    finally:
        board.close()


def print_findings(name: str, items: Sequence[CheckItem]) -> None:
    table = Table(box=None, pad_edge=False)
    for column in ("", name, "found", "to mend"):
        table.add_column(column, overflow="fold")
    for item in items:
        mark = "[green]ok[/]" if item.ok else "[red]no[/]"
        table.add_row(mark, item.name, escape(item.found), escape(item.mend))
    console().print(table)


# --- trust ------------------------------------------------------------------------------------------


def trust_board(host: str, *, yes: bool, fingerprint: str | None, configs: Path | None) -> None:
    """Show a host's key and write it to known_hosts once the user, or `fingerprint`, says that it is the right one."""
    from harness.boards.ssh.trust import fetch_host_key, remember

    shown = fetch_host_key(_address_of(host, configs), board=host)
    if shown.known:
        print(f"{shown.hop.known_name} is known already: {shown.key}")
        return
    print(f"{shown.hop.known_name} shows the host key\n  {shown.key}")
    print("to compare, on the board: ssh-keygen -l -f /etc/ssh/ssh_host_ed25519_key.pub")
    if fingerprint is not None and _bare(fingerprint) != _bare(shown.key.fingerprint):
        raise DeviceError(
            f"board {host}: it shows {shown.key.fingerprint}, not {fingerprint}",
            hint="compare on the board's own console; somebody may be in between",
        )
    if fingerprint is None and not yes:
        _confirm()
    print(f"written to {remember(shown)}")


def _bare(fingerprint: str) -> str:
    return fingerprint.strip().removeprefix("SHA256:").rstrip("=")


def _confirm() -> None:
    import typer

    if not sys.stdin.isatty():
        raise SpecError(
            "nobody is there to confirm the host key", hint="add --fingerprint SHA256:..., or --yes to take any key"
        )
    typer.confirm("Is it the right one?", abort=True)


def _address_of(host: str, configs: Path | None) -> str:
    """The address of the board called `host`, or what was given."""
    dirs = config_dirs(configs)
    if _NAME.fullmatch(host) and _is_known("boards", host, dirs):
        spec = load_board(find_config("boards", host, dirs))
        if spec.transport != "ssh":
            raise SpecError(f"board {host} is not reached over SSH", hint="give the address of a board that is")
        return spec.address or host
    return host


# --- add --------------------------------------------------------------------------------------------


def add_board(name: str, address: str, *, given: Mapping[str, str | None], configs: Path | None) -> None:
    """Write the file of a board that is reached over SSH, then say what works on it."""
    from harness.boards.ssh.route import split_address

    if not _NAME.fullmatch(name):
        raise SpecError(f"{name!r} is no name for a board", hint="letters, digits, and . _ - within")
    split_address(address)
    path = _writable_folder(configs) / "boards" / f"{name}.yaml"
    fields = {"transport": "ssh", "address": address, **{key: value for key, value in given.items() if value}}
    text = "".join(f"{key}: {json.dumps(value)}\n" for key, value in fields.items())
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise SpecError(f"{path} exists already", hint="edit it, or choose another name") from error
    except OSError as error:
        raise SpecError(f"{path} cannot be written: {error.strerror}", hint="name another folder: --configs") from error
    try:
        spec = load_board(path)
    except SpecError:
        path.unlink()
        raise
    print(f"written: {path}")
    items = findings(spec)
    print_findings(name, items)
    mend = next((item.mend for item in items if not item.ok), "")
    print(f"next: {mend}" if mend else f"next: name it in a bench (`board: {name}`), docs/campaign.md says how")


def _writable_folder(configs: Path | None) -> Path:
    """The --configs folder, or the nearest device_configs upwards, or a new one here."""
    if configs is not None:
        return config_dirs(configs)[0]
    here = Path.cwd()
    return next((p / FOLDER for p in (here, *here.parents) if (p / FOLDER).is_dir()), here / FOLDER)


# --- list -------------------------------------------------------------------------------------------


def list_boards(*, tried: bool, configs: Path | None, as_json: bool) -> None:
    """All boards that are described, which benches use them, and with `tried` which can be reached."""
    rows = _rows(config_dirs(configs))
    if tried:
        with ThreadPoolExecutor(_TRIED_AT_ONCE) as pool:
            for row, answer in zip(rows, pool.map(_reach, rows), strict=True):
                row["reached"], row["answer"] = answer
    if as_json:
        print_json([{key: value for key, value in row.items() if key != "spec"} for row in rows])
        return
    table = Table(box=None, pad_edge=False)
    columns = ["board", "transport", "address", "benches", *(["reached"] if tried else []), "file"]
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        benches = ", ".join(row["benches"]) or "-"
        cells = [row["name"], row["transport"] or "?", row["address"] or row["problem"] or "-", benches]
        if tried:
            cells.append(row["answer"])
        table.add_row(*(escape(cell) for cell in (*cells, row["file"])))
    console().print(table)


def _rows(dirs: Sequence[Path]) -> list[dict[str, Any]]:
    """One row a board; of two with one name the first folder's, as everywhere."""
    users = _benches_by_board(dirs)
    rows: dict[str, dict[str, Any]] = {}
    for path in (path for folder in dirs for path in sorted((folder / "boards").glob("*.yaml"))):
        if path.stem in rows:
            continue
        spec, problem = None, None
        try:
            spec = load_board(path)
        except SpecError as error:
            problem = error.message
        rows[path.stem] = {
            "name": path.stem, "transport": spec and spec.transport, "address": spec and spec.address,
            "benches": users.get(path.stem, []), "file": str(path), "problem": problem, "spec": spec,
        }  # fmt: skip
    return list(rows.values())


def _benches_by_board(dirs: Sequence[Path]) -> dict[str, list[str]]:
    users: dict[str, list[str]] = {}
    seen: set[str] = set()
    for path in (path for folder in dirs for path in sorted((folder / "benches").glob("*.yaml"))):
        if path.stem in seen:
            continue
        seen.add(path.stem)
        try:
            users.setdefault(load_bench(path, dirs).board.name, []).append(path.stem)
        except SpecError:
            continue  # `plan` says what is wrong with it
    return users


def _reach(row: Mapping[str, Any]) -> tuple[bool, str]:
    if row["spec"] is None:
        return False, "its file cannot be read"
    if row["spec"].transport == "local":
        return True, "yes, it is this machine"
    board = _opened(row["spec"])
    try:
        facts = board.transport.facts()  # type: ignore[attr-defined] # of SshTransport
        return True, f"yes: {facts['machine']}, {facts['kernel']}"
    except BenchError as error:
        return False, f"no: {error.message.removeprefix('board ' + row['name'] + ': ')}"
    finally:
        board.close()


# --- clean ------------------------------------------------------------------------------------------


def clean_board(name: str, *, force: bool, configs: Path | None, as_json: bool) -> None:
    """Remove from a board what the harness put there and nobody uses; say what was freed."""
    from harness.boards.agent_file import agent_file
    from harness.boards.ownership.clean import clean_board as clean

    spec = board_called(name, configs)
    board = _opened(spec)
    try:
        root = board.agents.root
        script = f"{root}/files/{agent_file().name}"
        board.transport.put(agent_file(), script)
        python = spec.python or (sys.executable if spec.transport == "local" else "python3")
        report = clean(board.transport, root, python=python, agent_path=script, board=spec.name, force=force)
    finally:
        board.close()
    if as_json:
        print_json(
            {
                "board": spec.name, "directory": root, "freed_bytes": report.freed_bytes,
                "removed": list(report.removed), "kept": list(report.kept), "ended": list(report.ended),
            }
        )  # fmt: skip
        return
    print(f"board {spec.name}: {report.freed_bytes / 1024:,.0f} KiB freed in {root}")
    if report.kept:
        print(f"kept, in use: {', '.join(report.kept)}")
    if report.ended:
        print(f"ended: {', '.join(map(str, report.ended))}")
