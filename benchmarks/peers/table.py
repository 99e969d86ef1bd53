"""docs/peers.md's tables from results.json: no figure of that page is typed in."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results.json"
PAGE = Path(__file__).parents[2] / "docs/peers.md"
OURS = "joulebench"
PARTS = ("powercap", "nvml", "monsoon")
WORD = {
    "right": "right",
    "typed_error": "error",
    "said": "said",
    "silent_wrong": "**silent wrong**",
    "silent_zero": "**silent 0**",
    "no_figure": "no figure",
    "crash": "crash",
    "hang": "hang",
    "recovered": "right",
    "unobservable": "unobservable",
    "crashed": "crash",
}


def write_page() -> None:
    """Write all tables between their markers."""
    PAGE.write_text(filled(PAGE.read_text("utf-8"), json.loads(RESULTS.read_text("utf-8"))), "utf-8")


def filled(page: str, results: dict[str, Any]) -> str:
    """The page with the tables of `results`; ValueError for a marker that nobody fills."""
    made = {"versions": _versions(results), "bugs": _bugs(results["bugs"]), "costs": _costs(results["costs"]),
            "counts": _counts(results), "ours": _ours(results),
            **{part: _trials(part, results) for part in PARTS}}  # fmt: skip

    def fill(found: re.Match[str]) -> str:
        if found["name"] not in made:
            raise ValueError(f"docs/peers.md: nothing fills `peers:{found['name']}`")
        return f"{found['begin']}\n\n{made[found['name']]}\n\n{found['end']}"

    return re.sub(r"(?P<begin><!-- peers:(?P<name>\w+) -->).*?(?P<end><!-- end -->)", fill, page, flags=re.DOTALL)


def _trials(part: str, results: dict[str, Any]) -> str:
    rows = results[part]
    faults = list(dict.fromkeys(row["fault"] for row in rows))
    peers = [name for name in dict.fromkeys(row["peer"] for row in rows) if name != OURS]
    cells = {(row["fault"], row["peer"]): row for row in rows}
    mirrors = {row["fault"]: row for row in results["matrix"] if row["part"] == part}
    mirrored = _mirrors(part)
    live = [OURS] if any(row["peer"] == OURS for row in rows) else []
    head = ["Fault", *peers, *[f"{OURS}, beside them" for _ in live], f"{OURS}, own matrix"]
    lines = []
    for fault in faults:
        what = next(row["what"] for row in rows if row["fault"] == fault)
        words = [_cell(cells.get((fault, peer))) for peer in (*peers, *live)]
        own = mirrors[mirrored[fault]]
        lines.append([f"`{fault}`: {what}", *words, f"{WORD[own['outcome']]} (`{own['fault']}`)"])
    return _table(head, lines)


def _mirrors(part: str) -> dict[str, str]:
    from benchmarks.peers.running import TRIALS

    return {fault.name: fault.mirrors for fault in TRIALS[part].FAULTS}


def _cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not run"
    word = WORD[row["outcome"]]
    if row["energy_j"] is None or row["outcome"] in ("right", "silent_zero"):
        return word
    return f"{word}: {_joules(row['energy_j'])} of {_range(row['low_j'], row['high_j'])} J"


def _ours(results: dict[str, Any]) -> str:
    """How far ours was off where it is called right: its limits are those that its meters state, and wider."""
    rows = [row for part in PARTS for row in results[part] if row["peer"] == OURS and row["outcome"] == "right"]
    told = [dict(re.findall(r"(gross|dynamic) ([+-][\d.]+)%", row["detail"])) for row in rows]
    limits = [float(limit) for row in rows for limit in re.findall(r"gross \S+ \(limit ([\d.]+)%\)", row["detail"])]
    gross, dynamic = (max(abs(float(one[name])) for one in told) for name in ("gross", "dynamic"))
    return (
        f"These limits are wider than 3 %: for gross energy {min(limits):.0f} to {max(limits):.1f} %. In the "
        f"{len(rows)} cells called right its gross energy was off by at most {gross:.2f} %, "
        f"that above standby by {dynamic:.2f} %."
    )


def _joules(value: float) -> str:
    return f"{value:.1f}" if abs(value) < 1000 else f"{value:.0f}"


def _range(low: float, high: float) -> str:
    a, b = _joules(low), _joules(high)
    return a if abs(high - low) <= 0.01 * high else f"{a} to {b}"


def _bugs(rows: Sequence[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        repository, number = row["issue"].split("#")
        figure = (
            "" if row["energy_j"] is None else f"{_joules(row['energy_j'])} of {_range(row['low_j'], row['high_j'])} J"
        )
        seen = figure or row["detail"].split(": ", 1)[-1][:90].replace("|", "/")
        lines.append([
            f"[{row['issue']}](https://github.com/{repository}/issues/{number})", row["reported"], row["version"],
            f"`{row['fault']}`", "yes" if row["reproduced"] else "**no**", seen,
        ])  # fmt: skip
    return _table(["Reported", "What was reported", "Run here", "Fault", "Reproduced", "Seen here"], lines)


def _costs(rows: Sequence[dict[str, Any]]) -> str:
    lines = [[row["what"], row["peer"], "-" if row["us"] is None else f"{row['us']:.1f}"] for row in rows]
    return _table(["Reads", "Who", "us a reading"], lines)


def _versions(results: dict[str, Any]) -> str:
    rows = [row for part in PARTS for row in results[part] if row["version"]]
    lines = []
    for version in sorted({row["version"] for row in rows}, key=str.lower):
        dates = sorted({row["date"] for row in rows if row["version"] == version})
        lines.append([version, dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"])
    return _table(["Package", "Run on"], lines)


def _counts(results: dict[str, Any]) -> str:
    rows = [row for part in PARTS for row in results[part]]
    kinds = [k for k in WORD if any(row["outcome"] == k for row in rows)]
    lines = []
    for peer in dict.fromkeys(row["peer"] for row in rows):
        for part in PARTS:
            mine = [row for row in results[part] if row["peer"] == peer]
            if mine:
                lines.append([peer, part, *[str(sum(row["outcome"] == k for row in mine)) for k in kinds]])
    return _table(["Who", "Reads", *[WORD[k].replace("*", "") for k in kinds]], lines)


def _table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
