"""Whatever arrives, the decoder and the splitter neither crash nor lose count."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.codec import Decoded, PacketDecoder
from drivers.monsoon.split import PacketSplitter, split, to_slots
from harness.core.errors import DeviceError
from harness.core.trace import Block
from tests.drivers.monsoon.packets import INVALID, MEASUREMENT, REFERENCE, ZERO, observation, packet

KINDS = st.sampled_from([MEASUREMENT] * 6 + [ZERO, REFERENCE, INVALID])
CODES = {ZERO: (1500, 2000), REFERENCE: (30_000, 40_000)}


@st.composite
def streams(draw: st.DrawFn) -> list[bytes]:
    """A well-formed stream with drops, missing packets and all kinds of samples."""
    sequence = dropped = 0
    packets = []
    for _ in range(draw(st.integers(0, 40))):
        kinds = draw(st.lists(KINDS, min_size=1, max_size=3))
        sequence += draw(st.sampled_from([1, 1, 1, 1, 2, 9]))
        dropped += draw(st.sampled_from([0, 0, 0, 0, 1, 20, 40_000]))
        obs = [observation(*CODES.get(k, (1600, 2500)), kind=k) for k in kinds]
        packets.append(packet(obs, sequence=sequence, dropped=dropped))
    return packets


def accounted(counts: dict[str, int]) -> int:
    names = ("zero_cal_samples", "ref_cal_samples", "invalid_samples", "unplaced_samples", "dropped_samples")
    return sum(counts.get(name, 0) for name in (*names, "missing_samples_estimated"))


def decoded_in(parts: list[list[bytes]]) -> tuple[PacketDecoder, list[Decoded]]:
    decoder = PacketDecoder(["main", "usb"], RangeScales())
    return decoder, [decoder.decode(*to_slots(part)) for part in parts]


def total(blocks: list[Block]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for block in blocks:
        for name, value in block.counts.items():
            counts[name] = counts.get(name, 0) + value
    return counts


@given(streams(), st.data())
@settings(deadline=None)
def test_slots_are_conserved_and_batches_do_not_matter(packets: list[bytes], data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packets)), max_size=4)))
    edges = [0, *cuts, len(packets)]
    parts = [packets[a:b] for a, b in pairwise(edges)]
    decoder, pieces = decoded_in(parts)
    _, (whole,) = decoded_in([packets])
    blocks = [p.block for p in pieces]
    t_ns = np.concatenate([b.t_ns for b in blocks])

    assert decoder.slots == len(t_ns) + accounted(total(blocks))
    assert np.all(np.diff(t_ns) >= 200_000)
    assert t_ns.tolist() == whole.block.t_ns.tolist()
    assert total(blocks) == whole.block.counts
    assert [g for b in blocks for g in b.gaps] == whole.block.gaps
    rows = np.cumsum([0] + [len(b) for b in blocks])
    told = [
        (p.first_row + int(r), p.column, p.code, p.scale, p.offset_raw)
        for r, b in zip(rows, blocks, strict=False)
        for p in b.calibration
    ]
    once = [(p.first_row, p.column, p.code, p.scale, p.offset_raw) for p in whole.block.calibration]
    assert sorted(told) == sorted(once)


@given(st.lists(st.binary(max_size=64), max_size=30))
@settings(deadline=None)
def test_garbage_never_crashes_and_adds_up(packets: list[bytes]) -> None:
    decoder = PacketDecoder(["main"], RangeScales())
    try:
        block = decoder.decode(*to_slots(packets)).block
    except DeviceError:  # garbage may pass for calibration samples that no unit would send
        return
    assert decoder.slots == len(block) + accounted(dict(block.counts))
    assert block.counts.get("malformed_packets", 0) <= len(packets)


@given(streams(), st.data())
@settings(deadline=None)
def test_splitter_does_not_care_about_chunks(packets: list[bytes], data: st.DataObject) -> None:
    capture = b"".join(packets)
    at = sorted(data.draw(st.lists(st.integers(0, len(capture)), max_size=6)))
    edges = [0, *at, len(capture)]
    splitter = PacketSplitter()
    chunked = [p for a, b in pairwise(edges) for p in splitter.feed(capture[a:b])]
    chunked += splitter.finish()
    slots, lengths, dropped = split(capture)
    assert chunked == [bytes(s[:n]) for s, n in zip(slots, lengths, strict=True)]
    assert splitter.dropped_bytes == dropped == len(capture) - sum(map(len, chunked))


@given(st.binary(max_size=300))
def test_splitter_accounts_for_every_byte(junk: bytes) -> None:
    slots, lengths, dropped = split(junk)
    assert int(lengths.sum()) + dropped == len(junk)
    assert len(slots) == len(lengths)


def unbroken(count: int) -> list[bytes]:
    return [packet([observation(1600 + k, 2500 + k)] * (1 + k % 3), sequence=k) for k in range(count)]


@given(st.integers(0, 29), st.integers(1, 60))
def test_splitter_finds_the_step_again_after_a_cut(where: int, missing: int) -> None:
    """Bytes lost in the middle cost the packets around them, not the rest of the capture."""
    packets = unbroken(60)
    begin = sum(map(len, packets[:where])) + 5
    capture = b"".join(packets)
    slots, lengths, dropped = split(capture[:begin] + capture[begin + missing :])
    found = {bytes(s[:n]) for s, n in zip(slots, lengths, strict=True)}
    assert set(packets[where + 5 :]) <= found
    assert set(packets[: max(0, where - 1)]) <= found
    assert dropped + int(lengths.sum()) == len(capture) - missing


@given(st.binary(min_size=1, max_size=90))
def test_splitter_passes_over_leading_junk(junk: bytes) -> None:
    packets = unbroken(30)
    slots, lengths, _ = split(junk + b"".join(packets))
    found = {bytes(s[:n]) for s, n in zip(slots, lengths, strict=True)}
    assert set(packets[8:]) <= found


def test_splitter_on_a_clean_capture() -> None:
    packets = unbroken(50)
    slots, lengths, dropped = split(b"".join(packets))
    assert [bytes(s[:n]) for s, n in zip(slots, lengths, strict=True)] == packets
    assert dropped == 0
