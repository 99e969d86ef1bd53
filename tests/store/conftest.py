"""Samples of everything a run directory holds, small and checkable."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

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
)
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
        calibration=[
            CalibrationPiece(min(3, rows), "main", k % 2, 1e-6 * (k + 1), 0.1 + k),
            CalibrationPiece(0, "volt", 0, 1e-3, 0.0),
        ],
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


def make_run(root: Path, *, repetition: int = 0) -> Path:
    """A finished run with three blocks."""
    writer = RunWriter.create(root, make_spec(repetition=repetition))
    fill(writer, [make_block(k) for k in range(3)])
    return writer.finish()


@pytest.fixture(scope="session")
def samples() -> SimpleNamespace:
    """make_spec, make_info, make_block, make_timeline, fill, make_run."""
    return SimpleNamespace(
        spec=make_spec, info=make_info, block=make_block, timeline=make_timeline, fill=fill, run=make_run
    )
