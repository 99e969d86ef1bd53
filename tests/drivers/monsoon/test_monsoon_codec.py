"""The packet decoder against the wire format: vectors, traps, loss, time."""

from __future__ import annotations

import numpy as np
import pytest

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.codec import AnchorPicker, Decoded, PacketDecoder
from drivers.monsoon.split import to_slots
from harness.core.errors import DeviceError
from harness.core.trace import (
    Block,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
    Trace,
    join_blocks,
)
from tests.drivers.monsoon.packets import INVALID, ZERO, calibrating, observation, packet

PERIOD = 200_000


def decode(decoder: PacketDecoder, packets: list[bytes]) -> Decoded:
    return decoder.decode(*to_slots(packets))


def trace_of(*blocks: Block, channel: str = "main") -> Trace:
    columns = (
        ColumnSpec(f"{channel}_current_raw", "A", f"{channel}_range"),
        ColumnSpec(f"{channel}_voltage_raw", "V"),
    )
    reading = Reading(ReadingKind.MEAN, PERIOD, PERIOD)
    spec = ChannelSpec(channel, "power_w", tuple(c.name for c in columns), reading)
    return join_blocks(MeterInfo("monsoon", "HVPM", "1", "32", "meter:1", columns, (spec,)), list(blocks))


def main_decoder() -> PacketDecoder:
    return PacketDecoder(["main"], RangeScales())


def fine_code(current_ma: float) -> int:
    return round(2015 + current_ma * 1000 * (40000 - 2015) / 36500)


def coarse_code(current_ma: float) -> int:
    return round(1515 + current_ma * (30000 - 1515) / 6400)


@pytest.mark.parametrize(
    ("codes", "expected_a", "lsb_a"),
    [
        ((coarse_code(10), fine_code(10)), 10.0001e-3, 0.00005e-3),
        ((coarse_code(250), 65535), 250.07e-3, 0.005e-3),
    ],
)
def test_conversion_at_factory_scales(codes: tuple[int, int], expected_a: float, lsb_a: float) -> None:
    """Worked figures for zero 2000/1500, reference 40000/30000: 10 mA (fine), 250 mA (coarse), 4 V."""
    packets = [*calibrating(), packet([observation(*codes, volt=16_000)], sequence=10)]
    trace = trace_of(decode(main_decoder(), packets).block)
    assert trace.values("main_current_raw") == pytest.approx([expected_a], abs=lsb_a)
    assert trace.values("main_voltage_raw").tolist() == [4.0]
    assert trace.power_w("main") == pytest.approx([4.0 * expected_a], abs=5 * lsb_a)


@pytest.mark.parametrize(("fine", "range_code"), [(63_999, 0), (64_000, 1), (65_535, 1)])
def test_range_is_chosen_sample_by_sample_at_64000(fine: int, range_code: int) -> None:
    block = decode(main_decoder(), [packet([observation(7777, fine)])]).block
    assert block.columns["main_range"].tolist() == [range_code]
    assert block.columns["main_current_raw"].tolist() == [7777 if range_code else fine]


@pytest.mark.parametrize(("fine", "range_code"), [(29_999, 0), (30_000, 1)])
def test_aux_range_changes_at_30000(fine: int, range_code: int) -> None:
    block = decode(PacketDecoder(["aux"], RangeScales()), [packet([observation(7777, fine)])]).block
    assert block.columns["aux_range"].tolist() == [range_code]


def test_aux_words_are_unsigned_by_default_and_signed_on_request() -> None:
    packets = [packet([observation(0xFFF0, 0xFFFE)])]
    unsigned = decode(PacketDecoder(["aux"], RangeScales()), packets).block
    signed = decode(PacketDecoder(["aux"], RangeScales(), aux_signed=True), packets).block
    assert (unsigned.columns["aux_range"][0], unsigned.columns["aux_current_raw"][0]) == (1, 0xFFF0)
    assert (signed.columns["aux_range"][0], signed.columns["aux_current_raw"][0]) == (0, -2)
    assert "saturated_samples" not in signed.counts


def test_usb_channel_reads_its_own_words() -> None:
    packets = [*calibrating(), packet([observation(usb_volt=40_000)], sequence=10)]
    trace = trace_of(decode(PacketDecoder(["usb"], RangeScales()), packets).block, channel="usb")
    assert trace.values("usb_voltage_raw").tolist() == [5.0]  # 62.5 uV * 2
    assert trace.values("usb_current_raw")[0] == pytest.approx(15 * 14_000e-6 / 38_000)  # its zero offset is 0


def test_type_is_read_from_the_last_byte() -> None:
    """The manual swaps the two gain bytes; a type in byte 16 must not count."""
    raw = bytearray(observation())
    raw[16] = ZERO
    block = decode(main_decoder(), [packet([bytes(raw)])]).block
    assert len(block) == 1
    assert block.counts == {"uncalibrated_samples": 1}


def test_calibration_and_invalid_samples_leave_holes_not_rows() -> None:
    three = [observation(fine=3000), observation(kind=INVALID), observation(fine=3001)]
    block = decode(main_decoder(), [*calibrating(), packet(three, sequence=10)]).block
    assert (block.t_ns // PERIOD).tolist() == [11, 13]
    assert block.columns["main_current_raw"].tolist() == [3000, 3001]
    assert block.gaps == []
    assert block.counts == {"zero_cal_samples": 5, "ref_cal_samples": 5, "invalid_samples": 1}


def test_rows_before_calibration_are_nan_and_counted() -> None:
    early = packet([observation()] * 3)
    decoder = main_decoder()
    first = decode(decoder, [early, *calibrating(1)[:9]])
    second = decode(decoder, [calibrating(1)[9], packet([observation()], sequence=11)])
    trace = trace_of(first.block, second.block)
    assert np.isnan(trace.power_w("main")).tolist() == [True, True, True, False]
    assert trace.counts["uncalibrated_samples"] == 3
    assert decoder.calibration.missing() == ()


def test_each_channel_needs_its_own_rings() -> None:
    zero_aux = bytearray(observation(1500, 2000, kind=ZERO))
    zero_aux[8:12] = bytes(4)  # a code of 0 is no reading
    packets = [packet([bytes(zero_aux)], sequence=k) if k % 2 == 0 else p for k, p in enumerate(calibrating())]
    decoder = PacketDecoder(["usb", "aux"], RangeScales())
    decode(decoder, packets)
    assert decoder.calibration.complete("usb")
    assert decoder.calibration.missing() == ("aux fine", "aux coarse")


def test_pieces_hold_from_the_row_after_the_calibration_sample() -> None:
    later = packet([observation(), observation(1500, 2100, kind=ZERO), observation()], sequence=10)
    block = decode(main_decoder(), [*calibrating(), later]).block
    fine = [p for p in block.calibration if p.column == "main_current_raw" and p.code == 0]
    assert [(p.first_row, p.offset_raw) for p in fine] == [(0, 2015.0), (1, 2035.0)]


def test_a_piece_is_told_once() -> None:
    decoder = main_decoder()
    decode(decoder, calibrating())
    first = decode(decoder, [packet([observation()], sequence=10)]).block
    second = decode(decoder, [packet([observation()], sequence=11)]).block
    assert len(first.calibration) == 3  # voltage, fine, coarse
    assert second.calibration == []


def test_reference_equal_to_zero_is_an_error_and_not_a_current_of_zero() -> None:
    same = [packet([observation(1500, 2000, kind=k)], sequence=n) for n, k in enumerate([0x10, 0x30] * 5)]
    with pytest.raises(DeviceError, match="reference minus zero is -15"):
        decode(main_decoder(), [*same, packet([observation()], sequence=10)])


def test_drop_counter_is_little_endian_and_wraps() -> None:
    """0x00FF -> 0x0101 is 2 lost; read big endian it would be 514. Then across the wrap."""
    decoder = main_decoder()
    block = decode(
        decoder,
        [packet([observation()], sequence=k, dropped=d) for k, d in enumerate([0x00FF, 0x0101, 0xFFFF, 0x10001])],
    ).block
    assert [(g.lost, g.begin_ns // PERIOD, g.end_ns // PERIOD) for g in block.gaps] == [
        (2, 1, 3), (0xFFFF - 0x0101, 4, 4 + 65278 + 16), (2, 65283, 65285),
    ]  # fmt: skip
    assert block.counts["dropped_samples"] == 2 + 65278 + 2


def test_first_packet_sets_the_baseline_of_the_counter() -> None:
    block = decode(main_decoder(), [packet([observation()], dropped=4242, sequence=9)]).block
    assert block.gaps == []
    assert block.t_ns.tolist() == [PERIOD]


def test_sequence_runs_modulo_16() -> None:
    block = decode(main_decoder(), [packet([observation()], sequence=k) for k in range(40)]).block
    assert block.gaps == []
    assert len(block) == 40


def test_sequence_jump_is_a_gap_of_unknown_count() -> None:
    packets = [packet([observation()] * 2, sequence=k) for k in (14, 15, 2)]
    block = decode(main_decoder(), packets).block
    (gap,) = block.gaps
    assert (gap.lost, gap.begin_ns // PERIOD, gap.end_ns // PERIOD) == (-1, 4, 8)
    assert "2 packets missing" in gap.reason
    assert block.counts["missing_packets"] == 2
    assert (block.t_ns // PERIOD).tolist() == [1, 2, 3, 4, 9, 10]


def test_after_a_long_loss_the_fifo_is_withdrawn_because_its_age_is_unknown() -> None:
    decoder = main_decoder()
    after = [packet([observation()] * 3, sequence=k, dropped=100) for k in range(1, 7)]
    blocks = [decode(decoder, [packet([observation()])]).block]
    blocks += [decode(decoder, [p]).block for p in after]  # the withdrawal crosses batches
    trace = trace_of(*blocks)
    assert trace.counts["unplaced_samples"] == 16
    assert (trace.t_ns // PERIOD).tolist() == [1, 118, 119]
    assert [(g.lost, g.begin_ns // PERIOD, g.end_ns // PERIOD) for g in trace.gaps] == [(100, 1, 117)]


def test_a_loss_no_longer_than_the_fifo_keeps_its_rows() -> None:
    block = decode(main_decoder(), [packet([observation()]), packet([observation()], sequence=1, dropped=16)]).block
    assert (block.t_ns // PERIOD).tolist() == [1, 18]


def test_short_packet_keeps_what_is_whole() -> None:
    whole = packet([observation()] * 3)
    block = decode(main_decoder(), [whole[:50], packet([observation()], sequence=1)]).block
    assert (block.t_ns // PERIOD).tolist() == [1, 2, 4]
    assert [(g.lost, g.begin_ns // PERIOD, g.end_ns // PERIOD) for g in block.gaps] == [(1, 2, 3)]
    assert block.counts["short_packets"] == 1


def test_bytes_behind_a_short_packet_in_the_buffer_are_not_read() -> None:
    slots, lengths = to_slots([packet([observation(fine=5000)] * 3)])
    lengths[0] = 22
    assert len(PacketDecoder(["main"], RangeScales()).decode(slots, lengths).block) == 1


@pytest.mark.parametrize("bad", [b"", b"\0\0\0", b"\0\0\x20\0", b"\0\0\x20\x04" + bytes(60), b"\xff" * 64])
def test_malformed_packet_is_counted_and_seen_by_the_sequence(bad: bytes) -> None:
    packets = [packet([observation()], sequence=0), bad, packet([observation()], sequence=2)]
    block = decode(main_decoder(), packets).block
    assert block.counts["malformed_packets"] == 1
    assert block.counts["missing_packets"] == 1
    assert (block.t_ns // PERIOD).tolist() == [1, 3]


def test_flags_are_told() -> None:
    lost = decode(main_decoder(), [packet([observation()], flags=0x00)])
    assert lost.block.counts["not_at_voltage_packets"] == 1
    assert not lost.overcurrent
    assert decode(main_decoder(), [packet([observation()], flags=0x10)]).overcurrent


def test_full_scale_is_counted() -> None:
    three = [observation(65_535, 65_535), observation(65_534, 65_535), observation(volt=65_535)]
    assert decode(main_decoder(), [packet(three)]).block.counts["saturated_samples"] == 2


def test_packet_end_counts_the_slots_of_every_kind() -> None:
    decoded = decode(main_decoder(), [packet([observation(kind=ZERO)] * 3), packet([observation()], sequence=1)])
    assert (decoded.packet_end_ns // PERIOD).tolist() == [3, 4]


def test_time_goes_on_from_the_given_slot() -> None:
    decoder = PacketDecoder(["main"], RangeScales(), first_slot=1000)
    assert decode(decoder, [packet([observation()])]).block.t_ns.tolist() == [1001 * PERIOD]


def test_nothing_in_nothing_out() -> None:
    block = decode(main_decoder(), []).block
    assert len(block) == 0
    assert (block.gaps, block.counts, block.calibration) == ([], {}, [])


def test_anchor_of_a_stretch_is_the_packet_that_came_soonest() -> None:
    picker = AnchorPicker(window_ns=50)
    end = np.array([10, 30, 49, 60, 90])
    first = picker.pick(end, end + np.array([9, 2, 5, 7, 8]))
    second = picker.pick(np.array([95, 120]), np.array([95 + 1, 120 + 3]))
    assert first.tolist() == [[30, 32]]
    assert second.tolist() == [[95, 96]]
    assert picker.flush().tolist() == [[120, 123]]
    assert picker.flush().shape == (0, 2)
