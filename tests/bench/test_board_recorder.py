"""Meters that are part of the board, recorded through a real sampler: the joules are those of the polled meter."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from analysis.readings.counter import counter_steps
from drivers.rapl.meter import open_meter
from drivers.rapl.onboard import open_on_board
from drivers.simulated.powercap import PowercapTree, simulator
from harness.bench.board_recorder import BoardRecorder, OnBoardOpener
from harness.bench.recorder import open_recorder
from harness.boards.local import LocalBoard
from harness.core.errors import DeviceError, SpecError, TransientError
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding
from harness.core.trace import Trace, join_blocks
from harness.core.waiting import RealClock
from harness.store.partial import read_trace_stream

POWER_W = {"package-0": 60.0, "psys": 90.0}
BINDING = MeterBinding("cpu", "rapl", (("package-0", "cpu"),), "package", ("cpu",))


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[PowercapTree]:
    """A powercap tree whose counters run in real time."""
    tree, over = simulator(tmp_path / "machine"), threading.Event()
    begin_ns = time.monotonic_ns()

    def move() -> None:
        while not over.wait(0.001):
            for zone, power_w in POWER_W.items():
                tree.set_energy_j(zone, power_w * (time.monotonic_ns() - begin_ns) * 1e-9)

    mover = threading.Thread(target=move)
    mover.start()
    yield tree
    over.set()
    mover.join()
    tree.close()


@pytest.fixture
def board(tmp_path: Path) -> Iterator[LocalBoard]:
    local = LocalBoard("pi", lambda spec: None, directory=tmp_path / "board")  # type: ignore[arg-type,return-value]
    yield local
    local.close()
    local.end_orphans()


Record = Callable[..., BoardRecorder]


@pytest.fixture
def record(tree: PowercapTree, board: LocalBoard, tmp_path: Path) -> Iterator[Record]:
    with contextlib.ExitStack() as stack:

        def make(binding: MeterBinding = BINDING, **options: float) -> BoardRecorder:
            request = MeterRequest("cpu", options, binding.rails, sysfs_root=tree.root, simulated=True)
            opener = OnBoardOpener(lambda: open_on_board(request))
            (tmp_path / "raw").mkdir(exist_ok=True)
            path = tmp_path / "raw" / f"{binding.name}.arrows"
            recorder = open_recorder(binding, opener, path, RealClock(), board=board, lease_s=30.0)
            stack.callback(recorder.close)
            assert isinstance(recorder, BoardRecorder)
            return recorder

        yield make


def trace_of(tmp_path: Path, recorder: BoardRecorder) -> Trace:
    return read_trace_stream(tmp_path, "cpu")


@pytest.mark.realtime
def test_sampled_on_the_board_or_polled_from_here_it_is_the_same_energy(
    record: Record, tree: PowercapTree, tmp_path: Path
) -> None:
    polled = open_meter(MeterRequest("here", {}, BINDING.rails, sysfs_root=tree.root))
    info = polled.open()
    recorder = record()
    recorder.start()
    polled.start()
    blocks = [polled.step(time.monotonic_ns() + 700_000_000)]
    recorder.poll()
    blocks += [polled.step(time.monotonic_ns() + 700_000_000), polled.stop()]
    polled.close()
    counts = recorder.stop()
    recorder.close()
    sampled, there = trace_of(tmp_path, recorder), join_blocks(info, [b for b in blocks if b is not None])
    assert sampled.info.clock == "board:pi"
    assert len(sampled.t_ns) > 50 and not sampled.gaps
    energies = {}
    for name, trace in (("sampled", sampled), ("polled", there)):
        steps = counter_steps(trace, trace.info.channel("package-0"))
        assert steps.plausible.all()
        seconds = (steps.t_ns[-1] - steps.t_ns[0]) * 1e-9
        energies[name] = steps.energy_j.sum() / seconds
    assert energies["sampled"] == pytest.approx(POWER_W["package-0"], rel=0.02)
    assert energies["sampled"] == pytest.approx(energies["polled"], rel=0.02)
    assert counts.get("failed_passes", 0) == 0


def test_it_follows_the_power_on_the_hosts_clock_although_stamps_are_of_the_boards(
    record: Record, tmp_path: Path
) -> None:
    recorder = record()
    recorder.start()
    time.sleep(0.6)
    assert len(recorder.recent(2.0)[0]) == 0  # nothing is fetched unasked
    recorder.poll()
    now_ns = time.monotonic_ns()
    t_ns, power_w = recorder.recent(2.0)
    assert len(t_ns) > 15
    assert np.median(power_w) == pytest.approx(POWER_W["package-0"], rel=0.1)
    assert now_ns - 200_000_000 < t_ns[-1] <= now_ns
    time.sleep(0.2)
    recorder.stop()
    anchors = trace_of(tmp_path, recorder).anchors
    assert len(anchors) >= 2 and np.all(anchors[:, 1] >= anchors[:, 0])


def test_a_clock_an_hour_off_moves_no_power_in_time(record: Record, board: LocalBoard, tmp_path: Path) -> None:
    """The board's clock is its own affair: only the anchors tie it to the host's."""
    recorder = record()
    recorder.start()
    sampler = recorder._sampler
    assert sampler is not None
    hour = 3_600_000_000_000
    take, ping = sampler.take, sampler.ping

    class Shifted:
        def take(self) -> object:
            samples = take()
            return dataclasses.replace(samples, begin_ns=samples.begin_ns + hour, end_ns=samples.end_ns + hour)

        def ping(self, count: int) -> object:
            return ping(count) + np.array([0, hour, 0])

        def __getattr__(self, name: str) -> object:
            return getattr(sampler, name)

    recorder._sampler = Shifted()  # type: ignore[assignment]
    time.sleep(0.4)
    recorder.poll()
    t_ns, _ = recorder.recent(2.0)
    assert abs(t_ns[-1] - time.monotonic_ns()) < 200_000_000


def test_what_the_sampler_cost_is_kept_beside_its_readings(record: Record, tmp_path: Path) -> None:
    import json

    recorder = record()
    recorder.start()
    time.sleep(0.3)
    recorder.stop()
    said = json.loads((tmp_path / "raw/cpu.sampler.json").read_text("utf-8"))
    assert 0 < said["cost"]["cpu_s"] < said["cost"]["wall_s"]
    assert said["plan"]["period_s"] == 0.02


def test_refusals_name_the_board(record: Record, board: LocalBoard, tree: PowercapTree, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"^board pi: this machine has no RAPL channel 'package-9'"):
        record(dataclasses.replace(BINDING, rails=(("package-9", "cpu"),)))
    with pytest.raises(SpecError, match="part of it"):
        rails = (("package-0", "cpu"), ("psys", "all"))
        record(dataclasses.replace(BINDING, rails=rails, total_rails=("cpu", "all")))


def test_a_board_that_cannot_sample_is_refused(tmp_path: Path) -> None:
    opener = OnBoardOpener(lambda: open_on_board(MeterRequest("cpu")))
    with pytest.raises(SpecError, match="cannot sample"):
        open_recorder(BINDING, opener, tmp_path / "cpu.arrows", RealClock(), board=None)


def test_a_sampler_that_died_is_said_and_what_came_is_kept(record: Record, board: LocalBoard, tmp_path: Path) -> None:
    recorder = record()
    recorder.start()
    time.sleep(0.3)
    recorder.poll()
    board.end_orphans()
    with pytest.raises(TransientError, match="gone"):
        recorder.poll()
    recorder.close()
    assert len(trace_of(tmp_path, recorder).t_ns) > 5
