"""A run goes into the writer and comes out of the reader unchanged, finished or recovered."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness import load_run
from harness.core.errors import DeviceError, SpecError
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.timeline import Phase, Span, Timeline
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    Gap,
    MeterInfo,
    Reading,
    ReadingKind,
    Trace,
    join_blocks,
)
from harness.store.recover import recover_partial
from harness.store.run_reader import RunReader
from harness.store.run_writer import RunWriter

PROTOCOL = ProtocolSpec(
    "quick", "back-to-back", 4, None, 2.0, 5.0, 1.0, 30.0, 1.0, 0.5, 0.3, 0.02, 20, 0.008, "1011", 0.02, 1e-3
)  # fmt: skip


def make_spec(*, repetition: int = 0, simulated: bool = True) -> RunSpec:
    return RunSpec(
        campaign="demo",
        bench="demo",
        board=BoardSpec("local"),
        meters=(
            MeterBinding("monsoon", "monsoon", (("main", "main"),), "dc_input", ("main",), (("voltage_v", 4.0),)),
            MeterBinding("rapl", "rapl", (("package-0", "package-0"),), "package", ("package-0",)),
        ),
        model=ModelSpec("squeezenet", "zoo:squeezenet", "ab" * 32, 1, (("N", 1),)),
        runtime=RuntimeSpec(),
        protocol=PROTOCOL,
        repetition=repetition,
        seed=7,
        simulated=simulated,
    )


def make_info(serial: str = "1") -> MeterInfo:
    return MeterInfo(
        driver="monsoon",
        model="HVPM",
        serial=serial,
        firmware="32",
        clock=f"meter:{serial}",
        columns=(ColumnSpec("main", "A", "main_range"), ColumnSpec("volt", "V")),
        channels=(
            ChannelSpec(
                "main",
                "power_w",
                ("main", "volt"),
                Reading(ReadingKind.MEAN, 200_000, 200_000),
                Accuracy(0.01, 50e-6, 1e-5, "a datasheet"),
            ),
        ),
        simulated=True,
        details={"voltage": "4.0"},
    )


def make_block(k: int, rows: int = 50) -> Block:
    rng = np.random.default_rng(k)
    return Block(
        t_ns=(np.arange(rows) + k * rows + 1) * 200_000,
        columns={
            "main": rng.integers(-30000, 30000, rows).astype(np.int16),
            "volt": rng.integers(0, 60000, rows).astype(np.uint16),
            "main_range": rng.integers(0, 2, rows).astype(np.uint8),
        },
        calibration=[CalibrationPiece(min(3, rows), "main", k % 2, 1e-6 * (k + 1), 0.1 + k)],
        gaps=[Gap(k, k + 1, -1, "dropped")] if k % 3 == 0 else [],
        anchors=np.array([[k, k + 5]], np.int64),
        counts={"dropped": k},
    )


def make_timeline(start: int) -> Timeline:
    begin = np.arange(3, dtype=np.int64) * 100 + 1000 * start
    return Timeline(
        "board:local",
        (Span(start, Phase.MEASURED, 1000 * start, 1000 * start + 300),),
        np.full(3, start, np.int64),
        np.full(3, list(Phase).index(Phase.MEASURED), np.int64),
        begin,
        begin + 90,
    )


def fill(writer: RunWriter, blocks: list[Block]) -> None:
    meter = writer.block_writer("monsoon", make_info())
    for block in blocks:
        meter.append(block)
    writer.put_timeline(make_timeline(0))
    writer.put_timeline(make_timeline(1))
    writer.put_pings("board:local", np.arange(6, dtype=np.int64).reshape(2, 3))
    writer.put_pings("board:local", np.arange(6, 9, dtype=np.int64).reshape(1, 3))
    writer.put_json("board_state", {"governor": "performance", "nan": float("nan"), "t": np.float64(1.5)})


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


def test_finished_run_reads_back(tmp_path: Path) -> None:
    blocks = [make_block(k) for k in range(5)]
    writer = RunWriter.create(tmp_path, make_spec())
    fill(writer, blocks)
    (writer.path / "events.jsonl").write_text('{"event": "a"}\n{"event": "to')
    final = writer.finish()

    assert final == tmp_path / make_spec().run_id
    run = load_run(final)
    assert run.spec == make_spec()
    assert run.run_id == make_spec().run_id
    assert run.simulated
    assert run.meters() == ("monsoon",)
    assert run.manifest["meters_missing"] == ["rapl"]
    assert_same(run.trace("monsoon"), join_blocks(make_info(), blocks))
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


def test_every_raw_file_is_marked_simulated(tmp_path: Path) -> None:
    from harness.store.parquet import mark_of

    writer = RunWriter.create(tmp_path, dataclasses.replace(make_spec(), simulated=False))
    fill(writer, [make_block(0)])
    final = writer.finish()  # the meter says it is simulated, whatever the spec says
    files = list((final / "raw").glob("*.parquet"))
    assert len(files) == 7
    assert all(mark_of(f)["simulated"] for f in files)
    assert all(mark_of(f)["run_id"] == make_spec(simulated=False).run_id for f in files)
    assert RunReader.open(final).simulated


def test_run_without_any_reading_is_readable_and_empty(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, make_spec())
    writer.block_writer("monsoon", make_info())
    run = RunReader.open(writer.finish())
    assert len(run.trace("monsoon")) == 0
    assert len(run.trace("monsoon").power_w("main")) == 0
    assert run.timeline().n == 0
    assert run.pings()[1].shape == (0, 3)
    with pytest.raises(SpecError, match=r"no trace of a meter 'rapl'"):
        run.trace("rapl")


def test_blocks_without_columns_keep_their_gaps(tmp_path: Path) -> None:
    gap = Gap(1, 2, 3, "nothing came")
    empty = Block(np.empty(0, np.int64), {}, gaps=[gap], counts={"late": 1})
    writer = RunWriter.create(tmp_path, make_spec())
    meter = writer.block_writer("monsoon", make_info())
    for block in (empty, make_block(1), empty):
        meter.append(block)
    trace = RunReader.open(writer.finish()).trace("monsoon")
    assert trace.gaps == (gap, gap)
    assert trace.counts == {"late": 2, "dropped": 1}
    assert trace.columns["main"].dtype == np.int16


def test_a_meter_that_only_reported_gaps(tmp_path: Path) -> None:
    writer = RunWriter.create(tmp_path, make_spec())
    gap = Gap(1, 2, 3, "nothing came")
    writer.block_writer("monsoon", make_info()).append(Block(np.empty(0, np.int64), {}, gaps=[gap]))
    trace = RunReader.open(writer.finish()).trace("monsoon")
    assert trace.gaps == (gap,)
    assert len(trace) == 0


def test_abort_keeps_everything_and_create_begins_anew(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), RunWriter.create(tmp_path, make_spec()) as writer:
        fill(writer, [make_block(0)])
        raise RuntimeError("the link went")
    aborted = tmp_path / f"{make_spec().run_id}.aborted-1"
    assert writer.path == aborted
    assert "the link went" in (aborted / "aborted.json").read_text()
    run = recover_partial(aborted)
    assert_same(run.trace("monsoon"), join_blocks(make_info(), [make_block(0)]))
    assert run.timeline().n == 6
    assert run.pings()[1].shape == (3, 3)
    assert run.json("board_state")["governor"] == "performance"
    assert run.simulated

    RunWriter.create(tmp_path, make_spec())  # killed: stays as .partial
    RunWriter.create(tmp_path, make_spec()).finish()
    assert (tmp_path / f"{make_spec().run_id}.aborted-2").is_dir()
    with pytest.raises(SpecError, match="finished already"):
        RunWriter.create(tmp_path, make_spec())


def test_a_driver_that_changes_its_columns_is_told_so(tmp_path: Path) -> None:
    meter = RunWriter.create(tmp_path, make_spec()).block_writer("monsoon", make_info())
    meter.append(make_block(0))
    wrong = dataclasses.replace(make_block(1), columns={"main": np.zeros(50, np.int16)})
    with pytest.raises(DeviceError, match=r"monsoon 1: block of columns .*'main'\] .* after blocks of"):
        meter.append(wrong)
    with pytest.raises(DeviceError, match=r"calibration from row 51 of a block of 50 rows"):
        meter.append(dataclasses.replace(make_block(1), calibration=[CalibrationPiece(51, "main", 0, 1.0, 0.0)]))
    meter.close()
    meter.close()


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
def test_any_blocks_survive_stream_and_parquet(tmp_path_factory: pytest.TempPathFactory, blocks: list[Block]) -> None:
    root = tmp_path_factory.mktemp("runs")
    expected = join_blocks(make_info(), blocks)
    writer = RunWriter.create(root, make_spec())
    meter = writer.block_writer("monsoon", make_info())
    for block in blocks:
        meter.append(block)
    assert_same(recover_partial(writer.path).trace("monsoon"), expected)  # as it is after a kill
    assert_same(RunReader.open(writer.finish(), verify="hashes").trace("monsoon"), expected)
