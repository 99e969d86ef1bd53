"""Accuracy by channel and range, calibration files and plane models: resolved into the runs, or refused in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from harness.core.errors import SpecError
from harness.core.spec import RunSpec

RUN = "bench: lab\nmodels: [zoo:a]\n"
METER = "driver: monsoon\nchannels:\n  main:\n    planes: [dc_input]\n    accuracy: {accuracy}\n"
CALIBRATION = (
    "serial: '7'\ndate: 2026-03-01\nby: us\nchannels:\n"
    "  - {channel: main, gain: 1.01, gain_u95: 0.001, offset_w: 0.002, offset_u95_w: 1e-4, residuals_w: [0.001]}\n"
)
TWO = (
    "board: bench-pc\nmeters:\n"
    "  - {name: up, meter: hvpm, rails: {main: main}, plane: dc_input, total: [main], options: {serial: a}}\n"
    "  - {name: down, meter: hvpm, rails: {main: main}, plane: dc_input, total: [main], options: {serial: b}}\n"
    "plane_models:\n"
)


def resolved(lab: Any) -> RunSpec:
    (spec,) = lab.resolve(RUN)
    assert RunSpec.from_json(spec.to_json()) == spec
    return spec  # type: ignore[no-any-return]


def refused(lab: Any) -> SpecError:
    with pytest.raises(SpecError) as caught:
        lab.resolve(RUN)
    assert caught.value.file and caught.value.hint
    return caught.value


def test_ranges_have_limits_of_their_own_and_amperes_become_watts(lab: Any) -> None:
    accuracy = (
        "[{range: 0, gain_rel: 0.01, offset_a: 50e-6, source: sheet 1}, {range: 1, gain_rel: 0.02, offset_v: 1e-4, "
        "shunt_ohm: 0.1, noise_w: 0.01, bandwidth_hz: 100, window_s: 0.001, update_s: 0.002, source: sheet 2}]"
    )
    lab.file("meters/hvpm.yaml", METER.replace("{accuracy}", accuracy))
    fine, coarse = resolved(lab).meters[0].accuracy  # the bench says voltage_v: 4.0
    assert (fine.code, fine.offset_w) == (0, pytest.approx(200e-6))
    assert (coarse.code, coarse.offset_w) == (1, pytest.approx(1e-4 / 0.1 * 4.0))
    assert (coarse.noise_w, coarse.bandwidth_hz, coarse.window_s, coarse.update_s) == (0.01, 100, 0.001, 0.002)


def test_a_section_holds_for_the_options_it_names_and_without_a_voltage_the_zero_stays_in_ampere(
    lab: Any, base_files: dict[str, str]
) -> None:
    sections = ", ".join(
        f"{{when: {{range_mv: {mv}}}, gain_rel: 0.005, shunt_tolerance_rel: 0.01, offset_v: {mv}e-6, shunt_ohm: 0.1, "
        "source: x}" for mv in (80, 320)
    )  # fmt: skip
    meter = METER.replace("{accuracy}", f"[{sections}]").replace(
        "driver: monsoon", "driver: monsoon\noptions: {range_mv: 320}"
    )
    lab.file("meters/hvpm.yaml", meter)
    lab.file(
        "benches/lab.yaml", base_files["benches/lab.yaml"].replace("{voltage_v: 4.0}", "{shunt_tolerance_rel: 0.02}")
    )
    (row,) = resolved(lab).meters[0].accuracy
    assert row.gain_rel == pytest.approx(0.025)
    assert (row.offset_w, row.offset_a) == (0.0, pytest.approx(320e-6 / 0.1))


@pytest.mark.parametrize(
    ("accuracy", "words"),
    [
        ("{gain_rel: 0.01, source: x}", "offset_w, offset_a or offset_v"),
        ("{gain_rel: 0.01, offset_v: 1e-4, source: x}", "needs the shunt"),
        ("{when: {range_mv: 80}, gain_rel: 0.01, offset_w: 0, source: x}", "no default of range_mv"),
        ("[{gain_rel: 0.01, offset_w: 0, source: x}, {gain_rel: 0.02, offset_w: 0, source: x}]", "for all ranges"),
        ("[{range: 1, gain_rel: 0.01, offset_w: 0, source: x}, {range: 1, gain_rel: 0, offset_w: 0, source: x}]",
         "for range 1"),
        ("{gain_rel: 1.5, offset_w: 0, source: x}", "at most 1"),
        ("{gain_rel: 0.01, offset_w: 0}", "'source' is missing"),
        ("{gain_rel: 0.01, offset_w: 0, source: x, gain: 1}", "unknown key 'gain'"),
    ],
)  # fmt: skip
def test_an_accuracy_that_says_too_little_or_too_much_is_refused(lab: Any, accuracy: str, words: str) -> None:
    lab.file("meters/hvpm.yaml", METER.replace("{accuracy}", accuracy))
    assert words in refused(lab).message


def test_a_calibration_is_part_of_the_run_whatever_its_file_is_called(lab: Any, base_files: dict[str, str]) -> None:
    before = resolved(lab)
    for name in ("one.yaml", "two.yaml"):
        lab.file(f"benches/{name}", CALIBRATION)
        lab.file("benches/lab.yaml", base_files["benches/lab.yaml"] + f"    calibration: {name}\n")
        spec = resolved(lab)
        assert spec.run_id != before.run_id
        calibration = spec.meters[0].calibration
        assert calibration is not None
        assert (calibration.serial, calibration.valid_days, calibration.channels[0].gain) == ("7", 365, 1.01)
        Path(lab.configs / "benches" / name).unlink()


@pytest.mark.parametrize(
    ("text", "more", "words"),
    [
        (CALIBRATION.replace("channel: main", "channel: aux"), "", "no channel 'main'"),
        (CALIBRATION, "    accuracy: {gain_rel: 0.01, offset_w: 0, source: x}\n", "two answers to one question"),
        (CALIBRATION.replace("gain: 1.01", "gain: 0"), "", "more than 0.01"),
        (CALIBRATION.replace("date: 2026-03-01", "date: last week"), "", "must match"),
        (CALIBRATION + CALIBRATION[CALIBRATION.index("  - ") :], "", "calibrated twice"),
        (None, "", "cannot read"),
    ],
)
def test_a_calibration_that_does_not_fit_is_refused(
    lab: Any, base_files: dict[str, str], text: str | None, more: str, words: str
) -> None:
    if text is not None:
        lab.file("benches/c.yaml", text)
    lab.file("benches/lab.yaml", base_files["benches/lab.yaml"] + "    calibration: c.yaml\n" + more)
    assert words in refused(lab).message


def test_plane_models_go_with_the_run_and_are_left_out_where_there_are_none(lab: Any) -> None:
    assert "plane_models" not in resolved(lab).to_json()
    model = "{upstream: up, downstream: down, efficiency: [0.8, 0.9], constant_w: [0, 1]}"
    lab.file("benches/lab.yaml", TWO + f"  - {model}\n")
    (found,) = resolved(lab).plane_models
    assert (found.efficiency, found.constant_w, found.same) == ((0.8, 0.9), (0.0, 1.0), False)
    lab.file("benches/lab.yaml", TWO + "  - {upstream: up, downstream: down, same: true}\n")
    assert resolved(lab).plane_models[0].same


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("{upstream: up, downstream: dwn, same: true}", "no meter called 'dwn'"),
        ("{upstream: up, downstream: up, same: true}", "between two meters"),
        ("{upstream: up, downstream: down}", "same: true"),
        ("{upstream: up, downstream: down, same: true, efficiency: [0.8, 0.9]}", "keep one"),
        ("{upstream: up, downstream: down, efficiency: [0.9, 0.8]}", "lowest <= highest"),
        ("{upstream: up, downstream: down, efficiency: [0.9, 1.1]}", "lowest <= highest"),
        ("{upstream: up, downstream: down, efficiency: [0.8, 0.9], constant_w: [1, 0]}", "constant_w"),
        ("{upstream: up, downstream: down, same: true}\n  - {upstream: down, downstream: up, same: true}", "two plane"),
    ],
)
def test_a_plane_model_that_is_none_is_refused(lab: Any, model: str, words: str) -> None:
    lab.file("benches/lab.yaml", TWO + f"  - {model}\n")
    assert words in refused(lab).message


def test_what_sampling_costs_is_kept_with_the_run(lab: Any, base_files: dict[str, str]) -> None:
    line = '    observer: {power_w: 0.02, half_width_w: 0.005, source: "boards cost, 2026-03-01"}\n'
    lab.file("benches/lab.yaml", base_files["benches/lab.yaml"] + line)
    observer = resolved(lab).meters[0].observer
    assert observer is not None
    assert (observer.power_w, observer.half_width_w) == (0.02, 0.005)
