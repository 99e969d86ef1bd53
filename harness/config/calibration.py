"""Calibration files: what `joulebench meters calibrate` writes and a bench names."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from harness.config.complain import each_once, validated
from harness.config.facts import CalibrationFile
from harness.config.yaml_lines import load_yaml
from harness.config.yaml_new import write_new
from harness.core.bench_facts import Calibration, ChannelCalibration

HEAD = "# A calibration of one unit: a channel reads gain x true power + offset_w. u95: half widths, 95 %.\n"


def load_calibration(path: Path) -> Calibration:
    """The calibration in a file. SpecError with file and line."""
    document = load_yaml(path)
    file = validated(document, CalibrationFile, "the calibration")
    each_once(document, [c.channel for c in file.channels], "calibrated")
    channels = tuple(ChannelCalibration(**c.model_dump()) for c in file.channels)
    return Calibration(file.serial, file.date, file.by, channels, file.method, file.valid_days)


def write_calibration(calibration: Calibration, path: Path) -> None:
    """Write a calibration file. SpecError if there is one already: a calibration is never overwritten."""
    data = dataclasses.asdict(calibration)
    data["channels"] = [dict(c, residuals_w=list(c["residuals_w"])) for c in data["channels"]]
    write_new(path, HEAD, data)
