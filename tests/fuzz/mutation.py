"""Damage done to real lines: what a wire, a pipe that fills, or another version of a tool does to text."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

MOST = 1 << 15  # bytes; doubling again and again must end
BITS = bytes(1 << k for k in range(8))
PIECES = (
    b"-", b".", b",", b";", b"/", b":", b"=", b"*", b"$", b"\n", b"\r\n", b"\t", b" ", b"\0", b"\xff", b"\xb5",
    b"nan", b"inf", b"1e9", b"0x10", b"--", b"mW", b"mA", b"W", b"[N/A]", b"999999999999999999999", b"-0",
    b"\xe2\x82\x82", b"+", b"_", b"\xd9\xa3",
)  # fmt: skip


def mutated(rng: random.Random, samples: Sequence[bytes]) -> bytes:
    """One of `samples` with one to four mutations."""
    data = rng.choice(samples)
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 4))):
        data = rng.choice(MUTATIONS)(rng, data, samples)
    return data[:MOST]


def _span(rng: random.Random, data: bytes, longest: int = 40) -> tuple[int, int]:
    begin = rng.randrange(len(data) + 1)
    return begin, min(len(data), begin + rng.randint(0, longest))


def _flip(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    if not data:
        return data
    at = rng.randrange(len(data))
    return data[:at] + bytes((data[at] ^ rng.choice(BITS),)) + data[at + 1 :]


def _digit(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    places = [i for i, byte in enumerate(data) if 48 <= byte <= 57]
    if not places:
        return data
    at = rng.choice(places)
    return data[:at] + rng.choice((b"0", b"9", b"7", b"-", b".", b" ", b"", b"x")) + data[at + 1 :]


def _cut(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    a, b = _span(rng, data)
    return data[:a] + data[b:]


def _truncate(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    return data[:at] if rng.random() < 0.7 else data[at:]


def _insert(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(data) + 1)
    piece = rng.choice(PIECES) if rng.random() < 0.7 else rng.randbytes(rng.randint(1, 12))
    return data[:at] + piece + data[at:]


def _duplicate(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    a, b = _span(rng, data)
    return data[:b] + data[a:b] + data[b:]


def _swap(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    a, b = _span(rng, data, 12)
    c = rng.randint(b, len(data))
    d = min(len(data), c + rng.randint(0, 12))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def _splice(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    """The beginning of one and the end of another, as when a pipe overruns."""
    other = rng.choice(samples)
    return data[: rng.randrange(len(data) + 1)] + other[rng.randrange(len(other) + 1) :]


def _lines(rng: random.Random, data: bytes, samples: Sequence[bytes]) -> bytes:
    """A whole line doubled, dropped or moved."""
    lines = data.splitlines(keepends=True)
    if not lines:
        return data
    line = lines.pop(rng.randrange(len(lines)))
    for _ in range(rng.choice((0, 1, 2))):
        lines.insert(rng.randrange(len(lines) + 1), line)
    return b"".join(lines)


Mutation = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
MUTATIONS: tuple[Mutation, ...] = (
    _flip, _flip, _digit, _digit, _cut, _truncate, _insert, _insert, _duplicate, _swap, _splice, _lines
)  # fmt: skip
