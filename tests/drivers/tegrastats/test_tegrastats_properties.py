"""Whatever bytes come and however they are cut: all rails of a line or nothing, and nothing that is not printed."""

from __future__ import annotations

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from drivers.tegrastats.codec import LineCodec, Rails, Refused, parse_line

LINES = [
    line.encode("ascii")
    for line in (Path(__file__).parent / "data/lines.txt").read_text("ascii").splitlines()
    if line.strip() and not line.startswith(("#", "..."))
]
POWER = re.compile(rb"(?<!\S)-?\d+(?:mW)?(?:/-?\d+(?:mW)?){1,2}(?!\S)")


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A captured line with a few bytes changed, cut out, put in or repeated."""
    line = bytearray(draw(st.sampled_from(LINES)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(len(line) - 1, 0)))
        size = draw(st.integers(0, 30))
        what = draw(st.sampled_from(["cut", "put", "change", "again", "end"]))
        if what == "cut":
            del line[at : at + size]
        elif what == "put":
            line[at:at] = draw(st.binary(max_size=6))
        elif what == "change" and line:
            line[at % len(line)] = draw(st.integers(0, 255))
        elif what == "again":
            line[at:at] = line[at : at + size]
        else:
            del line[at:]
    return bytes(line)


def check(line: bytes, outcome: Rails | Refused | None) -> None:
    if outcome is None:
        assert not line.strip()
    elif isinstance(outcome, Refused):
        assert outcome.kind and outcome.why
    else:
        assert line.lstrip().split(b" ")[0][:3] in (b"RAM", line.lstrip()[:3])
        tokens = POWER.findall(line)
        assert len(tokens) == len(outcome.rails_mw)  # no figure of power is left out, none is counted twice
        for token, value in zip(tokens, outcome.rails_mw.values(), strict=True):
            assert int(token.split(b"/")[0].removesuffix(b"mW")) == value
        for name in outcome.rails_mw:
            assert re.search(rb"(?<!\S)" + name.encode("ascii") + rb"\s", line)


@given(mutated().filter(lambda line: b"\n" not in line))
def test_a_mutated_line_gives_all_its_rails_or_nothing(line: bytes) -> None:
    check(line, parse_line(line))


@given(st.binary(max_size=300))
def test_any_bytes_are_survived(data: bytes) -> None:
    LineCodec().feed(data + b"\n")


@given(st.lists(mutated(), max_size=6), st.data())
def test_chunking_changes_nothing(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"\n".join([*lines, LINES[5], b""])
    whole = LineCodec().feed(stream)
    codec, found, at = LineCodec(), [], 0
    while at < len(stream):
        size = data.draw(st.integers(1, 200))
        found += codec.feed(stream[at : at + size])
        at += size
    assert found == whole
    assert whole[-1] == parse_line(LINES[5])  # it finds its way again at the next newline
