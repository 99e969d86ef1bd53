"""Every flag, reason and part of the budget that the code can say has a sentence in plain words, and none is stale."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from analysis.report.words import BUDGET, FLAGS, REASONS, of_flag, of_reason
from harness.core.result import InvalidReason

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [p for p in (ROOT / "analysis").rglob("*.py") if "report" not in p.parts]


def flags_in_the_code() -> set[str]:
    """Keys of the table of flags, and every constant that a `flags` is made of elsewhere."""
    source = (ROOT / "analysis" / "validity.py").read_text("utf-8")
    table = source[source.index("    said = {") : source.index("return tuple(name for name, true in said")]
    found = set(re.findall(r'^        "([a-z_]+)":', table, re.MULTILINE))
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "flags" for t in node.targets):
                found |= {
                    n.value
                    for n in ast.walk(node.value)
                    if isinstance(n, ast.Constant) and isinstance(n.value, str) and re.fullmatch(r"[a-z_]{6,}", n.value)
                }
    return found


def parts_in_the_code() -> set[str]:
    """First arguments of BudgetPart(...) in the analysis."""
    found = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "BudgetPart":
                first = node.args[0] if node.args else next(k.value for k in node.keywords if k.arg == "name")
                if isinstance(first, ast.Constant):
                    found.add(str(first.value))
    return found


def test_every_flag_has_words_and_no_words_are_stale() -> None:
    flags = flags_in_the_code()
    assert len(flags) > 15
    assert flags - FLAGS.keys() == set()
    assert FLAGS.keys() - flags == set()


def test_every_reason_for_no_figure_has_words() -> None:
    assert set(REASONS) == set(InvalidReason)


def test_every_part_of_the_budget_has_words() -> None:
    parts = parts_in_the_code()
    assert len(parts) > 8
    assert parts - BUDGET.keys() == set()


def test_words_are_one_sentence_and_an_advice() -> None:
    for words in [*FLAGS.values(), *REASONS.values()]:
        assert words.says.endswith(".")
        assert words.do.endswith(".")
        assert not re.search(r"\.\s+[A-Z]", words.says), f"more than one sentence: {words.says}"


def test_what_is_not_ours_is_said_to_be_unknown() -> None:
    assert "no explanation" in of_flag("made_up").says
    assert "made_up" in of_reason("made_up").says
