"""What is known beforehand goes into a run's spec and comes back; a run without it keeps the identity it always had."""

from __future__ import annotations

import json

from harness.core.bench_facts import (
    Calibration,
    ChannelAccuracy,
    ChannelCalibration,
    IdleRange,
    Observer,
    PlaneModel,
)
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec

OLD_METER = {"name", "driver", "rails", "plane", "total_rails", "options", "accuracy_rel", "accuracy_offset_w"}


def spec(board: BoardSpec, meter: MeterBinding, *models: PlaneModel) -> RunSpec:
    protocol = ProtocolSpec(
        "quick", "back-to-back", 3, None, 1.0, 4.0, 1.0, 5.0, 1.0, 0.3, 0.3, 0.005, 25, 0.03, "1110010110100011", 0.02,
        1e-3,
    )  # fmt: skip
    return RunSpec(
        "test", "small", board, (meter,), ModelSpec("net", "gen:net", "0" * 64, 1), RuntimeSpec(), protocol, 0, 1,
        True, plane_models=models,
    )  # fmt: skip


def test_a_run_that_knows_nothing_beforehand_has_the_identity_of_the_first_version() -> None:
    plain = spec(BoardSpec("small"), MeterBinding("main", "small", (("main", "main"),), "dc_input", ("main",)))
    assert plain.run_id == "net-b1-r0-b1900dd44545"
    document = plain.to_json()
    assert set(document["meters"][0]) == OLD_METER
    assert "plane_models" not in document and "idle" not in document["board"]


def test_all_of_it_comes_back() -> None:
    channel = ChannelCalibration("main", 1.01, 0.001, 0.002, 0.0001, (0.1, -0.1))
    meter = MeterBinding(
        "main", "small", (("main", "main"),), "dc_input", ("main",),
        accuracy=(ChannelAccuracy("main", 1, 0.01, 0.001, 0.002, 100.0, 0.001, 0.002, "x", 0.003),),
        calibration=Calibration("7", "2026-03-01", "us", (channel,), "three loads", 100),
        observer=Observer(0.02, 0.005, "boards cost"),
    )  # fmt: skip
    board = BoardSpec("small", idle=(IdleRange("rail", 1.0, 2.0, "a page", ("VDD_IN",)),))
    full = spec(board, meter, PlaneModel("a", "b", (0.8, 0.9), (0.0, 1.0)))
    assert RunSpec.from_json(json.loads(full.canonical())) == full
