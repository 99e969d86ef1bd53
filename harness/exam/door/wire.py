"""Bytes of a known wire become blocks through the shipped codec, as if the driver had read them just now."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from drivers.monsoon.calibration import RangeScales
from drivers.monsoon.codec import AnchorPicker, PacketDecoder
from drivers.monsoon.fields import PACKET_BYTES
from drivers.monsoon.identity import meter_info
from drivers.monsoon.options import MonsoonOptions
from drivers.rapl.onboard import open_on_board
from harness.core.clock import HOST
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest, RawSamples
from harness.core.trace import Block
from harness.exam.door.format import MeterSection, MonsoonSection, PowercapSection
from harness.exam.door.readings import binding_of
from harness.exam.door.tables import read_table
from harness.imports.foreign import ForeignMeter
from harness.io.snapshot import REFUSED

BATCH = 1 << 14  # packets in one block
EIO = 5


def monsoon_meter(folder: Path, meter: MeterSection, unit: MonsoonSection, *, simulated: bool) -> ForeignMeter:
    """A captured stream of HVPM packets through the driver's decoder, with its anchors, gaps and calibration."""
    request = MeterRequest(meter.name, rails=tuple(meter.rails.items()), simulated=simulated)
    options = MonsoonOptions.parse(request)
    for name in options.channels:
        if name not in unit.scale or name not in unit.zero_offset:
            raise SpecError(
                f"monsoon_hvpm of {meter.name}: scale and zero_offset have nothing for the channel {name!r}",
                hint="give both EEPROM words, [fine, coarse]", file=folder / "world.json",
            )  # fmt: skip
    scales = RangeScales({n: (v[0], v[1]) for n, v in unit.scale.items()},
                         {n: (v[0], v[1]) for n, v in unit.zero_offset.items()})  # fmt: skip
    slots, lengths, arrival_ns = _packets(folder, unit)
    decoder, picker = PacketDecoder(options.channels, scales), AnchorPicker()
    blocks: list[Block] = []
    try:
        for first in range(0, len(slots), BATCH):
            part = slice(first, first + BATCH)
            decoded = decoder.decode(slots[part], lengths[part])
            if decoded.overcurrent:
                raise SpecError(
                    "the unit switched its output off (overcurrent flag in a packet): what follows is no measurement",
                    file=folder / unit.packets,
                )
            good = decoded.well_formed
            anchors = picker.pick(decoded.packet_end_ns[good], arrival_ns[part][good])
            blocks.append(replace(decoded.block, anchors=anchors))
    except DeviceError as error:
        raise SpecError(error.message, hint=error.hint, file=folder / unit.packets) from error
    if blocks:
        blocks[-1] = replace(blocks[-1], anchors=np.concatenate([blocks[-1].anchors, picker.flush()]))
    status = {"firmware": str(unit.firmware), "output_v": f"{unit.output_v:.6g}"}
    info = meter_info(unit.serial, options, scales, status, simulated=simulated)
    return ForeignMeter(binding_of(meter, "monsoon", calibrated=True), info, blocks)


def _packets(folder: Path, unit: MonsoonSection) -> tuple[Any, Any, Any]:
    """(slots (K, 64) uint8, lengths (K,), host arrival ns (K,)) of the capture and its table of arrivals."""
    table = read_table(folder / unit.arrivals, "the arrivals of packets", times=("arrival",), ints=("length",),
                       required=("length",))  # fmt: skip
    arrival_ns, length = table.time_ns("arrival"), table.full("length")
    table.increasing(arrival_ns, "arrival", strictly=False)
    wrong = (length < 1) | (length > PACKET_BYTES)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise table.error(f"length is {length[row]}, a packet has 1 to {PACKET_BYTES} bytes", row)
    path = folder / unit.packets
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise SpecError(f"cannot read the packets: {error.strerror}", hint="check the name", file=path) from None
    if len(data) != int(length.sum()):
        raise SpecError(
            f"holds {len(data)} bytes, the lengths in {unit.arrivals} add up to {int(length.sum())}",
            hint="is the capture cut off? every packet needs its row", file=path,
        )  # fmt: skip
    slots = np.zeros((len(length), PACKET_BYTES), np.uint8)
    slots[np.arange(PACKET_BYTES) < length[:, None]] = data
    return slots, length, arrival_ns


class _Tree:
    """BoardFiles over a powercap tree that was written down; nothing can be changed in it."""

    def __init__(self, files: Mapping[str, bytes]) -> None:
        self._files = files

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        found: dict[str, bytes] = {}
        for pattern in patterns:
            if pattern.startswith(REFUSED):
                found[pattern] = json.dumps({}).encode()
                continue
            found |= {path: data for path, data in self._files.items() if fnmatch.fnmatchcase(path, pattern)}
        return found

    def write(self, path: str, data: bytes) -> None:
        raise DeviceError(f"{path} belongs to a foreign world and cannot be written")

    def keep(self, path: str, data: bytes) -> None:
        self.write(path, data)

    def remove(self, path: str) -> None:
        self.write(path, b"")


def powercap_meter(
    folder: Path, meter: MeterSection, tree: PowercapSection, *, board_clock_name: str, simulated: bool
) -> ForeignMeter:
    """Snapshots of `energy_uj` files through the host's half of the RAPL driver."""
    options = {"poll_s": tree.poll_s, "max_power_w": tree.max_power_w}
    rapl = open_on_board(MeterRequest(meter.name, options, tuple(meter.rails.items()), simulated=simulated))
    table = read_table(
        folder / tree.snapshots, "the snapshots", times=("t", "begin", "end"), ints=tuple(tree.zones),
        required=tuple(tree.zones),
    )  # fmt: skip
    if "begin_s" in table or "begin_ns" in table:
        begin_ns, end_ns = table.time_ns("begin"), table.time_ns("end")
    else:
        begin_ns = end_ns = table.time_ns("t")
    table.increasing(begin_ns, "begin" if begin_ns is not end_ns else "t")
    if np.any(end_ns < begin_ns):
        raise table.error("a snapshot ends before it begins", int(np.argmax(end_ns < begin_ns)))
    for zone in tree.zones:
        below = table.columns[zone] < 0
        if below.any():
            raise table.error(f"{zone} is below 0", int(np.argmax(below)), hint="energy_uj counts upwards from 0")
    first = {zone: int(table.columns[zone][np.argmin(table.empty[zone])]) for zone in tree.zones}
    root = "/sys/class/powercap"
    files = {f"{root}/{zone}/name": said.name for zone, said in tree.zones.items()}
    files |= {f"{root}/{zone}/max_energy_range_uj": str(said.max_energy_range_uj) for zone, said in tree.zones.items()}
    files |= {f"{root}/{zone}/energy_uj": str(value) for zone, value in first.items()}
    clock = HOST if tree.clock == "host" else board_clock_name
    try:
        info, plan = rapl.prepare(_Tree({path: f"{text}\n".encode() for path, text in files.items()}), clock=clock)
    except DeviceError as error:
        raise SpecError(f"powercap of {meter.name}: {error.message}", file=folder / "world.json") from error
    zones = [Path(path).parent.name for path in plan.files]
    columns = [table.columns[zone].tolist() for zone in zones]
    empty = [table.empty[zone].tolist() for zone in zones]
    data = tuple(
        tuple(EIO if none else b"%d\n" % value for value, none in zip(values, nones, strict=True))
        for values, nones in zip(zip(*columns, strict=True), zip(*empty, strict=True), strict=True)
    )
    parts = [rapl.decode(RawSamples(begin_ns, end_ns, data)), rapl.finish()]
    blocks = [block for block in parts if block is not None]
    return ForeignMeter(binding_of(meter, "rapl", calibrated=True), info, blocks)
