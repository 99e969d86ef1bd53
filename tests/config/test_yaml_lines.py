"""YAML's traps: what looks like something else, and what would be lost silently."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.yaml_lines import Document, load_yaml
from harness.core.errors import SpecError


def load(tmp_path: Path, text: str) -> Document:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    return load_yaml(path)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e3", 1000.0), ("1E-3", 0.001), (".5", 0.5), ("5.", 5.0), ("-3", -3), ("010", 10), ("0x10", 16), ("0o17", 15),
        ("no", "no"), ("off", "off"), ("yes", "yes"), ("true", True), ("False", False), ("12:30:00", "12:30:00"),
        ("2026-01-02", "2026-01-02"), ("1_000", "1_000"), ("5 s", "5 s"), ("~", None), ("", None), ("'1'", "1"),
        ('"no"', "no"), (".inf", float("inf")), ("1.2.3", "1.2.3"), ("+1", 1), ("e3", "e3"), ("0b1", "0b1"),
    ],
)  # fmt: skip
def test_scalars_mean_what_they_look_like(tmp_path: Path, text: str, value: object) -> None:
    found = load(tmp_path, f"a: {text}\n").data["a"]
    assert found == value
    assert type(found) is type(value)


def test_a_folded_text_is_one_line(tmp_path: Path) -> None:
    assert load(tmp_path, "a: >-\n  one\n  two\n\n  three\nb: |\n  four\n  five\n").data == {
        "a": "one two\nthree", "b": "four\nfive\n",
    }  # fmt: skip


def test_a_yaml_1_1_directive_changes_nothing(tmp_path: Path) -> None:
    assert load(tmp_path, "%YAML 1.1\n---\na: no\nb: 010\nc: 12:30:00\n").data == {"a": "no", "b": 10, "c": "12:30:00"}


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3\n", 3, r"the key 'a' stands here and on line 1"),
        ("x:\n  a: 1\n  a: 1\n", 3, r"the key 'a' stands here and on line 2"),
        ("a: [1\n", 2, "is not YAML"),
        ("a: 1\n b: 2\n", 2, "is not YAML"),
        ("a:\n\t- x\n", 2, "indent with spaces"),
        ("a: 1\n---\nb: 1\n", 2, "is not YAML"),
        ("a: 1\nb: !foo 3\n", 2, "the tag !foo has no meaning here"),
        ("a: 1\n? [1]\n: 2\n", 2, "a key must be a word"),
        ("b: *nowhere\n", 1, "undefined alias"),
    ],
)
def test_what_is_not_strict_yaml_is_refused_with_its_line(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        load(tmp_path, text)
    assert caught.value.line == line
    assert str(caught.value).startswith(f"{tmp_path / 'x.yaml'}:{line}: ")


def test_missing_empty_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*No such file"):
        load_yaml(tmp_path / "nowhere.yaml")
    with pytest.raises(SpecError, match="Is a directory"):
        load_yaml(tmp_path)
    with pytest.raises(SpecError, match="is empty"):
        load(tmp_path, "# nothing\n")
    (tmp_path / "b.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SpecError, match="not UTF-8"):
        load_yaml(tmp_path / "b.yaml")


def test_every_key_and_item_knows_its_line(tmp_path: Path) -> None:
    document = load(tmp_path, "a:\n  - x\n  - b: 1\n    c: 2\n")
    assert document.line(("a", 1, "c")) == 4
    assert document.line(("a", 0)) == 2
    assert document.line(("a", 0, "inside", "a scalar")) == 2
    assert document.line(("z",)) == 1
