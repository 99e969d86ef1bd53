"""The marker pin: one edge pair a busy stretch, in order, on a FIFO and on a GPIO's value file."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.core.errors import DeviceError
from harness.core.ports import Step
from harness.core.timeline import Phase

PROGRAM = (
    Step("marker", Phase.MARKER, bits="1101", chip_s=0.005),
    Step("infer", Phase.MEASURED, count=12),
    Step("infer", Phase.PROBE, count=3, pause_min_s=0.003, pause_max_s=0.003),
    Step("idle", Phase.STANDBY_AFTER, seconds=0.02),
)


class FifoReader:
    """Reads a FIFO until it is told to stop and keeps every edge with its time of arrival."""

    def __init__(self, path: Path) -> None:
        self.edges: list[tuple[int, int]] = []
        self._fd = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self) -> None:
        while not self._stop.is_set():
            try:
                data = os.read(self._fd, 4096)
            except BlockingIOError:
                time.sleep(0.0002)
                continue
            now = time.monotonic_ns()
            self.edges += [(now, int(chr(byte))) for byte in data]

    def stop(self) -> list[int]:
        time.sleep(0.05)
        self._stop.set()
        self._thread.join()
        os.close(self._fd)
        return [level for _, level in self.edges]


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    path = tmp_path / "pin"
    os.mkfifo(path)
    return path


@pytest.fixture
def reader(fifo: Path) -> Iterator[FifoReader]:
    listening = FifoReader(fifo)
    yield listening
    if not listening._stop.is_set():
        listening.stop()


def test_every_busy_stretch_raises_the_pin_once(board, make_spec, fifo, reader) -> None:
    spec = make_spec(marker_pin=str(fifo))
    session = board.start_agent(spec, 0)
    assert session.hello()["pin"] == str(fifo)
    load = session.load(spec, 0).timeline
    timeline = session.perform(PROGRAM, 0, seed=1)
    levels = reader.stop()
    session.close()

    rising = sum(1 for a, b in zip([0, *levels], levels, strict=False) if (a, b) == (0, 1))
    falling = sum(1 for a, b in zip([0, *levels], levels, strict=False) if (a, b) == (1, 0))
    stretches = len(load.begin_ns) + len(timeline.begin_ns)
    assert stretches == 1 + 3 + 12 + 3
    assert rising == falling == levels.count(1) == stretches
    assert levels[-1] == 0


def test_edges_come_when_the_stamps_say(board, make_spec, fifo, reader) -> None:
    spec = make_spec(marker_pin=str(fifo))
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    reader.edges.clear()
    timeline = session.perform(PROGRAM, 0, seed=1)
    reader.stop()
    session.close()
    rises = [t for t, level in reader.edges if level == 1]
    late_ms = sorted((t - b) / 1e6 for t, b in zip(rises, timeline.begin_ns.tolist(), strict=True))
    assert late_ms[0] > -1.0 and late_ms[len(late_ms) // 2] < 5.0


def test_a_gpio_value_file_is_rewritten_in_place(board, make_spec, tmp_path) -> None:
    value = tmp_path / "value"
    value.write_text("0")
    spec = make_spec(marker_pin=str(value))
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    assert session.perform(PROGRAM, 0, seed=1).n == 12
    session.close()
    assert value.read_text() == "0"  # one character: every level was written at offset 0


def test_a_pin_that_is_not_there(board, make_spec) -> None:
    with pytest.raises(DeviceError, match="marker pin /nowhere/value cannot be opened"):
        board.start_agent(make_spec(marker_pin="/nowhere/value"), 0)


def test_a_fifo_without_a_reader(board, make_spec, fifo, monkeypatch) -> None:
    with pytest.raises(DeviceError, match="nobody reads the FIFO"):
        board.start_agent(make_spec(marker_pin=str(fifo)), 0)


def test_a_fifo_whose_reader_comes_late(board, make_spec, fifo) -> None:
    late: list[FifoReader] = []
    timer = threading.Timer(0.5, lambda: late.append(FifoReader(fifo)))
    timer.start()
    session = board.start_agent(make_spec(marker_pin=str(fifo)), 0)
    session.close()
    timer.join()
    late[0].stop()


def test_a_reader_that_goes_away_fails_the_program(board, make_spec, fifo, reader) -> None:
    spec = make_spec(marker_pin=str(fifo))
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    reader.stop()
    with pytest.raises(DeviceError, match=r"marker pin .* refused an edge"):
        session.perform(PROGRAM, 0, seed=1)
    session.close()
