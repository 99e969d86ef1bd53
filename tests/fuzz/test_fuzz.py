"""A small share of the fuzz run, and that it finds a parser which deserves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.fuzz.fuzz_text import fuzz, main
from tests.fuzz.mutation import MOST, mutated
from tests.fuzz.targets import TARGETS, Target, powercap, require, tegrastats

COUNT = 400


@pytest.mark.parametrize("make", TARGETS, ids=lambda make: make.__name__)
def test_a_parser_survives_damage(make: Callable[[], Target]) -> None:
    target = make()
    assert any(target.run(sample) for sample in target.samples), "the real lines themselves are refused"
    tally = fuzz(target, count=COUNT, seed=11)
    assert tally.findings == []
    assert 0 < tally.taken < COUNT, "damage that never or always passes tests nothing"


def test_the_same_seed_gives_the_same_inputs() -> None:
    import random

    target = tegrastats()
    first, second = ([mutated(random.Random(5), target.samples) for _ in range(1)] for _ in range(2))
    assert first == second
    assert len(first[0]) <= MOST


def test_a_careless_parser_is_found() -> None:
    """`int` takes 1_0 for 10, and a digit lost to a filter makes another number."""

    def careless(data: bytes) -> bool:
        digits = bytes(byte for byte in data if 48 <= byte <= 57)
        require(data.strip() == digits, f"{digits!r} from {data!r}")
        return True

    tally = fuzz(replace(powercap(), check=careless), count=COUNT, seed=1)
    assert tally.broken > 10


def test_an_accident_is_found_and_the_command_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def trips(data: bytes) -> bool:
        return bool(1 // (len(data) - 5))

    monkeypatch.setattr("tests.fuzz.fuzz_text.TARGETS", (lambda: replace(powercap(), check=trips),))
    assert main(["--count", "500"]) == 1
