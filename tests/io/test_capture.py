"""A capture gives back what was written, and a damaged one says which line."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.core.errors import SpecError
from harness.core.ports import RawSamples
from harness.io.capture import CapturedFiles, CaptureWriter, RecordingFiles, read_capture

WIRE = st.lists(st.tuples(st.integers(0, 2**62), st.sampled_from(["in", "out"]), st.binary(max_size=40)), max_size=10)
PASSES = st.lists(st.lists(st.one_of(st.binary(max_size=20), st.integers(1, 120)), min_size=2, max_size=2), max_size=8)


@given(wire=WIRE, passes=PASSES)
def test_what_was_written_comes_back(wire, passes, tmp_path_factory):  # type: ignore[no-untyped-def]
    path = tmp_path_factory.mktemp("capture") / "one.jsonl"
    t_ns = np.arange(len(passes), dtype=np.int64) * 1000
    written = RawSamples(t_ns, t_ns + 10, tuple(tuple(row) for row in passes), {"late_passes": 3})
    with CaptureWriter(path, {"driver": "toy"}) as writer:
        for row in wire:
            writer.wire(*row)
        writer.samples(written)
        writer.about({"model": "T1"})
    capture = read_capture(path)
    assert list(capture.wire) == wire
    assert (capture.about["driver"], capture.about["model"]) == ("toy", "T1")
    assert capture.received() == b"".join(data for _, way, data in wire if way == "in")
    if passes:
        assert capture.samples is not None
        assert capture.samples.data == written.data
        assert np.array_equal(capture.samples.end_ns, written.end_ns)
        assert capture.samples.counts == {"late_passes": 3}
    else:
        assert capture.samples is None


def test_files_answer_as_they_did(tmp_path: Path) -> None:
    answers = {"/sys/a/name": b"ina219\n", "/sys/a/in1": b"5000\n", "agent:refused /sys/a/*": b"{}"}
    path = tmp_path / "one.jsonl"
    with CaptureWriter(path, {}) as writer:
        RecordingFiles(CapturedFiles(answers), writer).read(["/sys/a/*", "agent:refused /sys/a/*"])
    files = CapturedFiles(read_capture(path).files)
    assert files.read(["/sys/a/*", "agent:refused /sys/a/*"]) == answers
    assert files.read(["/sys/a/na*"]) == {"/sys/a/name": b"ina219\n"}


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    with CaptureWriter(path, {}) as writer:
        writer.wire(1, "in", b"x")
    path.write_text(path.read_text() + '{"t_ns": 2, "way": "in", "data": "!"}\n')
    with pytest.raises(SpecError, match="line 3"):
        read_capture(path)
    other = tmp_path / "other.jsonl"
    other.write_text("{}\n")
    with pytest.raises(SpecError, match="line 1"):
        read_capture(other)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text("mine")
    with pytest.raises(SpecError, match="exists already"):
        CaptureWriter(path, {})
    assert path.read_text() == "mine"
