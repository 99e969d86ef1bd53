"""The text parsers under fuzz: real lines to damage, and what must hold of whatever a parser then yields.

Each `check(data)` feeds the parser, raises `Broken` when it yields a value that is not in the bytes or a part of a row,
and says whether it yielded anything. What the bytes hold is read here a second time, by other means.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

from harness.core.errors import BenchError, SpecError

ROOT = Path(__file__).resolve().parents[2]
DRIVERS = ROOT / "tests/drivers"
NUMBER = re.compile(rb"[+-]?\d+(?:\.\d*)?")


class Broken(AssertionError):
    """A parser yielded what its input does not hold."""


@dataclass(frozen=True)
class Target:
    """`refusals`: errors that the parser documents beside BenchError, for its caller to catch."""

    name: str
    samples: Sequence[bytes]
    check: Callable[[bytes], bool]
    refusals: tuple[type[Exception], ...] = ()

    def run(self, data: bytes) -> bool:
        """Whether the parser took it. Broken, or any accident, comes through."""
        try:
            return self.check(data)
        except (BenchError, *self.refusals):
            return False


def require(condition: object, words: str) -> None:
    if not condition:
        raise Broken(words)


# --- tegrastats -------------------------------------------------------------------------------------

RAIL_VALUE = re.compile(r"(-?\d+)(mW)?/-?\d+(mW)?(?:/-?\d+(mW)?)?")


def tegrastats() -> Target:
    from drivers.tegrastats.codec import Rails, parse_line

    text = (DRIVERS / "tegrastats/data/lines.txt").read_bytes()
    samples = [line for line in text.splitlines() if line.strip() and not line.startswith(b"#")]

    def check(data: bytes) -> bool:
        outcome = parse_line(data)
        if not isinstance(outcome, Rails):
            return False
        expected = rails_at_the_end(data.decode("ascii"))
        require(dict(outcome.rails_mw) == expected, f"rails {dict(outcome.rails_mw)}, the line ends with {expected}")
        return True

    return Target("tegrastats", samples, check)


def rails_at_the_end(text: str) -> dict[str, int]:
    """Pairs of a name and a value, read backwards from the end of the line."""
    words, found = text.split(), {}
    while len(words) >= 2 and (match := RAIL_VALUE.fullmatch(words[-1])) and re.fullmatch(r"[A-Za-z]\w*", words[-2]):
        found[words[-2]] = int(match[1])
        del words[-2:]
    return dict(reversed(found.items()))


# --- Raspberry Pi 5 ---------------------------------------------------------------------------------


def pmic() -> Target:
    from drivers.pmic.codec import Print, parse_print
    from drivers.simulated.pmic.converter import Converter

    def check(data: bytes) -> bool:
        outcome = parse_print(data)
        if not isinstance(outcome, Print):
            return False
        lines = [line for line in data.decode("ascii").splitlines() if line.strip()]
        require(len(lines) == len(outcome.volts) + len(outcome.amperes), "not every line is in the print")
        for values, letter in ((outcome.volts, "V"), (outcome.amperes, "A")):
            for rail, count in values.items():
                mine = [line for line in lines if line.split()[0] == f"{rail}_{letter}"]
                require(len(mine) == 1, f"{rail}_{letter} stands in {len(mine)} lines")
                said = Decimal(mine[0].split("=")[1].strip()[:-1])
                require(said == Decimal(count).scaleb(-8), f"{rail}_{letter} is {said}, not {count}")
        return True

    captured = (DRIVERS / "pmic/data/lines.txt").read_bytes()
    samples = [captured, *(Converter(lambda t_s: 1.0, seed=k).text(0.0).encode() for k in range(3))]
    return Target("pi5-pmic", samples, check)


# --- INA219 over a serial line ----------------------------------------------------------------------


def crc16(data: bytes) -> int:
    """CRC-16/CCITT-FALSE, bit by bit (docs/meters/inas-1.md)."""
    crc = 0xFFFF
    for byte in data:
        crc ^= byte << 8
        for _ in range(8):
            crc = (crc << 1 ^ 0x1021 if crc & 0x8000 else crc << 1) & 0xFFFF
    return crc


def inas() -> Target:
    from drivers.ina219.codec import InasDecoder
    from drivers.ina219.messages import Samples

    page = (ROOT / "docs/meters/inas-1.md").read_text("utf-8")
    vectors = [line.strip().encode() for line in page.splitlines() if re.fullmatch(r"\s+\$\w.*\*[0-9A-F]{4}", line)]
    samples = [b"\r\n".join([b"", *vectors[k:], b""]) for k in range(len(vectors))]

    def check(data: bytes) -> bool:
        found = [m for m in InasDecoder().feed(data) if isinstance(m, Samples) and m.epoch is None]
        there = {
            tuple(int(part) for part in match[1].split(b","))
            for match in re.finditer(rb"\$S,(\d+,\d+,-?\d+,\d+)\*([0-9A-F]{4})", data)
            if crc16(b"S," + match[1]) == int(match[2], 16)
        }
        for m in found:
            row = (m.seq, int(m.t_us[0]), int(m.shunt_raw[0]), int(m.bus_raw[0]))
            require(row in there, f"sample {row} is in no line with a right CRC")
        return bool(found)

    return Target("inas/1", samples, check)


def sketches() -> Target:
    from drivers.ina219.text_codec import LineSplitter, TextDecoder
    from drivers.ina219.text_formats import given_columns, recognise

    folder = DRIVERS / "ina219-text/data"
    given = {"getcurrent-csv.txt": "millis,load_v,current_ma", "blanks.txt": "millis,current_ma,power_mw"}
    samples = [b"cut\n" + path.read_bytes() for path in sorted(folder.glob("*.txt"))]
    columns = [given.get(path.name, "") for path in sorted(folder.glob("*.txt"))]

    forms = [
        given_columns(named) if named else recognise(LineSplitter().feed(sample), shunt_ohm=0.1)
        for named, sample in zip(columns, samples, strict=True)
    ]
    words = [set(sample.split()) for sample in samples]
    whole = [
        set(TextDecoder(copy.deepcopy(form)).feed(sample)[0].values)
        for form, sample in zip(forms, samples, strict=True)
        if form is not None
    ]

    def check(data: bytes) -> bool:
        mine = set(data.split())
        likest = max(range(len(samples)), key=lambda k: len(words[k] & mine))
        form = copy.deepcopy(forms[likest])
        assert form is not None
        records = TextDecoder(form).feed(data)
        numbers = {Decimal(n.decode()) for n in NUMBER.findall(data)}
        for record in records:
            require(set(record.values) == whole[likest], f"half a record: {sorted(record.values)}")
            for quantity, value in record.values.items():
                printed = Decimal(value.nano)
                require(
                    any(printed.scaleb(e) in numbers for e in (-9, -6, -3, 0, -12)),
                    f"{quantity} of {value.nano} nano stands nowhere",
                )
        return bool(records)

    return Target("ina219-text", samples, check)


# --- Monsoon LVPM, old serial firmware ---------------------------------------------------------------


def serial_lvpm() -> Target:
    from drivers.monsoon.serial_frames import FrameSplitter, data_packet, frame

    def packet(first: int, kind: int) -> bytes:
        return frame(data_packet(first, kind, [(200 * k, 3, -5, 33_600 + first) for k in range(7)]))

    samples = [b"".join(packet(first + k, k % 3) for k in range(6)) for first in range(4)]

    def check(data: bytes) -> bool:
        found = FrameSplitter().feed(data)
        at = 0
        for payload in found:
            length = len(payload) + 1
            whole = bytes([length]) + payload + bytes([(length + sum(payload)) % 256])
            require(
                whole in data[at:], f"a packet of {length} bytes with its checksum is not in the line, or not in order"
            )
            at = data.index(whole, at) + len(whole)
        return bool(found)

    return Target("monsoon-serial", samples, check)


# --- answers of bench instruments -------------------------------------------------------------------


def scpi_list() -> Target:
    from drivers.visa.blocks import Form, readings

    samples = [
        b"103.79E+00,1.0143E+00,105.27E+00",
        b":NUMERIC:NORMAL:VALUE 103.79E+00,NAN,INF,------,9.91E+37",
        b"+8.034562E-03,+4.01,+4.430876E+00s",
        b"5.0114,0.0000,0.000",
    ]

    def check(data: bytes) -> bool:
        found = readings(data, Form.ASCII)
        text = data.decode("ascii").replace(";", ",")
        numbers = {float(n) for n in re.findall(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", text)}
        require(len(found) <= text.count(",") + 1, "more values than fields")
        for value, why in zip(found.value.tolist(), found.why.tolist(), strict=True):
            require((value != value) == (why != 0), f"{value} is missing for reason {why}")
            require(why != 0 or value in numbers, f"{value} stands nowhere")
        return bool(len(found))

    return Target("scpi-list", samples, check, (ValueError,))


def scpi_block() -> Target:
    import struct

    from drivers.visa.blocks import Form, readings
    from harness.io.visa_framing import Framer

    floats = struct.pack(">6f", 1.5, 0.25, 5.0, 9.91e37, -3.0, 0.0390625)
    samples = [b"#224" + floats + b"\n1.0\n", b":NUM:NORM:VAL #800000024" + floats + b"\n", b"#0" + floats + b"\n"]

    def check(data: bytes) -> bool:
        whole, framers = Framer(b"\n"), (Framer(b"\n"), Framer(b"\n"))
        whole.feed(data)
        message = whole.take()
        for framer, size in zip(framers, (1, 7), strict=True):
            seen = None
            for k in range(0, len(data), size):
                framer.feed(data[k : k + size])
                seen = framer.take() if seen is None else seen
            require(seen == message, f"cut into {size} it is {seen!r}, whole it is {message!r}")
        if message is None:
            message = whole.take_rest()
        require(message in data, "a message that was never sent")
        found = readings(message, Form.REAL32)
        present = {message[k : k + 4] for k in range(len(message))}
        for value in found.value[found.why == 0].tolist():
            require(struct.pack(">f", value) in present, f"{value} is not in the block")
        return bool(len(found))

    return Target("scpi-block", samples, check, (ValueError,))


# --- numbers of single files ------------------------------------------------------------------------


def powercap() -> Target:
    from drivers.rapl.codec import parse_energy_uj

    samples = [b"0\n", b"123456789\n", b"262143328850\n", b"65712999613\n", b"9999999999999999999\n"]

    def check(data: bytes) -> bool:
        value = parse_energy_uj(data)
        require(re.fullmatch(rb"\s*0*%d\s*" % value, data), f"{value} from {data[:60]!r}")
        return True

    return Target("powercap", samples, check, (ValueError,))


def battery() -> Target:
    from drivers.battery.codec import number

    samples = [b"0\n", b"-1234000\n", b"7421000\n", b"11583000\n"]

    def check(data: bytes) -> bool:
        value = number("power_now", data)
        digits = b"%d" % abs(value)
        require(re.fullmatch(rb"\s*(-?)0*%s\s*" % digits, data), f"{value} from {data[:60]!r}")
        require((b"-" in data) == (value < 0) or value == 0, f"{value} from {data[:60]!r}")
        return True

    return Target("battery", samples, check, (ValueError,))


# --- what others recorded ---------------------------------------------------------------------------

SMI = b"""timestamp, index, power.draw [W], power.draw.instant [W]
2023/11/14 22:13:20.000, 0, 60.12 W, [N/A]
2023/11/14 22:13:20.007, 0, 60.12 W, [N/A]
2023/11/14 22:13:20.101, 0, 61.90 W, [N/A]
2023/11/14 22:13:20.108, 0, 199.07 W, [N/A]
2023/11/14 22:13:20.204, 0, [N/A], [N/A]
2023/11/14 22:13:20.301, 0, 200.41 W, [N/A]
"""


def nvidia_smi() -> Target:
    from harness.imports.nvidia_smi import parse
    from harness.imports.source import Source

    def check(data: bytes) -> bool:
        if not data:
            raise SpecError("read_source refuses an empty file")
        log = parse(Source(Path("gpu.csv"), data, "0" * 64), field="power.draw", utc_offset_s=0.0, gpu=None)
        text = data.decode("utf-8-sig", "replace")
        rows = [row for row in text.splitlines()[1:] if row.strip()]
        require(len(log.power_w) + log.missing <= len(rows), "more values than rows")
        numbers = {float(n) for n in re.findall(r"[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|[+-]?\.\d+", text)}
        thousandths = {n * 1e-3 for n in numbers}
        for watt in log.power_w.tolist():
            require(watt in numbers or watt in thousandths, f"{watt} W stands nowhere")
        return True

    return Target("nvidia-smi", [SMI, SMI.replace(b" W", b" mW"), SMI.replace(b"index", b"uuid")], check)


def nvidia_rows() -> Target:
    """Rows behind a header, as a board's nvidia-smi prints them."""
    from drivers.nvidia.csv_lines import Header, Lines, Row

    uuid = b"GPU-0472e0b4-22a5-992d-e99a-b924703a82f7"
    rows = [b"2026/08/23 12:00:0%d.000, %s, %s" % (k, uuid, cell) for k, cell in enumerate((b"349.26 W", b"[N/A]"))]
    sample = b"\n".join([b"timestamp, uuid, power.draw [W]", *rows])

    def check(data: bytes) -> bool:
        lines, header, taken = Lines(["power.draw"]), b"", False
        for line in data.split(b"\n"):
            outcome = lines.read(line)
            if isinstance(outcome, Header):
                header = line
            elif isinstance(outcome, Row):
                names = [name.split(b"[")[0].strip() for name in header.split(b",")]
                cell = line.split(b",")[names.index(b"power.draw")].strip()
                value = outcome.power_mw["power.draw"]
                if isinstance(value, int):
                    printed = re.fullmatch(rb"(-?\d+(?:\.\d+)?) ?(W|mW|kW)", cell)
                    require(printed is not None, f"{value} mW from {cell!r}")
                    assert printed is not None
                    scale = {b"W": 1000, b"mW": 1, b"kW": 1_000_000}[printed[2]]
                    require(Decimal(printed[1].decode()) * scale == value, f"{value} mW from {cell!r}")
                    taken = True
        return taken

    return Target("nvidia-rows", [sample], check)


def nvidia_log() -> Target:
    """What nvidia-smi -q -x printed of six cards."""
    from drivers.nvidia.xml_log import NotALog, parse_log

    samples = [path.read_bytes() for path in sorted((DRIVERS / "nvidia-smi/data").glob("*.xml"))]

    def check(data: bytes) -> bool:
        found = parse_log(data).power_mw
        values = [value for power in found.values() for value in power.values() if isinstance(value, int)]
        printed = {Decimal(text.decode()) * 1000 for text in re.findall(rb"(-?\d+(?:\.\d+)?) ?W", data)}
        printed |= {Decimal(text.decode()) for text in re.findall(rb"(-?\d+(?:\.\d+)?) ?mW", data)}
        printed |= {Decimal(text.decode()) * 10**6 for text in re.findall(rb"(-?\d+(?:\.\d+)?) ?kW", data)}
        require(set(map(Decimal, values)) <= printed, f"{values} mW are not in it")
        return bool(values)

    return Target("nvidia-log", samples, check, (NotALog,))


TARGETS: tuple[Callable[[], Target], ...] = (
    tegrastats, pmic, inas, sketches, serial_lvpm, powercap, battery, nvidia_smi, nvidia_rows, nvidia_log,
    scpi_list, scpi_block,
)  # fmt: skip
