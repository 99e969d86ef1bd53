"""Damage on the way that the protocol has no check for: what it would do to the energy, and that it does not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.codec import Decoded, PacketDecoder
from drivers.monsoon.split import to_slots
from drivers.simulated.monsoon.trials import SpoiledCable
from harness.core.errors import TransientError
from tests.drivers.monsoon.packets import ZERO, calibrating, observation, packet

PERIOD = 200_000
START_NS = 77_000_000_000
Bench = Callable[..., Any]


def stream(count: int, *, first: int = 10, dropped: Callable[[int], int] = lambda k: 0) -> list[bytes]:
    """One sample a packet, after ten calibration packets; no two alike."""
    return [
        packet([observation(1600 + k % 7, 2500 + k % 5)], sequence=first + k, dropped=dropped(k)) for k in range(count)
    ]


def decoded(packets: list[bytes], *, late_ns: int = 1_000_000) -> tuple[PacketDecoder, Decoded]:
    """All in one batch, each arriving `late_ns` after its newest sample was taken."""
    decoder = PacketDecoder(["main"], RangeScales(), start_ns=START_NS)
    slots, lengths = to_slots(packets)
    arrival_ns = START_NS + late_ns + PERIOD * np.cumsum(slots[:, 3].astype(np.int64))
    return decoder, decoder.decode(slots, lengths, arrival_ns)


def test_a_drop_count_from_the_future_is_not_believed() -> None:
    """One flipped bit would otherwise add 13 s of lost samples: half a minute's energy without a reading."""
    packets = [*calibrating(), *stream(500, dropped=lambda k: 0x4000 if k == 250 else 0)]
    decoder, told = decoded(packets)
    assert told.block.counts["impossible_drop_counts"] == 2  # there, and back again
    assert "dropped_samples" not in told.block.counts
    assert decoder.slots == 510
    assert list(told.block.gaps) == []


def test_a_drop_count_that_time_allows_is_believed() -> None:
    packets = [*calibrating(), *stream(500, dropped=lambda k: 2000 if k >= 250 else 0)]
    decoder, told = decoded(packets, late_ns=2000 * PERIOD)
    assert told.block.counts["dropped_samples"] == 2000
    assert "impossible_drop_counts" not in told.block.counts
    assert decoder.slots == 2510


def test_a_packet_handed_on_twice_counts_once() -> None:
    packets = [*calibrating(), *stream(100)]
    twice = [*packets[:60], packets[59], *packets[60:]]
    decoder, told = decoded(twice)
    assert told.block.counts["repeated_packets"] == 1
    assert "missing_packets" not in told.block.counts
    assert decoder.slots == 110


def test_repeats_are_seen_across_batches_and_whatever_lies_behind_a_short_packet() -> None:
    decoder = PacketDecoder(["main"], RangeScales())
    slots, lengths = to_slots([*calibrating(), *stream(3)])
    decoder.decode(slots, lengths)
    again = np.repeat(slots[-1:], 5, axis=0)
    again[:, 40:] = np.arange(5)[:, None]  # what an earlier packet left in the buffer
    told = decoder.decode(again, np.repeat(lengths[-1:], 5))
    assert told.repeats == 5
    assert len(told.block) == 0
    assert told.block.counts == {"repeated_packets": 5}


def test_one_stray_calibration_code_moves_nothing_and_three_do() -> None:
    """A measurement whose type bit flipped passes for a zero: believed, it would take a fifth of its current away."""
    stray = packet([observation(20_000, 30_000, kind=ZERO)], sequence=10)
    _, told = decoded([*calibrating(), stray, *stream(50, first=11)])
    assert told.block.counts["stray_calibration_codes"] == 2  # both ranges
    offsets = {p.offset_raw for p in told.block.calibration if p.column == "main_current_raw"}
    assert offsets == {1515.0, 2015.0}

    strays = [packet([observation(3_000 + k, 4_000, kind=ZERO)], sequence=10 + k) for k in range(3)]
    _, told = decoded([*calibrating(), *strays, *stream(50, first=13)])
    last = {p.code: p.offset_raw for p in told.block.calibration if p.column == "main_current_raw"}
    assert last == {0: pytest.approx(4_015.0), 1: pytest.approx(3_016.4, abs=1)}


def test_the_same_packet_for_long_is_an_error(bench: Bench) -> None:
    one = bench()
    packets = 0

    def spoil(data: bytes, number: int) -> list[bytes]:
        nonlocal packets
        packets += 1
        return [data] * (150 if packets == 200 else 1)

    cable = SpoiledCable([one.device], spoil)
    one.meter._request = type(one.meter._request)("supply", usb_backend=cable, simulated=True)
    one.begin()
    with pytest.raises(TransientError, match="the same packet came"):
        one.run(1.0, every_ms=1)
