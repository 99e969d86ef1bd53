"""Where messages end on raw sockets and serial lines: blocks with ends in them, CR LF, and bytes cut anywhere."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.io.visa_framing import Framer


def messages(framer: Framer, data: bytes, sizes: list[int]) -> list[bytes]:
    """All whole messages of `data`, fed in pieces of `sizes` in turn."""
    found, at, k = [], 0, 0
    while at < len(data):
        framer.feed(data[at : at + sizes[k % len(sizes)]])
        at += sizes[k % len(sizes)]
        k += 1
        while (message := framer.take()) is not None:
            found.append(message)
    return found


STREAM = (
    b"YOKOGAWA,WT310,C2PH13047V,F1.03\n"
    b":NUM:NORM:VAL #800000010ABC\nEFG\n\nJ\n"
    b'-113,"Undefined header; it\'s #15\nnot"\n'.replace(b"\nnot", b" not")
    + b"#15a\nb\nc\n"
    + b"#H1F\n\n"
    + b"1.0,#13\n\n\n,2.0\r\n"
    + b"UNIT#5,X#12\n"
)
EXPECTED = [
    b"YOKOGAWA,WT310,C2PH13047V,F1.03",
    b":NUM:NORM:VAL #800000010ABC\nEFG\n\nJ",
    b'-113,"Undefined header; it\'s #15 not"',
    b"#15a\nb\nc",
    b"#H1F",
    b"",
    b"1.0,#13\n\n\n,2.0\r",
    b"UNIT#5,X#12",
]


@pytest.mark.parametrize("sizes", [[1], [2], [7], [1000], [3, 1, 11]])
def test_messages_are_the_same_however_they_arrive(sizes: list[int]) -> None:
    assert messages(Framer(b"\n"), STREAM, sizes) == EXPECTED


@given(st.lists(st.integers(1, 30), min_size=1, max_size=10))
def test_any_cutting_gives_the_same(sizes: list[int]) -> None:
    assert messages(Framer(b"\n"), STREAM, sizes) == EXPECTED


def test_the_other_half_of_cr_lf_belongs_to_no_message() -> None:
    framer = Framer(b"\r")
    framer.feed(b"1.0\r\n\r\n2.0\r\n#13\r\r\r\r\n")
    assert [framer.take() for _ in range(5)] == [b"1.0", b"", b"2.0", b"#13\r\r\r", None]
    assert messages(Framer(b"\r\n"), b"1.0\r\n#12\r\n\r\n3\r\n", [1]) == [b"1.0", b"#12\r\n", b"3"]


def test_an_indefinite_block_ends_by_silence_alone() -> None:
    framer = Framer(b"\n")
    framer.feed(b"#0ab\n")
    assert (framer.take(), framer.ends_if_silent) == (None, True)
    framer.feed(b"cd")
    assert not framer.ends_if_silent
    framer.feed(b"\n")
    assert framer.take_rest() == b"#0ab\ncd"
    framer.feed(b"next\n")
    assert framer.take() == b"next"


def test_what_a_block_misses_is_known_and_half_a_block_is_no_message() -> None:
    framer = Framer(b"\n")
    framer.feed(b"#210abc")
    assert framer.take() is None
    assert framer.missing == 8  # seven of the block, and the end
    with pytest.raises(ValueError, match="misses 7"):
        framer.take_rest()
    assert framer.clear() == 7
    framer.feed(b"1\n")
    assert framer.take() == b"1"


@pytest.mark.parametrize("seed", range(20))
def test_damage_never_stalls_the_framer_nor_breaks_what_follows_a_clear(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        framer = Framer(rng.choice([b"\n", b"\r", b"\r\n"]))
        data = bytes(rng.choice(b"#0123ab\n\r\"', ;\x00\xff") for _ in range(rng.randrange(80)))
        messages(framer, data, [rng.randrange(1, 9)])
        try:
            framer.take_rest()
        except ValueError:
            framer.clear()
        framer.clear()
        framer.feed(b"1.5" + framer._end)
        assert framer.take() == b"1.5"
