"""The page of boards says what their files say; totals come from a board's table only where a bench says so.

JOULEBENCH_WRITE=1 pytest tests/config/test_boards_people_own.py     writes the tables of the page anew
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from harness.config.bench import load_bench, load_board
from harness.config.complain import validated
from harness.config.facts import BoardFacts
from harness.config.lookup import config_dirs
from harness.config.schema import BoardFile
from harness.config.yaml_lines import load_yaml
from harness.core.errors import SpecError

ROOT = Path(__file__).parents[2]
BOARDS = ROOT / "device_configs" / "boards"
PAGE = ROOT / "docs" / "boards-people-own.md"
BEGIN, END = "<!-- from device_configs/boards -->\n", "<!-- to here -->\n"


def catalogue() -> dict[str, tuple[BoardFile, BoardFacts]]:
    found = {}
    for path in sorted(BOARDS.glob("*.yaml")):
        file = validated(load_yaml(path), BoardFile, "the board")
        if file.facts is not None:
            found[path.stem] = (file, file.facts)
    return found


def rendered() -> str:
    parts = []
    for name, (file, facts) in catalogue().items():
        title = (file.description or name).partition(";")[0]
        parts.append(
            f"## {name}\n\n{title}. [Vendor]({facts.vendor_page})\n\n| rail | feeds | part of |\n|---|---|---|\n"
        )
        parts += [
            f"| `{rail}` | {r.feeds} | {f'`{r.part_of}`' if r.part_of else ''} |\n" for rail, r in facts.rails.items()
        ]
        parts.append("\n| total of | at plane | is | says |\n|---|---|---|---|\n")
        parts += [
            f"| {t.meter} | {t.plane} | {' + '.join(f'`{r}`' for r in t.rails)} | {t.source} |\n" for t in facts.totals
        ]
        if facts.idle:
            parts.append("\n| at rest, plane | W | how sure | says |\n|---|---|---|---|\n")
            parts += [
                f"| {i.plane}{' (' + ', '.join(i.rails) + ')' if i.rails else ''} | {i.low_w:g} to {i.high_w:g} "
                f"| {i.sure} | {i.source} |\n"
                for i in facts.idle
            ]
        for heading, lines in (("Wiring", facts.wiring), ("Switch on", facts.switch_on), ("Not known", facts.unknown)):
            if lines:
                parts.append(f"\n{heading}:\n\n" + "".join(f"- {line}\n" for line in lines))
        parts.append("\n")
    return "".join(parts)


def test_the_page_says_what_the_files_say() -> None:
    text = PAGE.read_text("utf-8")
    head, _, rest = text.partition(BEGIN)
    inside, _, tail = rest.partition(END)
    if os.environ.get("JOULEBENCH_WRITE"):
        PAGE.write_text(f"{head}{BEGIN}{rendered()}{END}{tail}", "utf-8")
        return
    assert inside == rendered(), "write it anew: JOULEBENCH_WRITE=1 pytest tests/config/test_boards_people_own.py"


def test_boards_that_people_own_are_there() -> None:
    names = set(catalogue())
    assert {
        "raspberry-pi-4",
        "raspberry-pi-5",
        "jetson-nano",
        "jetson-orin-nano",
        "jetson-agx-orin",
        "x86-rapl",
    } <= names
    assert any(name.startswith("odroid") for name in names)


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_every_fact_has_a_source_and_what_is_not_known_is_said(name: str) -> None:
    _, facts = catalogue()[name]
    assert facts.totals and facts.wiring and facts.switch_on and facts.unknown
    assert all(len(fact.source) > 20 for fact in (*facts.totals, *facts.idle))
    assert facts.idle or any("rest" in line for line in facts.unknown)


def test_idle_ranges_go_with_the_board_into_runs() -> None:
    (idle,) = load_board(BOARDS / "jetson-nano.yaml").idle
    assert (idle.plane, idle.rails, idle.low_w < 1.0 < idle.high_w) == ("rail", ("POM_5V_IN",), True)
    assert "measured" in idle.source


# --- in files of one's own ----------------------------------------------------------------------------

FACTS = (
    "facts:\n  rails: {IN: {feeds: all}, CPU: {feeds: cores, part_of: IN}}\n"
    "  totals: [{meter: hvpm, plane: dc_input, rails: [IN], source: a page of the vendor}]\n"
    "  idle: [{plane: dc_input, low_w: 1, high_w: 2, source: a page, sure: vendor}]\n"
)


def bench(lab: Any, total: str, rails: str = "{main: IN}", board: str = FACTS) -> Any:
    lab.file("boards/bench-pc.yaml", board)
    path = lab.file(
        "benches/lab.yaml",
        f"board: bench-pc\nmeters:\n  - name: m\n    meter: hvpm\n    rails: {rails}\n    plane: dc_input\n"
        f"    total: {total}\n",
    )
    return load_bench(path, config_dirs(lab.configs))


def test_total_board_takes_the_table_of_the_board(lab: Any) -> None:
    found = bench(lab, "board")
    assert found.meters[0].total_rails == ("IN",)
    assert found.board.idle[0].high_w == 2.0
    assert bench(lab, "[IN]").meters == found.meters  # the same run, however it is written


def test_a_board_may_be_like_another_one(lab: Any) -> None:
    lab.file("boards/kind.yaml", FACTS)
    assert bench(lab, "board", board="like: kind\ngovernor: performance\n").meters[0].total_rails == ("IN",)


@pytest.mark.parametrize(
    ("total", "rails", "board", "words"),
    [
        ("board", "{main: other}", FACTS, "counts the rail 'IN'"),
        ("board", "{main: IN}", "description: nothing known\n", "declares no total"),
        ("board", "{main: IN}", FACTS.replace("dc_input, rails", "wall, rails"), "declares no total"),
        ("[IN]", "{main: IN}", FACTS.replace("rails: [IN]", "rails: [IN, CPU]"), "count twice"),
        ("[IN]", "{main: IN}", FACTS.replace("part_of: IN", "part_of: NO"), "none of its rails"),
        ("[IN]", "{main: IN}", FACTS.replace("low_w: 1", "low_w: 3"), "low_w below high_w"),
        ("[IN]", "{main: IN}", FACTS.replace(", sure: vendor", ""), "'sure' is missing"),
        ("[IN]", "{main: IN}", "like: nobody\n", "no board called 'nobody'"),
        ("[IN]", "{main: IN}", "like: bench-pc\n", "no facts to be taken over"),
    ],
)
def test_what_is_refused(lab: Any, total: str, rails: str, board: str, words: str) -> None:
    with pytest.raises(SpecError, match=words) as caught:
        bench(lab, total, rails, board)
    assert caught.value.file
    assert caught.value.hint
