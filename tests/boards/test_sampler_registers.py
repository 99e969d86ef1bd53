"""What a sampler reads besides whole files: registers at an offset, perf events, values at the edge of an update."""

from __future__ import annotations

import errno
import os
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.boards.agent.event_source import open_event
from harness.boards.local import LocalBoard
from harness.boards.sampling import AgentSampler
from harness.boards.state.files import LocalFiles
from harness.core.errors import SpecError
from harness.core.ports import RawSamples, SamplerPlan

Start = Callable[[SamplerPlan], AgentSampler]
SOFTWARE, CPU_CLOCK = 1, 0  # the kernel's own PMU: an event that counts nanoseconds, on any machine


@pytest.fixture
def start(board: LocalBoard) -> Iterator[Start]:
    started: list[AgentSampler] = []

    def make(plan: SamplerPlan) -> AgentSampler:
        sampler = board.agents.start_sampler(plan, lease_s=30.0)
        started.append(sampler)
        return sampler

    yield make
    for sampler in started:
        sampler.close()


def after(sampler: AgentSampler, seconds: float) -> RawSamples:
    time.sleep(seconds)
    return sampler.stop()


def test_registers_are_read_at_their_offset_behind_the_files(start: Start, tmp_path: Path) -> None:
    (tmp_path / "whole").write_bytes(b"all of it\n")
    with (tmp_path / "sparse").open("wb") as out:
        for offset, value in ((0x611, 7), (0xC001029B, 1 << 40)):  # beyond 2^31: a sparse file
            out.seek(offset)
            out.write(struct.pack("<Q", value))
    sparse = str(tmp_path / "sparse")
    plan = SamplerPlan(
        files=(str(tmp_path / "whole"),),
        registers=((sparse, 0xC001029B, 8), (sparse, 0x611, 8), (str(tmp_path / "none"), 0, 8)),
        period_s=0.01,
    )
    samples = after(start(plan), 0.2)
    assert len(samples.data) >= 5
    assert set(samples.data) == {(b"all of it\n", struct.pack("<Q", 1 << 40), struct.pack("<Q", 7), errno.ENOENT)}


def counted(cpu: int) -> int:
    """A descriptor of the CPU clock, or a skip where this machine lets nobody open one."""
    try:
        return open_event(SOFTWARE, CPU_CLOCK, cpu)
    except OSError as error:
        pytest.skip(f"perf events cannot be opened here: {error}")


def test_events_are_opened_and_counted_by_the_sampler(start: Start) -> None:
    os.close(counted(0))
    begin_ns = time.monotonic_ns()
    samples = after(start(SamplerPlan(events=((SOFTWARE, CPU_CLOCK, 0), (SOFTWARE, 12345, 0)), period_s=0.01)), 0.3)
    assert {row[1] for row in samples.data} == {errno.ENOENT}  # no such event
    values = np.array([struct.unpack("=QQQ", row[0]) for row in samples.data if isinstance(row[0], bytes)])
    assert len(values) == len(samples.data) >= 10
    span_ns = int(samples.end_ns[-1] - samples.end_ns[0])
    assert values[-1, 0] - values[0, 0] == pytest.approx(span_ns, rel=0.02)  # it counts the time of its CPU
    assert np.all(values[:, 1] == values[:, 2]) and values[-1, 1] <= time.monotonic_ns() - begin_ns


@pytest.mark.parametrize("plan", [SamplerPlan(files=("/x",), events=((1, 0, 0),)), SamplerPlan()])
def test_events_go_with_nothing_else(board: LocalBoard, plan: SamplerPlan) -> None:
    with pytest.raises(SpecError, match="either files or the lines of a command or perf events"):
        board.agents.start_sampler(plan, lease_s=30.0)


@pytest.mark.realtime
def test_a_pass_at_the_edge_begins_after_the_value_changed(start: Start, tmp_path: Path) -> None:
    """The value is the time at which it was written, every 5 ms: read at the edge, it is young."""
    path = tmp_path / "clock"
    path.write_bytes(b"%020d\n" % 0)
    over = threading.Event()

    def tick() -> None:
        fd = os.open(path, os.O_WRONLY)
        while not over.wait(0.005):
            os.pwrite(fd, b"%020d\n" % time.monotonic_ns(), 0)
        os.close(fd)

    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        ages = []
        for edge_s in (0.0, 0.02):
            samples = after(start(SamplerPlan(files=(str(path),), period_s=0.021, edge_s=edge_s)), 1.0)
            age = [end - int(row[0]) for end, row in zip(samples.end_ns.tolist(), samples.data, strict=True)][1:]
            ages.append(float(np.median(age)))
    finally:
        over.set()
        ticker.join()
    assert ages[0] > 1_000_000  # anywhere within the 5 ms
    assert ages[1] < 0.5 * ages[0]


def test_questions_read_a_register_and_an_event_once(tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / "dev/msr").write_bytes(bytes(0x606) + struct.pack("<Q", 0xA0E03))
    asked = ["agent:at 1542 8 /dev/msr", "agent:at 1542 8 /dev/none", "agent:event 1 12345 0"]
    found = LocalFiles(tmp_path).read(asked)
    assert [found[question] for question in asked] == [b'"030e0a0000000000"', b"2", b"2"]
    os.close(counted(0))
    assert len(LocalFiles().read(["agent:event 1 0 0"])["agent:event 1 0 0"]) == 2 + 48
