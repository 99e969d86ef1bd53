"""Both halves of the driver on a simulated machine: what it finds, what it reads, and what it says when it cannot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from drivers.nvidia import nvml_library
from drivers.nvidia.discovery import find_attached, find_nvml
from drivers.nvidia.nvml_meter import NvmlMeter, open_meter
from drivers.nvidia.nvml_onboard import open_on_board
from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import GpuSpec, MigSpec, NvidiaMachine
from drivers.simulated.nvidia.sensor import Errors
from harness.boards.agent.nvml_source import VALUE, NvmlReader, look
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.testing.on_board import OnBoardSubject, sampled

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())
NOISE = Errors(noise_mw=200)


class Bench:
    """A simulated machine that moves with a virtual clock."""

    def __init__(self, root: Path, *specs: GpuSpec) -> None:
        self.clock = VirtualClock()
        begin_ns = self.clock.now_ns()
        self.machine = NvidiaMachine(root, specs)
        self.clock.subscribe(lambda now: self.machine.advance((now - begin_ns) / NS_PER_S), period_ns=5_000_000)

    def request(self, *rails: str, **options: str | float) -> MeterRequest:
        bound = tuple((name, name) for name in rails)
        return MeterRequest("gpu", options, bound, nvml_library=self.machine.library, simulated=True)

    def meter(self, *rails: str, **options: str | float) -> NvmlMeter:
        return open_meter(self.request(*rails, **options), clock=self.clock)

    def read(self, meter: NvmlMeter, seconds: float) -> Trace:
        info = meter.open()
        meter.start()
        blocks = [meter.step(self.clock.now_ns() + NS_PER_S // 4) for _ in range(round(4 * seconds))]
        blocks.append(meter.stop())
        meter.close()
        return join_blocks(info, [block for block in blocks if block is not None])


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path, GpuSpec("a100", lambda t: 120.0 * t, NOISE), GpuSpec("rtx3090", lambda t: 80.0 * t, NOISE))
    yield made
    made.machine.close()


def test_it_says_what_the_machine_has_and_what_each_channel_is(bench: Bench) -> None:
    info = bench.meter().open()
    assert [c.name for c in info.channels if c.name.startswith("gpu0")] == ["gpu0/instant", "gpu0/power", "gpu0/energy"]
    assert {c.name for c in info.channels if c.name.startswith("gpu1")} == {
        f"gpu1/{field}" for field in ("energy", "instant", "average", "power")
    }
    assert info.model == "NVIDIA A100-SXM4-40GB, NVIDIA GeForce RTX 3090" and "GPU-" in info.serial
    kinds = {channel.name: channel.reading.kind.value for channel in info.channels}
    assert (
        kinds["gpu0/power"] == "part_time"
        and kinds["gpu1/power"] == "overlapping"
        and kinds["gpu1/energy"] == "counter"
    )
    assert info.details["part_of:gpu1/average"] == "gpu1/energy" and "sensor_unknown" not in info.details
    assert all(channel.accuracy is not None and channel.accuracy.source for channel in info.channels)


def test_power_and_counter_are_the_machines(bench: Bench) -> None:
    trace = bench.read(bench.meter(), 10.0)
    assert len(trace) in (100, 101) and not trace.gaps and trace.counts["repeated"] > 300
    for channel, watt in (("gpu0/instant", 120.0), ("gpu1/average", 80.0), ("gpu1/power", 80.0)):
        assert abs(np.mean(trace.power_w(channel)) - watt) < 0.2
    energy = trace.values("gpu0/energy:energy_mj")
    assert abs((energy[-1] - energy[0]) / ((trace.t_ns[-1] - trace.t_ns[0]) * 1e-9) - 120.0) < 1.5


def test_the_boards_half_decodes_what_the_agent_reads_to_the_same_values(bench: Bench) -> None:
    readers: list[NvmlReader] = []

    def answers(plan: SamplerPlan, now_ns: int) -> tuple[bytes | int, ...]:
        if not readers:
            readers.append(NvmlReader(plan.nvml_library, plan.nvml))
        return tuple(readers[0].read(k) for k in range(len(plan.nvml)))

    rails = ("gpu0/energy", "gpu1/instant", "gpu1/average")
    make = lambda: open_on_board(bench.request(*rails))  # noqa: E731
    subject = OnBoardSubject(make, Questions(bench.machine.library), bench.clock, answers)
    info, blocks = sampled(subject, until_ns=bench.clock.now_ns() + 4 * NS_PER_S)
    trace = join_blocks(info, blocks)
    polled = bench.read(bench.meter(*rails), 4.0)
    assert [c.name for c in info.channels] == [c.name for c in polled.info.channels]
    assert [c.reading for c in info.channels] == [c.reading for c in polled.info.channels]
    assert info.details == polled.info.details and info.serial == polled.info.serial
    assert abs(len(trace) - 40) <= 1 and not trace.gaps
    assert abs(np.mean(trace.power_w("gpu1/instant")) - 80.0) < 0.2


class Questions:
    """BoardFiles of a board whose agent answers about NVML."""

    def __init__(self, library: Path) -> None:
        self._question = f"agent:nvml {library}"
        self._library = str(library)

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        return {q: look(self._library).encode() for q in patterns if q == self._question}

    def write(self, path: str, data: bytes) -> None:
        raise AssertionError(path)

    keep = write

    def remove(self, path: str) -> None:
        raise AssertionError(path)


def test_both_halves_look_at_a_machine_alike(bench: Bench) -> None:
    here = nvml_library.Library(str(bench.machine.library))
    here.start()
    try:
        assert json.loads(here.look()) == json.loads(look(str(bench.machine.library)))
    finally:
        here.stop()


def test_a_gpu_that_is_lost_and_comes_back_is_a_gap_that_its_counter_does_not_cross(bench: Bench) -> None:
    meter = bench.meter("gpu0/energy", "gpu0/instant")
    info = meter.open()
    meter.start()
    blocks = [meter.step(bench.clock.now_ns() + 2 * NS_PER_S)]
    bench.machine.gpus[0].lose()
    blocks.append(meter.step(bench.clock.now_ns() + 3 * NS_PER_S))
    bench.machine.gpus[0].come_back()
    blocks += [meter.step(bench.clock.now_ns() + 3 * NS_PER_S), meter.stop()]
    trace = join_blocks(info, [block for block in blocks if block is not None])
    [gap] = trace.gaps
    assert gap.reason.startswith("reset: ") and "the GPU is lost (NVML 15)" in gap.reason
    assert 2.9e9 < gap.end_ns - gap.begin_ns < 4.2e9 and trace.counts["nvml_restarts"] >= 2


def test_the_agent_says_that_a_gpu_was_away_also_when_it_is_back_at_once(bench: Bench) -> None:
    """Its counter may have begun anew in between: the host must see it, or it would take the difference for energy."""
    bench.machine.gpus[0].fail("energy", 1, every=2)  # the first of two
    reader = NvmlReader(str(bench.machine.library), [(bench.machine.gpus[0].uuid, -2, 0)])
    reader._tried_ns = 0
    assert int.from_bytes(reader.read(0)[:4], "little") == 1 and reader.restarts == 1
    reader.close()


@pytest.mark.parametrize(("code", "words"), [(1, "reset: gpu0/energy was gone"), (0, "a pass took more than 10 ms")])
def test_a_pass_that_took_the_board_long_is_no_reading_but_one_that_says_away_counts(
    bench: Bench, code: int, words: str
) -> None:
    """To start the library anew takes long: what the agent says of that pass must not be thrown away with its time."""
    meter = open_on_board(bench.request("gpu0/energy"))
    meter.prepare(Questions(bench.machine.library), clock="board:b")
    begin_ns = np.arange(100, dtype=np.int64) * 20_000_000
    took_ns = np.where(np.arange(100) == 50, 300_000_000, 50_000)
    begin_ns[51:] += 300_000_000
    values = [(code if k == 50 else 0, 90_000_000 + 2400 * k) for k in range(100)]
    data = tuple((VALUE.pack(returned, 3, value, 0),) for returned, value in values)
    block = meter.decode(RawSamples(begin_ns, begin_ns + took_ns, data))
    assert block is not None
    [gap] = block.gaps
    assert gap.reason.startswith(words) and len(block) == 99
    assert block.counts.get("slow_passes", 0) == (code == 0)


def test_a_reloaded_driver_resets_the_counter(bench: Bench) -> None:
    meter = bench.meter("gpu0/energy")
    info = meter.open()
    meter.start()
    blocks = [meter.step(bench.clock.now_ns() + 2 * NS_PER_S)]
    bench.machine.gpus[0].reload()
    blocks += [meter.step(bench.clock.now_ns() + 2 * NS_PER_S), meter.stop()]
    trace = join_blocks(info, [block for block in blocks if block is not None])
    [gap] = trace.gaps
    assert "went back" in gap.reason and trace.counts["resets:gpu0/energy"] == 1


@pytest.mark.parametrize(
    ("code", "error", "words", "mend"),
    [
        (9, DeviceError, "driver is not loaded", "modprobe nvidia"),
        (18, DeviceError, "different versions", "reboot"),
        (4, DeviceError, "no permission", "/dev/nvidia"),
        (15, DeviceError, "lost", "--gpu-reset"),
        (10, TransientError, "timeout", "try again"),
        (999, DeviceError, "unknown error", "dmesg"),
    ],
)
def test_a_library_that_does_not_start_says_why_and_what_to_do(
    bench: Bench, code: int, error: type[BenchError], words: str, mend: str
) -> None:
    bench.machine.refuse_to_start(code)
    with pytest.raises(error, match=words) as caught:
        bench.meter().open()
    assert mend in caught.value.hint
    with pytest.raises(error, match=words):
        open_on_board(bench.request()).prepare(Questions(bench.machine.library), clock="board:b")


def test_what_is_not_there_is_said_with_what_is(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="does not tell it"):
        bench.meter("gpu0/average").open()
    with pytest.raises(DeviceError, match="there is no channel"):
        bench.meter("gpu7/power").open()
    with pytest.raises(SpecError, match="counts from the fastest"):
        bench.meter(visible="0").open()
    with pytest.raises(DeviceError, match="cannot be loaded"):
        open_meter(MeterRequest("gpu", nvml_library=tmp_path / "libnvidia-ml.so.1")).open()
    with pytest.raises(DeviceError, match="not open"):
        bench.meter().start()


def test_a_gpu_that_may_not_be_read_is_refused_at_once(bench: Bench) -> None:
    bench.machine.gpus[0].fail("energy", 4)
    with pytest.raises(DeviceError, match="no permission"):
        bench.meter("gpu0/energy").open()


def test_mig_shows_the_whole_gpu_and_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, GpuSpec("a100", lambda t: 120.0 * t, NOISE, mig=[MigSpec(), MigSpec()]))
    machine = json.loads(look(str(bench.machine.library)))
    [gpu] = machine["gpus"]
    assert gpu["mig"] and len(gpu["instances"]) == 2
    info = bench.meter(visible=gpu["instances"][1]).open()
    assert [c.name for c in info.channels] == ["gpu0/instant", "gpu0/power", "gpu0/energy"]
    assert "whole GPU" in info.details["mig:gpu0"]
    bench.machine.close()


def test_a_gpu_of_a_kind_that_nobody_knows_says_so(tmp_path: Path) -> None:
    bench = Bench(tmp_path, GpuSpec("new", lambda t: 120.0 * t, NOISE))
    info = bench.meter("gpu0/power").open()
    assert info.details["sensor_unknown"] == "gpu0/power" and info.channels[0].reading.kind.value == "part_time"
    declared = bench.meter("gpu0/power", update_ms=50, window_ms=50).open()
    assert "sensor_unknown" not in declared.details and declared.channels[0].reading.kind.value == "mean"
    bench.machine.close()


def test_the_self_test_watches_the_registers(bench: Bench) -> None:
    meter = bench.meter("gpu0/instant", "gpu0/energy")
    meter.open()
    found = {item.name: item for item in meter.self_test()}
    assert found["update gpu0/instant"].ok and found["sensor gpu0/instant"].ok
    assert not found["persistence gpu0"].ok and "nvidia-smi -pm 1" in found["persistence gpu0"].mend
    fast = bench.meter("gpu0/instant", update_ms=300, window_ms=25)
    fast.open()
    quick = next(item for item in fast.self_test() if item.name == "update gpu0/instant")
    assert not quick.ok and "update_ms: 100" in quick.mend


def test_it_is_found_where_it_is_and_silently_absent_where_it_is_not(bench: Bench, tmp_path: Path) -> None:
    [found] = find_attached(bench.request())
    assert found.usable and "gpu1/average" in found.channels
    bench.machine.refuse_to_start(18)
    [found] = find_attached(bench.request())
    assert not found.usable and "different versions" in found.trouble and found.mend
    assert find_attached(MeterRequest("nvml", nvml_library=tmp_path / "libnvidia-ml.so.1")) == []
    assert find_nvml(Questions(bench.machine.library), MeterRequest("nvml")) == []


def test_without_the_package_the_error_names_the_extra(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(DeviceError, match="nvidia-ml-py") as caught:
        bench.meter().open()
    assert "joulebench[nvidia]" in caught.value.hint
