"""CSV of nvidia-smi: fields, units, absent values, repeated registers; and a PMD-USB recording beside it."""

from __future__ import annotations

import datetime
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from harness.cli.importing import document_of, smi_run, window_energies
from harness.core.errors import SpecError
from harness.imports import pmd_usb
from harness.imports.foreign import write_run
from harness.imports.meter import Declared
from harness.imports.nvidia_smi import SmiOptions, parse, updates
from harness.imports.source import Source, read_source
from harness.store.run_reader import RunReader

REAL = Path(__file__).resolve().parents[3] / "shared" / "data" / "gpu-power-benchmark"
BEGIN_US = 1_700_000_000_000_000
HEAD = "timestamp, index, power.draw [W], power.draw.instant [W]"


def csv_text(*, seconds: float = 12.0, poll_s: float = 0.007, update_s: float = 0.1, busy: Any = (3.0, 9.0),
             hours: float = 1.0, form: str = "{:.2f} W") -> str:  # fmt: skip
    """A register of a card at 60 W, 200 W while busy, which is written every `update_s` and polled every `poll_s`."""
    rng = np.random.default_rng(3)
    register = 60 + 140 * np.array([busy[0] <= k * update_s < busy[1] for k in range(int(seconds / update_s) + 1)])
    register = register + rng.normal(0, 0.5, len(register)).round(2)
    rows = [HEAD]
    for k in range(int(seconds / poll_s)):
        moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(
            microseconds=BEGIN_US, seconds=k * poll_s, hours=hours
        )
        value = form.format(register[int(k * poll_s / update_s)])
        rows.append(f"{moment.strftime('%Y/%m/%d %H:%M:%S.%f')[:-3]}, 0, {value}, [N/A]")
    return "\n".join(rows) + "\n"


def source(text: str) -> Source:
    return Source(Path("gpu.csv"), text.encode(), "0" * 64)


def document(root: Path, text: str, marks: str, *, options: SmiOptions | None = None, **pmd: Any) -> dict[str, Any]:
    file = root / "gpu.csv"
    file.write_text(text, encoding="utf-8")
    given: dict[str, Any] = {"pmd": None, "pmd_start": None, "rails": ["1", "2", "4"], **pmd}
    run = smi_run(file, marks, None, options or SmiOptions(utc_offset_s=3600.0), Declared(), **given)
    return document_of(write_run(root / "runs", run), new=True)


def test_a_window_of_the_load_gives_gross_energy_and_says_that_the_kind_is_unknown(tmp_path: Path) -> None:
    found = document(tmp_path, csv_text(), "3.5,8.5")
    assert found["windows"][0]["energy_j"] == pytest.approx(200 * 5, rel=0.005)
    result = found["result"]
    assert result["status"] == "valid" and "reading_kind_unknown" in result["flags"]
    assert result["measurand"].startswith("gross energy of one marked window at card")


def test_repeats_of_a_register_are_not_samples() -> None:
    log = parse(source(csv_text()), field="power.draw", utc_offset_s=3600.0, gpu=None)
    rows, period = updates(log.unix_ns, log.power_w)
    assert len(log.unix_ns) == 1714 and 115 <= len(rows) <= 125
    assert period * 1e-9 == pytest.approx(0.1, abs=0.01)


def test_a_register_that_is_written_with_the_same_number_is_not_a_hole() -> None:
    t = np.arange(1000, dtype=np.int64) * 10_000_000
    power = np.repeat(np.r_[np.arange(40.0), np.full(30, 99.0), np.arange(30.0)], 10)
    rows, period = updates(t, power)
    assert period == 100_000_000 and 99 <= len(rows) <= 101
    assert np.diff(t[rows]).max() <= 1.2 * period


def test_what_a_value_means_is_declared(tmp_path: Path) -> None:
    options = SmiOptions(utc_offset_s=3600.0, kind="overlapping", window_s=1.0)
    short = document(tmp_path, csv_text(), "3.5,8.5", options=options)["result"]
    assert short["reason"] == "below_resolution"  # a value remembers a second, the window has five
    long = csv_text(seconds=60.0, busy=(3.0, 57.0))
    result = document(tmp_path, long, "5.0,55.0", options=options)["result"]
    assert result["status"] == "valid" and "reading_kind_unknown" not in result["flags"]
    assert result["details"]["lag_u_s"] == pytest.approx(1 / 12**0.5, rel=0.01)


@pytest.mark.parametrize("form", ["{:.2f} W", "{:.2f}"])
def test_units_stand_in_the_value_or_in_the_heading(form: str) -> None:
    log = parse(source(csv_text(form=form)), field="power.draw", utc_offset_s=0.0, gpu=None)
    assert log.power_w.max() == pytest.approx(200, abs=3)


@pytest.mark.parametrize(
    ("text", "field", "words"),
    [
        (csv_text(), "power.limit", "use --field with one of ['power.draw', 'power.draw.instant']"),
        (csv_text(), "power.draw.instant", "0 values of power.draw.instant"),
        (csv_text(form="{:.1f}").replace(" [W]", ""), "power.draw", "its unit is not stated"),
        (csv_text(form="{:.1f} BTU"), "power.draw", "its unit 'BTU'; expected W"),
        (csv_text(form="x{:.1f} W"), "power.draw", "gpu.csv:2: power.draw is 'x"),
        (csv_text().replace("2023", "23").replace("/", "-"), "power.draw", "gpu.csv:2: timestamp is"),
        ("time,power\n1,2\n", "power.draw", "no column timestamp"),
    ],
)
def test_what_is_wrong_is_named(text: str, field: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(source(text), field=field, utc_offset_s=0.0, gpu=None)
    assert words in str(caught.value)


def test_several_cards_need_a_choice() -> None:
    lines = csv_text().splitlines()
    both = "\n".join([lines[0], *(row for line in lines[1:] for row in (line, line.replace(", 0,", ", 1,")))]) + "\n"
    with pytest.raises(SpecError, match="2 GPUs in one file"):
        parse(source(both), field="power.draw", utc_offset_s=0.0, gpu=None)
    assert len(parse(source(both), field="power.draw", utc_offset_s=0.0, gpu="1").unix_ns) == 1714


def test_marks_on_another_clock_are_asked_about(tmp_path: Path) -> None:
    options = SmiOptions(utc_offset_s=0.0, marks_unit="unix-us")
    with pytest.raises(SpecError, match="give --utc-offset HOURS"):
        document(tmp_path, csv_text(), f"{BEGIN_US + 3_500_000},{BEGIN_US + 8_500_000}", options=options)


def pmd_bytes(*, seconds: float, watt: tuple[float, float, float, float], per_s: int = 4800) -> bytes:
    rows = []
    for k in range(int(seconds * per_s)):
        words = [round(k / per_s * 1e3 * pmd_usb.TICKS_PER_MS) % 65536]
        for name, w in zip(pmd_usb.CHANNELS, watt, strict=True):
            words += [1600 << 4, round(w / (1600 * pmd_usb.VOLT[name]) / pmd_usb.AMPERE) << 4]
        rows.append(struct.pack("<9H", *words))
    return b"".join(rows)


def test_a_pmd_recording_is_a_second_meter_whose_processor_cable_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "PMD_data.bin").write_bytes(pmd_bytes(seconds=12.0, watt=(59.0, 118.1, 59.0, 23.6)) + b"\x01\x02")
    options = SmiOptions(utc_offset_s=3600.0, marks_unit="unix-us")
    marks = f"{BEGIN_US + 3_500_000},{BEGIN_US + 8_500_000}"
    pmd = {"pmd": tmp_path / "PMD_data.bin", "pmd_start": str(BEGIN_US)}
    found = document(tmp_path, csv_text(), marks, options=options, **pmd)
    channels = found["windows"][0]["energy_by_channel_j"]
    assert channels["pmd.2"] == pytest.approx(5 * 118.1, rel=0.01)
    assert channels["smi.card"] == pytest.approx(1000, rel=0.005)
    assert any("2 bytes behind the last sample" in note for note in found["notes"])
    smi, other = found["result"]["meters"]
    assert (smi["meter"], other["meter"], other["channel"]) == ("smi", "pmd", "1+2+4")
    assert "reading_kind_unknown" in smi["flags"] and "reading_kind_unknown" not in other["flags"]
    assert other["reason"] == "stuck"  # constant to the last bit for 12 s: no real meter is


def test_a_file_that_is_no_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the tick stands still"):
        pmd_usb.parse(Source(Path("x.bin"), bytes(1800), ""))
    with pytest.raises(SpecError, match="hold 0 samples"):
        pmd_usb.parse(Source(Path("x.bin"), bytes(7), ""))
    with pytest.raises(SpecError, match="not microseconds since 1970"):
        pmd_usb.start_ns("yesterday", None)


@pytest.mark.skipif(not REAL.is_dir(), reason="../shared is not here")
@pytest.mark.parametrize(
    ("folder", "published"),
    [("5050/3090", 0.940), ("5050/A100", 0.993), ("Transient_Response/3090_TR", 0.952),
     ("Transient_Response/A100_TR", 0.943)],
)  # fmt: skip
def test_the_ratio_of_both_meters_is_the_published_one(tmp_path: Path, folder: str, published: float) -> None:
    """Over the time that both saw, the processor's cable included, as it was published."""
    where = REAL / folder
    begin = int((where / "PMD_start_ts.txt").read_text()) - 50_000
    smi = parse(read_source(where / "gpudata.csv.gz"), field="power.draw", utc_offset_s=3600.0, gpu=None)
    t_ns, _, _ = pmd_usb.parse(read_source(where / "PMD_data.bin.gz"))
    first = max(begin, int(smi.unix_ns[0]) // 1000)
    last = min(begin + int(t_ns[-1]) // 1000, int(smi.unix_ns[-1]) // 1000)
    run = smi_run(
        where / "gpudata.csv.gz", f"{first},{last}", None, SmiOptions(utc_offset_s=3600.0, marks_unit="unix-us"),
        Declared(), pmd=where / "PMD_data.bin.gz", pmd_start=str(where / "PMD_start_ts.txt"),
        rails=["1", "2", "3", "4"],
    )  # fmt: skip
    (window,) = window_energies(RunReader.open(write_run(tmp_path, run)))
    energy = window["energy_by_channel_j"]
    ratio = energy["smi.card"] / sum(energy[f"pmd.{k}"] for k in "1234")
    card = energy["smi.card"] / sum(energy[f"pmd.{k}"] for k in "124")
    print(f"\n{folder}: smi/PMD {ratio:.3f} (published {published}), without the processor's cable {card:.3f}")
    assert ratio == pytest.approx(published, abs=0.01)
