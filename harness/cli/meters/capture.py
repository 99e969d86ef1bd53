"""`joulebench meters capture`: what crosses a meter's wire, in a file that can be sent and fed to a test."""

from __future__ import annotations

import dataclasses
import platform
from pathlib import Path
from typing import Any

from harness.bench.board_recorder import OnBoardOpener
from harness.bench.recorder import AnyOpener
from harness.bench.single_meter import opened, plan_of
from harness.cli.meters.choose import Chosen, board_for
from harness.cli.results import console
from harness.core.errors import SpecError
from harness.core.ports import Board, BoardFiles, SamplingBoard
from harness.core.waiting import RealClock
from harness.io.capture import CaptureWriter, RecordingFiles


def capture_meter(meter: Chosen, path: Path, *, seconds: float) -> None:
    """Write what `meter` says to a new file. SpecError if it exists, or if nobody may listen to the driver's wire."""
    clock = RealClock()
    about: dict[str, Any] = {
        "driver": meter.driver,
        "options": dict(meter.request.options),
        "rails": [list(pair) for pair in meter.request.rails],
        "machine": platform.machine(),
    }
    with board_for(meter) as board, CaptureWriter(path, about) as writer:
        opener: AnyOpener = meter.opener(lambda way, data: writer.wire(clock.now_ns(), way, data))
        target = board
        if isinstance(opener, OnBoardOpener) and isinstance(board, SamplingBoard):
            target = _Overheard(board, RecordingFiles(board.files, writer))
        before = writer.lines
        with opened(opener, clock, board=target, on_samples=writer.samples) as device:
            if (plan := plan_of(device)) is not None:
                writer.about({"plan": dataclasses.asdict(plan), "clock": device.info.clock})
            rows = sum(len(block) for block in device.blocks(seconds))
            writer.about(
                {"model": device.info.model, "firmware": device.info.firmware, "simulated": device.info.simulated}
            )
        if writer.lines == before + 1:
            raise SpecError(
                f"the driver {meter.driver} lets nobody listen to its wire: {path} holds no bytes",
                hint="use the meter's own tool, or ask the driver's author to call MeterRequest.tap",
            )
    console().print(f"{path}: {writer.lines} lines, {path.stat().st_size} bytes; the driver made {rows} readings of it")
    console().print("it holds what the meter sent, its serial number too: look before you send it")


class _Overheard:
    """A board whose files are read through a recorder; all else is the board's own."""

    def __init__(self, board: Board, files: BoardFiles) -> None:
        self._board = board
        self.files = files

    def __getattr__(self, name: str) -> Any:
        return getattr(self._board, name)
