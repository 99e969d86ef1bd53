"""Every flag, reason and part of the budget that the code can say has a sentence in plain words, and none is stale."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from analysis.report.words import FLAGS, REASONS, of_flag, of_reason
from analysis.uncertainty.part_words import BUDGET
from harness.core.result import InvalidReason

ROOT = Path(__file__).resolve().parents[3]
SOURCES = [p for p in (ROOT / "analysis").rglob("*.py") if "report" not in p.parts]


def flags_in_the_code() -> set[str]:
    """Keys of tables of flags, and every constant that a `flags` is made of, or gets, elsewhere."""
    source = (ROOT / "analysis" / "verdict" / "validity.py").read_text("utf-8")
    table = source[source.index("    said = {") : source.index("return tuple(name for name, true in said")]
    found = set(re.findall(r'^        "([a-z_]+)":', table, re.MULTILINE))
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "flags" for t in node.targets):
                tuples = [n for n in ast.walk(node.value) if isinstance(n, ast.Tuple)]
                found |= {e.value for t in tuples for e in t.elts if isinstance(e, ast.Constant)}
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "flags.append":
                found |= {ast.literal_eval(argument) for argument in node.args}
            elif isinstance(node, ast.FunctionDef) and node.name.endswith("_flags"):
                keys = [key for n in ast.walk(node) if isinstance(n, ast.Dict) for key in n.keys]
                found |= {key.value for key in keys if isinstance(key, ast.Constant)}
            elif isinstance(node, ast.Return) and node.value is not None:  # a flag alone, among what is returned
                alone = [n.elts[0] for n in ast.walk(node.value) if isinstance(n, ast.Tuple) and len(n.elts) == 1]
                found |= {
                    e.value for e in alone if isinstance(e, ast.Constant) and re.fullmatch("[a-z_]+", str(e.value))
                }
    return {str(flag) for flag in found}


def flags_of_importers() -> set[str]:
    """Constants in lists that an importer puts under the key or name `flags`, or appends to it, or returns from it."""
    found: set[str] = set()
    for path in (ROOT / "harness" / "imports").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            inside: list[ast.AST] = []
            if isinstance(node, ast.Dict):
                named = zip(node.keys, node.values, strict=True)
                inside = [v for k, v in named if isinstance(k, ast.Constant) and k.value == "flags"]
            elif isinstance(node, ast.Assign) and "flags" in ast.unparse(node.targets[0]):
                inside = [node.value]
            elif isinstance(node, ast.Call) and ast.unparse(node.func) == "flags.append":
                found |= {str(ast.literal_eval(a)) for a in node.args}
            elif isinstance(node, ast.FunctionDef) and node.name == "flags":
                inside = [node]
            lists = [n for part in inside for n in ast.walk(part) if isinstance(n, ast.List)]
            found |= {str(e.value) for part in lists for e in part.elts if isinstance(e, ast.Constant)}
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
    flags = flags_in_the_code() | flags_of_importers()
    assert len(flags) > 25
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
