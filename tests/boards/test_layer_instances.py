"""Measured inferences with the profiler on: stamps of their kernels, and the refusal of what would be cut short."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from harness.boards.layer_results import unpack_stamps
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import Step
from harness.core.timeline import Phase

PROGRAM = (
    Step("marker", Phase.MARKER, bits="101", chip_s=0.01),
    Step("infer", Phase.WARM_UP, count=4),
    Step("infer", Phase.MEASURED, count=9, pause_max_s=0.004),
    Step("infer", Phase.PROBE, count=3, pause_min_s=0.01, pause_max_s=0.01),
    Step("marker", Phase.MARKER, bits="101", chip_s=0.01),
)


@pytest.fixture
def spec(make_spec):
    plain = make_spec()
    return replace(plain, protocol=replace(plain.protocol, layers="instances"))


def test_every_measured_inference_has_its_kernels_and_no_other(board, spec) -> None:
    session = board.start_agent(spec, 3)
    details = session.load(spec, 3).details
    session.outputs()
    session.perform([Step("idle", Phase.STANDBY_BEFORE, seconds=0.01)], 3, seed=1)
    assert session.layer_stamps() is None
    timeline = session.perform(PROGRAM, 3, seed=1)
    stamps = session.layer_stamps()
    profile = session.profile(spec, count=3).profile
    session.close()

    begin, end = timeline.rows(Phase.MEASURED)
    assert details["layers"] == "instances"
    assert stamps.inference_begin_ns.tolist() == begin.tolist() and set(stamps.start) == {3}
    assert [kernel.name for kernel in stamps.kernels] == [kernel.name for kernel in profile.kernels]
    assert np.all(stamps.begin_ns[:, 0] > begin) and np.all(stamps.end_ns[:, -1] < end)
    assert np.all(stamps.begin_ns[:, 1:] >= stamps.end_ns[:, :-1])
    lengths = stamps.end_ns - stamps.begin_ns
    assert np.median(np.sum(lengths, axis=1) / (end - begin)) > 0.5
    # an inference that took longer has longer kernels: the match is right, not off by one
    assert np.corrcoef(np.sum(lengths, axis=1), end - begin)[0, 1] > 0.9


def test_a_second_program_is_measured_without_stamps(board, spec) -> None:
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    session.perform(PROGRAM, 0, seed=1)
    before = session.layer_stamps()
    assert session.perform(PROGRAM, 0, seed=2).n == 9
    assert np.array_equal(session.layer_stamps().begin_ns, before.begin_ns)
    session.close()


def test_more_events_than_the_runtime_keeps_are_refused_before_anything_is_measured(board, spec) -> None:
    long = replace(spec, protocol=replace(spec.protocol, measure_s=50_000.0))
    session = board.start_agent(long, 0)
    with pytest.raises(
        SpecError, match=r"inferences of 7 kernels are \d+ events a start, and ONNX Runtime keeps 1000000"
    ):
        session.load(long, 0)
    session.close()


def test_stamps_of_inferences_that_were_not_measured_are_refused(board, spec, tmp_path) -> None:
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    timeline = session.perform(PROGRAM, 0, seed=1)
    session.close()
    begin = timeline.rows(Phase.WARM_UP)[0][:1]
    kernels = np.frombuffer(b'[["k", "Add", "", [], []]]', np.uint8)
    np.savez(
        tmp_path / "s.npz", kernels=kernels, inference_begin_ns=begin, begin_ns=begin[:, None], end_ns=begin[:, None]
    )
    with pytest.raises(DeviceError, match="not measured"):
        unpack_stamps((tmp_path / "s.npz").read_bytes(), timeline, 0, board="local")
