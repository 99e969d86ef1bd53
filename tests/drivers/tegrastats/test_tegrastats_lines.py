"""Every line that meters.md collected from real modules, parsed to the milliwatt, and the lines that are refused."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest

from drivers.simulated.tegrastats import PROFILES
from drivers.tegrastats.codec import MALFORMED, NO_POWER, UNKNOWN, Header, LineCodec, Rails, Refused, parse_line
from drivers.tegrastats.rails import MODULES, module_of

DATA = Path(__file__).parent / "data/lines.txt"


def captured() -> dict[int, str]:
    """Number of the sample -> its line. Tails get the head of sample 7, which is of the same module."""
    rows = [row for row in DATA.read_text("ascii").splitlines() if row.strip()]
    found = {
        int(match[1]): line for comment, line in itertools.pairwise(rows) if (match := re.match(r"# (\d+) \|", comment))
    }
    head = found[7][: found[7].index(" EMC_FREQ") + 1]
    return {
        number: line.replace("... ", head, 1) if line.startswith("... ") else line for number, line in found.items()
    }


LINES = captured()
XAVIER = ("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V")
NX = ("VDD_IN", "VDD_CPU_GPU_CV", "VDD_SOC")
AGX_ORIN = ("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0")
TX2 = ("VDD_SYS_GPU", "VDD_SYS_SOC", "VDD_4V0_WIFI", "VDD_IN", "VDD_SYS_CPU", "VDD_SYS_DDR")

# number: (module, rails in order, milliwatts now, numbers a rail)
EXPECTED: dict[int, tuple[str, tuple[str, ...], tuple[int, ...], int]] = {
    2: ("tx1", ("VDD_IN", "VDD_CPU", "VDD_GPU"), (2532, 76, 19), 2),
    3: ("tx2", ("VDD_IN", "VDD_CPU", "VDD_GPU", "VDD_SOC", "VDD_WIFI", "VDD_DDR"), (2003, 320, 400, 400, 0, 240), 2),
    4: ("tx2", TX2, (152, 687, 0, 3056, 152, 883), 2),
    5: ("nano", ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"), (1022, 0, 204), 2),
    6: ("nano", ("POM_5V_IN", "POM_5V_GPU", "POM_5V_CPU"), (900, 0, 123), 2),
    7: ("agx-xavier", XAVIER, (0, 311, 932, 0, 621, 1482), 2),
    8: ("agx-xavier", XAVIER, (18401, 2301, 4602, 0, 2914, 4632), 2),
    9: ("agx-xavier", XAVIER, (467, 467, 1245, 0, 311, 2768), 2),
    10: ("xavier-nx", NX, (4067, 738, 1353), 2),
    11: ("orin-nx", NX, (5299, 773, 1424), 2),
    12: ("orin-nano", NX, (12479, 4667, 2817), 2),
    13: ("orin-nano", NX, (4824, 518, 1475), 2),
    14: ("agx-orin", AGX_ORIN, (3205, 4405, 4767), 2),
    15: ("agx-orin", AGX_ORIN, (4940, 988, 4442), 2),
    16: ("agx-orin", AGX_ORIN, (5139, 3268, 5500), 3),
    17: ("agx-thor", ("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0", "VIN"), (3561, 7910, 7620, 26686), 2),
    18: ("tx2", TX2, (182, 730, 0, 5297, 1917, 1241), 2),
}


def test_all_samples_are_here() -> None:
    assert sorted(LINES) == list(range(1, 19))
    assert set(EXPECTED) == set(LINES) - {1}


@pytest.mark.parametrize("number", EXPECTED)
def test_a_captured_line_is_parsed_to_the_milliwatt(number: int) -> None:
    _, rails, milliwatts, numbers = EXPECTED[number]
    found = parse_line(LINES[number].encode("ascii"))
    assert isinstance(found, Rails)
    assert list(found.rails_mw.items()) == list(zip(rails, milliwatts, strict=True))
    assert found.numbers == numbers


@pytest.mark.parametrize("number", EXPECTED)
def test_the_rails_of_a_captured_line_are_those_of_the_table(number: int) -> None:
    key, rails, milliwatts, _ = EXPECTED[number]
    module = MODULES[key]
    assert set(rails) in [set(module.rails), *map(set, module.older)]
    if module.total:
        parts = [mw for rail, mw in zip(rails, milliwatts, strict=True) if module.part_of(rail) == module.total]
        whole = milliwatts[rails.index(module.total)]
        assert len(parts) == len(rails) - 1
        assert sum(parts) < whole  # else it is not the whole
    else:
        assert set(module.summed) == set(rails)
        assert not any(module.part_of(rail) for rail in rails)


def test_the_input_of_an_agx_orin_is_no_total() -> None:
    assert MODULES["agx-orin"].total == ""
    _, rails, milliwatts, _ = EXPECTED[14]
    assert milliwatts[rails.index("VIN_SYS_5V0")] < sum(milliwatts) / 2


def test_a_jetpack_without_power_is_not_half_parsed() -> None:
    found = parse_line(LINES[1].encode("ascii"))
    assert isinstance(found, Refused) and found.kind == NO_POWER


@pytest.mark.parametrize(
    ("name", "number"),
    [("tx1-jp3", 1), ("tx2-jp4", 4), ("nano-jp4", 5), ("nano-user", 6), ("agx-xavier-jp4", 7), ("xavier-nx-jp4", 10),
     ("orin-nx-jp5", 11), ("orin-nano-jp6", 12), ("orin-nano-user", 13), ("agx-orin-jp6", 14), ("agx-orin-jp7", 16),
     ("agx-thor-jp7", 17)],
)  # fmt: skip
def test_the_simulated_tool_prints_the_captured_shape(name: str, number: int) -> None:
    line = LINES[number]
    now = dict(re.findall(r"(?<!\S)(\w+) (\d+)(?:mW)?/\d+", line))
    mean = dict(re.findall(r"(?<!\S)(\w+) \d+(?:mW)?/(\d+)", line))
    rails = [rail.name for rail in PROFILES[name].rails]
    said = PROFILES[name].line(
        {rail: int(now[rail]) for rail in rails}, {rail: int(mean[rail]) for rail in rails}, line[:19]
    )
    assert said == line


# --- what is no line ----------------------------------------------------------------------------------

GOOD = LINES[12]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("", None),
        ("   ", None),
        ("tegrastats: permission denied", UNKNOWN),
        (GOOD[40:], UNKNOWN),  # begins in the middle
        (GOOD[: GOOD.index(" VDD_IN")], NO_POWER),
        (GOOD[: GOOD.index("mW/12479mW") + 3], MALFORMED),  # cut behind the first number
        (GOOD[:-2], MALFORMED),  # cut within the last unit
        (GOOD + GOOD, MALFORMED),  # a newline was lost
        (GOOD + " VDD_IN 1mW/1mW", MALFORMED),  # stands twice
        (GOOD + " something", MALFORMED),
        (GOOD + "\x1f", UNKNOWN),  # a control character that Python takes for a blank
        (GOOD.replace("12479mW/12479mW", "12479mW"), MALFORMED),  # an invented fixture's form
        (GOOD.replace("12479mW/12479mW", "12W/12W"), MALFORMED),
        (GOOD.replace("12479mW/12479mW", "12479/12479"), MALFORMED),
        (GOOD.replace("4667mW/4667mW", "4667mW/4667mW/4667mW"), MALFORMED),  # two forms in one line
        (GOOD.replace("12479mW/", "12.479mW/"), MALFORMED),
        (GOOD.replace("12479mW/", "nan/"), MALFORMED),
        (GOOD.replace("RAM ", "RAM  MEM "), UNKNOWN),
    ],
)
def test_what_is_not_a_whole_line_gives_nothing(line: str, kind: str | None) -> None:
    found = parse_line(line.encode("ascii"))
    if kind is None:
        assert found is None
    else:
        assert isinstance(found, Refused), found
        assert found.kind == kind


def test_only_the_first_number_counts() -> None:
    found = parse_line(LINES[8].encode("ascii"))
    assert isinstance(found, Rails) and found.rails_mw["GPU"] == 18401  # not the mean of 18525


def test_a_rail_called_like_a_temperature_or_a_list_is_told_apart() -> None:
    found = parse_line(LINES[7].encode("ascii"))
    assert isinstance(found, Rails)
    assert found.rails_mw["GPU"] == 0 and found.rails_mw["CPU"] == 311  # GPU@37.5C and CPU [2%@1190,...] are no rails


def test_a_header_keeps_what_the_first_good_line_had() -> None:
    header = Header(("VDD_IN",))
    whole = Rails({"VDD_IN": 5, "VDD_SOC": 1})
    assert header.judge(whole) is None
    missing = header.judge(Rails({"VDD_IN": 5}))
    assert missing is not None and missing.kind == "header_drift"
    more = Rails({"VDD_IN": 5, "VDD_SOC": 1, "VDD_NEW": 2})
    assert header.judge(more) is None and header.new(more)


@pytest.mark.parametrize(
    ("model", "module"),
    [
        ("NVIDIA Jetson Nano Developer Kit\0", "nano"),
        ("NVIDIA Jetson Orin Nano Developer Kit\0", "orin-nano"),
        ("NVIDIA Orin Nano Developer Kit", "orin-nano"),
        ("NVIDIA Jetson Xavier NX Developer Kit", "xavier-nx"),
        ("NVIDIA Orin NX Developer Kit", "orin-nx"),
        ("Jetson-AGX", "agx-xavier"),
        ("NVIDIA Jetson AGX Xavier Developer Kit", "agx-xavier"),
        ("NVIDIA Jetson AGX Orin Developer Kit", "agx-orin"),
        ("NVIDIA Jetson AGX Thor Developer Kit", "agx-thor"),
        ("NVIDIA Jetson TX2 Developer Kit", "tx2"),
        ("quill", "tx2"),
        ("jetson_tx1", "tx1"),
        ("Raspberry Pi 5 Model B Rev 1.0", ""),
        ("", ""),
    ],
)
def test_the_device_tree_tells_the_module(model: str, module: str) -> None:
    assert module_of(model) == module


def test_lines_come_out_of_any_chunking() -> None:
    stream = b"".join(line.encode("ascii") + b"\n" for line in LINES.values()) + b"RAM 1/2MB VDD_IN 1/"
    whole = LineCodec().feed(stream)
    assert len(whole) == 18
    for size in (1, 7, 4096):
        codec = LineCodec()
        assert [o for k in range(0, len(stream), size) for o in codec.feed(stream[k : k + size])] == whole


def test_a_line_without_end_does_not_eat_memory_and_is_told_once() -> None:
    codec = LineCodec()
    found = [o for _ in range(100) for o in codec.feed(b"x" * 1000)]
    assert len(found) == 1 and isinstance(found[0], Refused)
    assert codec.feed(b"\n" + GOOD.encode("ascii") + b"\n") == [parse_line(GOOD.encode("ascii"))]
