"""Cells, headers and rows of nvidia-smi: a number with its unit, a word for none, or a refusal; never a 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.nvidia.csv_lines import DRIFT, MALFORMED, UNKNOWN, Header, Lines, Refused, Row, valid_fields
from drivers.nvidia.readings import Missing
from drivers.nvidia.tokens import Malformed, milliwatts

DATA = Path(__file__).parent / "data"
A, B = "GPU-0472e0b4-22a5-992d-e99a-b924703a82f7", "GPU-ec5ae7f5-28ec-d423-7a74-f1a00dd8f3ec"
HEAD = b"timestamp, uuid, power.draw [W], power.draw.instant [W]"
CELLS = [
    [part.strip() for part in line.split("|")]
    for line in (DATA / "tokens.txt").read_text("utf-8").splitlines()
    if line and not line.startswith("#")
]


def headed(*lines: bytes, unit: str = "") -> list[Header | Row | Refused | None]:
    """What comes of `lines` behind a header."""
    read = Lines(["power.draw", "power.draw.instant"], bare_unit=unit)
    assert isinstance(read.read(HEAD), Header)
    return [read.read(line) for line in lines]


def row(watt: str = "349.26 W", instant: str = "349.61 W", uuid: str = A) -> bytes:
    return f"2026/08/23 12:00:00.000, {uuid}, {watt}, {instant}".encode()


@pytest.mark.parametrize(("cell", "means", "where"), CELLS, ids=[cell[0] for cell in CELLS])
def test_a_cell_that_was_printed_is_its_number_or_missing(cell: str, means: str, where: str) -> None:
    if means == "unit":
        with pytest.raises(Malformed, match="has no unit"):
            milliwatts(cell)
        assert milliwatts(cell, bare_unit="W") == round(float(cell) * 1000)
        return
    value = milliwatts(cell)
    if means.isdigit():
        assert value == int(means)
    else:
        assert isinstance(value, Missing) and value.why == means
        assert value.gone == any(word in means for word in ("lost", "reset", "Unknown"))


@pytest.mark.parametrize(
    "cell",
    [
        "26.3 %",
        "48 C",
        "12.7304567 W",
        "0x1A W",
        "nan W",
        "1e3 W",
        "25,02 W",
        "W",
        "- W",
        "25 VA",
        "3٣49.26 W",
        "1_0 W",
    ],
)
def test_what_is_neither_number_nor_word_is_refused(cell: str) -> None:
    with pytest.raises(Malformed):
        milliwatts(cell)


def test_units_are_read_and_not_assumed() -> None:
    assert [milliwatts(cell) for cell in ("25020 mW", "0.02502 kW", "0.00 W", "25 W")] == [25020, 25020, 0, 25000]


def test_a_row_gives_what_the_header_names_wherever_it_stands() -> None:
    read = Lines(["power.draw", "power.draw.instant"])
    read.read(b"power.draw.instant [W], uuid, power.draw [W]")
    first = read.read(f"348.88 W, {A}, [N/A]".encode())
    assert isinstance(first, Row) and first.uuid == A
    assert first.power_mw == {"power.draw": Missing("[N/A]"), "power.draw.instant": 348880}


def test_new_names_of_a_field_are_the_same_field() -> None:
    read = Lines(["power.draw.instant"])
    assert isinstance(read.read(b"gpu_uuid, gpu.power.draw.instant [W]"), Header)
    assert read.read(f"{A}, 1.00 W".encode()) == Row(A, "", {"power.draw.instant": 1000})


@pytest.mark.parametrize(
    ("header", "words"),
    [
        (b"timestamp, power.draw [W], power.draw.instant [W]", "no uuid"),
        (b"timestamp, uuid, power.draw [W]", "no power.draw.instant"),
        (b"uuid, power.draw [W], power.draw [W], power.draw.instant [W]", "twice"),
        (b"uuid, power.draw [J], power.draw.instant [W]", "in J"),
    ],
)
def test_another_header_than_asked_for_is_refused_with_all_rows_behind_it(header: bytes, words: str) -> None:
    read = Lines(["power.draw", "power.draw.instant"])
    assert isinstance(read.read(HEAD), Header)
    refused = read.read(header)
    assert isinstance(refused, Refused) and refused.kind == DRIFT and words in refused.why
    behind = read.read(row())
    assert isinstance(behind, Refused) and behind.kind == DRIFT


def test_rows_without_a_header_have_no_unit_and_are_refused() -> None:
    refused = Lines(["power.draw"]).read(f"{A}, 36.79".encode())
    assert isinstance(refused, Refused) and refused.kind == DRIFT and "header" in refused.why


def test_numbers_without_a_unit_are_taken_only_where_declared() -> None:
    [refused] = headed(row("349.26", "349.61"))
    assert isinstance(refused, Refused) and refused.kind == MALFORMED and "no unit" in refused.why
    [taken] = headed(row("349.26", "349.61"), unit="W")
    assert isinstance(taken, Row) and taken.power_mw["power.draw"] == 349260


def test_a_unit_that_contradicts_the_header_is_refused() -> None:
    [refused] = headed(row("349.26 kW"))
    assert isinstance(refused, Refused) and refused.kind == MALFORMED and "header" in refused.why


def test_a_captured_log_without_units_is_refused_from_its_header_on() -> None:
    read = Lines(["power.draw"], bare_unit="W")
    said = [read.read(line) for line in (DATA / "a100-power.csv").read_bytes().splitlines()]
    assert all(isinstance(one, Refused) for one in said) and "no uuid" in said[0].why  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("line", "gone", "fatal"),
    [
        (b"Unable to determine the device handle for GPU0000:02:00.0: Unknown Error", True, False),
        (b"Failed to initialize NVML: Driver/library version mismatch", True, False),
        (b"Failed to initialize NVML: Unknown Error", True, False),
        (b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.", True, False),
        (b"No devices were found", True, False),
        (b'Field "power.draw.instant" is not a valid field to query.', False, True),
        (b"| N/A   29C    P0   ERR! / 250W |    593MiB / 16160MiB |      0%      Default |", False, False),
        (b"\xff\xfe", False, False),
        (b"WARNING: infoROM is corrupted at gpu 0000:01:00.0", False, False),
    ],
)
def test_a_message_between_the_rows_is_said_and_is_no_reading(line: bytes, gone: bool, fatal: bool) -> None:
    [said] = headed(line)
    assert isinstance(said, Refused) and said.kind in (UNKNOWN, MALFORMED) and said.why
    assert (said.gone, said.fatal) == (gone, fatal)


def test_half_a_row_and_a_row_of_errors_are_refused() -> None:
    half, errors, short = headed(row()[:40], b"[Unknown Error], [Unknown Error], [Unknown Error], [Unknown Error]", b"")
    assert isinstance(half, Refused) and half.kind == MALFORMED
    assert isinstance(errors, Refused) and errors.gone
    assert short is None


def test_the_help_text_says_which_fields_can_be_asked_for() -> None:
    names = valid_fields((DATA / "help-query-gpu.txt").read_text("utf-8"))
    assert {"power.draw", "power.draw.average", "power.draw.instant", "module.power.draw.instant"} <= names
    assert "power.draw.median" not in names and not any(" " in name for name in names)
