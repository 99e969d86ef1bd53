"""A run goes into the writer and comes out of the reader unchanged, finished or recovered."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import resource
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import load_run
from harness.core.errors import DeviceError, SpecError
from harness.core.timeline import Phase
from harness.core.trace import Block, CalibrationPiece, Gap, Trace, join_blocks
from harness.store.layout import stream_path
from harness.store.recover import recover_partial
from harness.store.run_reader import RunReader
from harness.store.run_writer import RunWriter


def assert_same(found: Trace, expected: Trace) -> None:
    assert found.info == expected.info
    assert found.calibration == expected.calibration
    assert found.gaps == expected.gaps
    assert dict(found.counts) == dict(expected.counts)
    np.testing.assert_array_equal(found.anchors, expected.anchors)
    np.testing.assert_array_equal(found.t_ns, expected.t_ns)
    assert list(found.columns) == list(expected.columns)
    for name, column in expected.columns.items():
        assert found.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(found.columns[name], column)


def test_finished_run_reads_back(samples: SimpleNamespace, tmp_path: Path) -> None:
    blocks = [samples.block(k) for k in range(5)]
    writer = RunWriter.create(tmp_path, samples.spec())
    samples.fill(writer, blocks)
    (writer.path / "events.jsonl").write_text('{"event": "a"}\n{"event": "to')
    final = writer.finish()

    assert final == tmp_path / samples.spec().run_id
    run = load_run(final)
    assert run.spec == samples.spec()
    assert run.run_id == samples.spec().run_id
    assert run.simulated
    assert run.meters() == ("monsoon",)
    assert run.manifest["meters_missing"] == ["rapl"]
    assert_same(run.trace("monsoon"), join_blocks(samples.info(), blocks))
    assert np.isfinite(run.trace("monsoon").values("main")).any()
    timeline = run.timeline()
    assert timeline.n == 6
    assert timeline.starts == (0, 1)
    assert [s.start for s in timeline.spans_of(Phase.MEASURED)] == [0, 1]
    np.testing.assert_array_equal(timeline.rows(Phase.MEASURED, 1)[1], [1090, 1190, 1290])
    clock, pings = run.pings()
    assert clock == "board:local"
    np.testing.assert_array_equal(pings, np.arange(9).reshape(3, 3))
    assert run.json("board_state") == {"governor": "performance", "nan": None, "t": 1.5}
    assert run.json("absent") is None
    assert [e["event"] for e in run.events()] == ["a"]
    assert not list(final.rglob("*.arrows"))
    RunReader.open(final, verify="hashes")


def test_every_raw_file_is_marked_simulated(samples: SimpleNamespace, tmp_path: Path) -> None:
    from harness.store.parquet import mark_of

    writer = RunWriter.create(tmp_path, dataclasses.replace(samples.spec(), simulated=False))
    samples.fill(writer, [samples.block(0)])
    final = writer.finish()  # the meter says it is simulated, whatever the spec says
    files = list((final / "raw").glob("*.parquet"))
    assert len(files) == 7
    assert all(mark_of(f)["simulated"] for f in files)
    assert all(mark_of(f)["run_id"] == samples.spec(simulated=False).run_id for f in files)
    assert RunReader.open(final).simulated


def test_run_without_any_reading_is_readable_and_empty(samples: SimpleNamespace, tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, samples.spec())
    writer.block_writer("monsoon", samples.info())
    run = RunReader.open(writer.finish())
    assert len(run.trace("monsoon")) == 0
    assert len(run.trace("monsoon").power_w("main")) == 0
    assert run.timeline().n == 0
    assert run.pings()[1].shape == (0, 3)
    with pytest.raises(SpecError, match=r"no trace of a meter 'rapl'"):
        run.trace("rapl")


def test_blocks_without_columns_keep_their_gaps(samples: SimpleNamespace, tmp_path: Path) -> None:
    gap = Gap(1, 2, 3, "nothing came")
    empty = Block(np.empty(0, np.int64), {}, gaps=[gap], counts={"late": 1})
    writer = RunWriter.create(tmp_path, samples.spec())
    meter = writer.block_writer("monsoon", samples.info())
    for block in (empty, samples.block(1), empty):
        meter.append(block)
    trace = RunReader.open(writer.finish()).trace("monsoon")
    assert trace.gaps == (gap, gap)
    assert trace.counts == {"late": 2, "dropped": 1}
    assert trace.columns["main"].dtype == np.int16


def test_a_meter_that_only_reported_gaps(samples: SimpleNamespace, tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, samples.spec())
    gap = Gap(1, 2, 3, "nothing came")
    writer.block_writer("monsoon", samples.info()).append(Block(np.empty(0, np.int64), {}, gaps=[gap]))
    trace = RunReader.open(writer.finish()).trace("monsoon")
    assert trace.gaps == (gap,)
    assert len(trace) == 0


def test_abort_keeps_everything_and_create_begins_anew(samples: SimpleNamespace, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), RunWriter.create(tmp_path, samples.spec()) as writer:
        samples.fill(writer, [samples.block(0)])
        raise RuntimeError("the link went")
    aborted = tmp_path / f"{samples.spec().run_id}.aborted-1"
    assert writer.path == aborted
    assert "the link went" in (aborted / "aborted.json").read_text()
    run = recover_partial(aborted)
    assert_same(run.trace("monsoon"), join_blocks(samples.info(), [samples.block(0)]))
    assert run.timeline().n == 6
    assert run.pings()[1].shape == (3, 3)
    assert run.json("board_state")["governor"] == "performance"
    assert run.simulated

    RunWriter.create(tmp_path, samples.spec())  # killed: stays as .partial
    RunWriter.create(tmp_path, samples.spec()).finish()
    assert (tmp_path / f"{samples.spec().run_id}.aborted-2").is_dir()
    with pytest.raises(SpecError, match="finished already"):
        RunWriter.create(tmp_path, samples.spec())


def test_a_driver_that_changes_its_columns_is_told_so(samples: SimpleNamespace, tmp_path: Path) -> None:
    meter = RunWriter.create(tmp_path, samples.spec()).block_writer("monsoon", samples.info())
    meter.append(samples.block(0))
    wrong = dataclasses.replace(samples.block(1), columns={"main": np.zeros(50, np.int16)})
    with pytest.raises(DeviceError, match=r"monsoon 1: block of columns .*'main'\] .* after blocks of"):
        meter.append(wrong)
    with pytest.raises(DeviceError, match=r"calibration from row 51 of a block of 50 rows"):
        meter.append(dataclasses.replace(samples.block(1), calibration=[CalibrationPiece(51, "main", 0, 1.0, 0.0)]))
    meter.close()
    meter.close()


def test_cut_off_recorder_is_named_in_the_manifest(samples: SimpleNamespace, tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, samples.spec())
    meter = writer.block_writer("monsoon", samples.info())
    meter.append(samples.block(0))
    meter.append(samples.block(1))
    path = stream_path(writer.path, "monsoon")
    meter.close()
    os.truncate(path, path.stat().st_size - 40)
    run = RunReader.open(writer.finish())
    facts = run.meter_facts("monsoon")
    assert facts["rows"] == 50
    assert facts["recorder_closed"] is False
    assert facts["recorder_cut_off"] is True
    assert len(run.trace("monsoon")) == 50


@contextlib.contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    """A full disk, as the kernel tells it: writing beyond `size` fails with EFBIG."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_full_disk_loses_nothing_that_was_written(samples: SimpleNamespace, tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, samples.spec())
    meter = writer.block_writer("monsoon", samples.info())
    blocks = [samples.block(k, rows=1000) for k in range(10)]
    for block in blocks[:4]:
        meter.append(block)
    with files_no_larger_than(meter.path.stat().st_size + 3000), pytest.raises(DeviceError, match="File too large"):
        for block in blocks[4:]:
            meter.append(block)
    with pytest.raises(DeviceError, match="could not be written earlier"):  # behind a torn message all would be lost
        meter.append(blocks[5])
    with files_no_larger_than(2000), pytest.raises(DeviceError, match="cannot finish the run"):
        writer.finish()
    assert_same(recover_partial(writer.path).trace("monsoon"), join_blocks(samples.info(), blocks[:4]))
    run = RunReader.open(writer.finish(), verify="hashes")  # there is space again
    assert_same(run.trace("monsoon"), join_blocks(samples.info(), blocks[:4]))
    assert run.meter_facts("monsoon")["recorder_cut_off"] is True


def test_a_root_that_cannot_be_written_is_a_wrong_request(samples: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SpecError, match="cannot begin a run in"):
        RunWriter.create(tmp_path / "file", samples.spec())


INT_DTYPES = st.sampled_from([np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])


@st.composite
def block_lists(draw: st.DrawFn) -> list[Block]:
    dtypes = {name: draw(INT_DTYPES) for name in ("main", "volt", "main_range")}
    blocks = []
    for _ in range(draw(st.integers(1, 4))):
        rows = draw(st.integers(0, 6))
        floats = st.floats(allow_nan=False)
        pieces = st.builds(
            CalibrationPiece, st.integers(0, rows), st.sampled_from(list(dtypes)), st.integers(0, 3), floats, floats
        )  # fmt: skip
        int64 = st.integers(-(2**63), 2**63 - 1)
        blocks.append(
            Block(
                t_ns=draw(hnp.arrays(np.int64, rows)),
                columns={n: draw(hnp.arrays(d, rows)) for n, d in dtypes.items()},
                calibration=draw(st.lists(pieces, max_size=3)),
                gaps=draw(st.lists(st.builds(Gap, int64, int64, st.integers(-1, 9), st.text()), max_size=2)),
                anchors=draw(hnp.arrays(np.int64, (draw(st.integers(0, 3)), 2))),
                counts=draw(st.dictionaries(st.sampled_from(["dropped", "late"]), st.integers(0, 2**40))),
            )
        )
    return blocks


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(blocks=block_lists())
def test_any_blocks_survive_stream_and_parquet(
    samples: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory, blocks: list[Block]
) -> None:
    root = tmp_path_factory.mktemp("runs")
    expected = join_blocks(samples.info(), blocks)
    writer = RunWriter.create(root, samples.spec())
    meter = writer.block_writer("monsoon", samples.info())
    for block in blocks:
        meter.append(block)
    assert_same(recover_partial(writer.path).trace("monsoon"), expected)  # as it is after a kill
    assert_same(RunReader.open(writer.finish(), verify="hashes").trace("monsoon"), expected)
