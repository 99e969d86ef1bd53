"""The simulated unit against the documented behaviour of a real one, without the driver in between."""

from __future__ import annotations

import dataclasses
import errno
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from drivers.simulated.monsoon import FunctionSource, HvpmDevice, HvpmFaults, HvpmUnit, simulator
from drivers.simulated.usb_device import UsbFault

GET, SET = 0xC0, 0x40
MS = 1_000_000
QUIET = HvpmUnit(noise_counts=0.0, voltage_noise_counts=0.0, zero_walk=0.0, invalid_rate=0.0)


class Host:
    """A clock and raw transfers."""

    def __init__(self, current_a: Any = 0.5, voltage_v: Any = 5.0, **device: Any) -> None:
        self.now_ns = 0
        source = FunctionSource(current_a, voltage_v, begin_ns=0)
        self.device = HvpmDevice(source, now_ns=lambda: self.now_ns, **{"unit": QUIET, "host_queue_s": 0.0, **device})
        self.device.attach()

    def get(self, opcode: int) -> bytes:
        return self.device.control((GET, 0x01, 0, opcode), b"", 4)

    def set(self, opcode: int, value: int) -> None:
        self.device.control(
            (SET, 0x01, value & 0xFFFF, opcode | (value >> 16 & 0xFF) << 8), struct.pack("<I", value), 0
        )

    def start(self, *, cal_ms: int = 1250, samples: int = 0xFFFFFFFF) -> None:
        self.device.control((SET, 0x02, cal_ms, 0), struct.pack("<I", samples), 0)

    def stop(self) -> None:
        self.device.control((SET, 0x03, 0, 0), b"", 0)

    def wait(self, ms: float) -> None:
        self.now_ns += round(ms * MS)

    def read(self) -> list[bytes]:
        return self.device.bulk_in(0x81, 10_000)

    def listen(self, ms: float, *, every_ms: float = 2.0) -> list[bytes]:
        packets = []
        for _ in range(round(ms / every_ms)):
            self.wait(every_ms)
            packets += self.read()
        return packets


def types(packets: list[bytes]) -> list[int]:
    return [p[4 + 18 * k + 17] & 0x30 for p in packets for k in range(p[3])]


def words(packets: list[bytes]) -> np.ndarray[Any, np.dtype[np.uint16]]:
    """(M, 8) codes."""
    return np.array([struct.unpack_from(">8H", p, 4 + 18 * k) for p in packets for k in range(p[3])], np.uint16)


def counter(packet: bytes) -> int:
    return int.from_bytes(packet[:2], "little")


def test_enumerates_as_the_vendors() -> None:
    description = Host().device.description
    assert (description.vendor, description.product, description.serial) == (0x2AB9, 0x0001, "20123")
    assert 0x81 in [e.address for e in description.endpoints]


@pytest.mark.parametrize(
    ("opcode", "reply"),
    [(0x45, "02000000"), (0xC0, "20000000"), (0xC1, "01000000"), (0x1A, "948e0000"), (0x1B, "00190000"),
     (0x25, "0f000000"), (0x42, "9b4e0000"), (0x88, "00e00000"), (0x89, "00c80000"), (0x41, "00005000")],
)  # fmt: skip
def test_registers_answer_four_bytes_little_endian(opcode: int, reply: str) -> None:
    assert Host().get(opcode).hex() == reply


def test_sample_mode_answers_the_error_word_except_firmware_and_status() -> None:
    host = Host()
    host.start()
    assert host.get(0x45) == b"\xfe\xff\xff\xff"
    assert host.get(0x1A) == b"\xfe\xff\xff\xff"
    assert host.get(0xC0)[0] == 32
    assert host.get(0xC4)[0] & 0x80
    host.stop()
    assert host.get(0xC4)[0] & 0x80 == 0
    assert host.get(0x45)[0] == 2


def test_firmware_before_26_has_no_sample_bit() -> None:
    host = Host(unit=dataclasses.replace(QUIET, firmware=25))
    host.start()
    assert host.get(0xC4)[0] & 0x80 == 0
    assert host.get(0x45) == b"\xfe\xff\xff\xff"


def test_set_in_sample_mode_has_no_effect() -> None:
    host = Host()
    host.start()
    host.set(0x41, 0x00400000)
    host.stop()
    assert host.device.output_v == 5.0


@pytest.mark.parametrize(
    ("setup", "data"),
    [
        ((SET, 0x01, 0x1234, 0x4041), bytes.fromhex("00004000")),  # wValue contradicts the data
        ((SET, 0x01, 0x0000, 0x0041), bytes.fromhex("00004000")),  # wIndex lacks bits 16..23
        ((SET, 0x01, 0, 0x41), b""),
        ((SET, 0x77, 0, 0), b""),
        ((GET, 0x01, 0, 0x99), b""),
        ((0x80, 0x06, 0, 0), b""),
    ],
)
def test_what_it_does_not_know_stalls(setup: tuple[int, int, int, int], data: bytes) -> None:
    with pytest.raises(UsbFault) as caught:
        Host().device.control(setup, data, 4)
    assert caught.value.number == errno.EPIPE


@pytest.mark.parametrize("setup", [(SET, 0xFF, 0, 0), (SET, 0x01, 0, 0x05)])
def test_resets_disconnect(setup: tuple[int, int, int, int]) -> None:
    host = Host()
    host.device.control(setup, b"" if setup[1] == 0xFF else bytes(4), 0)
    assert not host.device.present
    with pytest.raises(UsbFault) as caught:
        host.get(0x45)
    assert caught.value.number == errno.ENODEV
    host.device.replug()
    assert host.get(0x45)[0] == 2


def test_packets_hold_one_to_three_samples_in_sequence() -> None:
    host = Host()
    host.start()
    packets = host.listen(400)
    assert {len(p) for p in packets} == {22, 40, 58}
    assert [p[2] & 15 for p in packets] == [k % 16 for k in range(len(packets))]
    assert sum(p[3] for p in packets) == 2000
    assert all(p[2] & 0x30 == 0x20 for p in packets)  # at voltage, no overcurrent


def test_calibration_at_the_start_and_every_cal_time() -> None:
    host = Host()
    host.start(cal_ms=100)
    kinds = types(host.listen(1000))
    zero, reference = ([k for k, t in enumerate(kinds) if t == kind] for kind in (0x10, 0x30))
    assert zero == [0, 2, 4, 6, 8, *range(500, 5000, 500)]
    assert reference == [1, 3, 5, 7, 9, *range(501, 5000, 500)]


def test_codes_of_both_ranges() -> None:
    """10 mA: fine 2015 + 10000 uA * 37985 / 36500; at 250 mA the fine range is pinned, coarse 250 * 28485 / 6400."""
    for current_a, coarse, fine in ((0.010, 1560, 12_422), (0.250, 2628, 65_535)):
        host = Host(current_a)
        host.start()
        assert words(host.listen(10))[-1].tolist()[:6] == [coarse, fine, 1500, 2000, 1500, 2000]


def test_voltage_counts() -> None:
    host = Host(voltage_v=4.0)
    host.start()
    assert words(host.listen(10))[-1, 6] == 16_000


def test_codes_clip_at_zero() -> None:
    host = Host(-1.0)
    host.start()
    assert words(host.listen(10))[-1, 1] == 0


def test_fifo_keeps_sixteen_and_counts_the_rest() -> None:
    host = Host()
    host.start()
    first = host.listen(2)
    host.wait(20)
    late = host.read()
    assert counter(first[-1]) == 0
    assert sum(p[3] for p in late) == 16
    assert {counter(p) for p in late} == {84}
    assert host.device.samples_dropped == 84


def test_counter_wraps_and_only_grows() -> None:
    host = Host()
    host.start()
    host.wait(13_200)
    assert counter(host.read()[0]) == (66_000 - 16) % 65_536


def test_host_queue_keeps_a_second_beyond_the_fifo() -> None:
    host = Host(host_queue_s=1.0)
    host.start()
    host.wait(1500)
    packets = host.read()
    assert sum(p[3] for p in packets) == 5016
    assert sorted({counter(p) for p in packets}) == [0, 7500 - 5016]


def test_without_a_host_it_samples_into_the_fifo_only() -> None:
    host = Host(host_queue_s=1.0)
    host.start()
    host.device.detach()
    host.wait(1000)
    host.device.attach()
    assert sum(p[3] for p in host.read()) == 16
    assert host.device.sampling


def test_stale_packets_survive_stop_and_start() -> None:
    host = Host()
    host.start()
    host.wait(3)
    host.stop()
    host.wait(100)
    host.start()
    assert sum(p[3] for p in host.read()) == 15
    host.stop()
    assert host.read() == []


def test_max_samples_ends_sampling() -> None:
    host = Host(host_queue_s=1.0)
    host.start(samples=777)
    packets = host.listen(400)
    assert sum(p[3] for p in packets) == 777
    assert not host.device.sampling


def test_overcurrent_trips_switches_off_and_stays_until_set() -> None:
    host = Host(lambda t: np.where(t < 0.1, 1.0, 9.0))
    host.start()
    packets = host.listen(200)
    tripped = [bool(p[2] & 0x10) for p in packets]
    assert tripped == sorted(tripped)
    assert tripped[-1]
    assert not any(p[2] & 0x20 for p in packets if p[2] & 0x10)
    assert words(packets)[-1, 6] == 0  # no voltage
    host.stop()
    assert host.get(0x41) == bytes(4)
    host.set(0x41, 5 << 20)
    assert host.device.output_v == 5.0


def test_sagging_output_loses_the_at_voltage_flag() -> None:
    host = Host(voltage_v=lambda t: np.where(t < 0.1, 5.0, 4.5))
    host.start()
    flags = [bool(p[2] & 0x20) for p in host.listen(200)]
    assert flags[0]
    assert not flags[-1]


def test_disconnect_delivers_what_had_arrived_then_no_device() -> None:
    host = Host(host_queue_s=1.0, faults=HvpmFaults(disconnect_at_slot=1000))
    host.start()
    host.wait(500)
    assert sum(p[3] for p in host.read()) == 1000
    with pytest.raises(UsbFault) as caught:
        host.read()
    assert caught.value.number == errno.ENODEV


def test_zero_wanders_and_calibration_follows_it() -> None:
    """Zero readings move with the measurements, so averaging them is what keeps the offset small."""
    host = Host(0.0, unit=dataclasses.replace(QUIET, zero_walk=20.0))
    host.start(cal_ms=200)
    packets = host.listen(20_000, every_ms=3)
    fine, kind = words(packets)[:, 1].astype(int), np.array(types(packets))
    assert np.ptp(fine[kind == 0x10]) > 20
    at = np.flatnonzero(kind == 0x10)
    at = at[(at > 20) & (at + 2 < len(fine))]
    assert np.abs(fine[at + 2] - 15 - fine[at]).max() <= 2


def test_invalid_samples_appear_now_and_then() -> None:
    host = Host(unit=dataclasses.replace(QUIET, invalid_rate=0.01))
    host.start()
    kinds = types(host.listen(1000))
    assert 20 < kinds.count(0x20) < 90


def test_units_differ_by_seed_and_one_seed_repeats() -> None:
    units = [HvpmUnit.draw(seed) for seed in range(8)]
    assert len({u.serial for u in units}) == 8
    assert len({u.scale["main"] for u in units}) == 8
    assert HvpmUnit.draw(3) == units[3]


def test_same_seed_same_bytes() -> None:
    def run(make: Callable[[], HvpmDevice]) -> bytes:
        host = Host()
        host.device = make()
        host.device.attach()
        host.start()
        return b"".join(host.listen(50))

    def device(name: str) -> HvpmDevice:
        now = {"ns": 0}
        source = FunctionSource(0.5, 5.0, begin_ns=0)

        def tick() -> int:
            now["ns"] += MS
            return now["ns"]

        return simulator(name, 5, source, tick)

    assert run(lambda: device("supply")) == run(lambda: device("supply"))
    assert run(lambda: device("supply")) != run(lambda: device("other"))


def test_source_clock_sets_the_rate() -> None:
    source = FunctionSource(0.1, 5.0, begin_ns=0, rate_ppm=1000.0)
    current_a, voltage_v = source.take(10_000_000_000)
    assert len(current_a) == len(voltage_v) == 50_050
    assert len(source.take(10_000_000_000)[0]) == 0
