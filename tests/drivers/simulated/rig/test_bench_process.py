"""The simulated bench as a user's harness meets it: a process, sockets, a FIFO, and the shipped drivers on top."""

import json
import os
import shutil
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from drivers.monsoon.meter import open_meter as open_monsoon
from drivers.rapl.meter import open_meter as open_rapl
from drivers.simulated.rig.client import SimulatedBench, live_benches
from drivers.simulated.rig.truth import RunTruth
from harness.core.errors import SpecError
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.core.trace import join_blocks

HVPM = MeterBinding("hvpm", "monsoon", (("main", "board"),), "dc_input", ("board",))
RAPL = MeterBinding("cpu", "rapl", (("package-0", "cpu"),), "package", ("cpu",))
BUSY_NS, PAUSE_NS = 20_000_000, 10_000_000


@pytest.fixture
def parent():
    folder = Path(tempfile.mkdtemp(prefix="jb-"))  # short: socket paths are limited
    yield folder
    for bench in live_benches(folder):
        bench.quit()
    shutil.rmtree(folder, ignore_errors=True)


def spec_for(*meters):
    protocol = ProtocolSpec("t", "back-to-back", 1, None, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, "101", 0.1, 1e-3)
    model = ModelSpec("net", "rig:net", "ab" * 32, 1)
    return RunSpec("c", "b", BoardSpec("local"), meters, model, RuntimeSpec(), protocol, 0, 1, simulated=True)


def work_on(pin, count):
    """What an agent does to the pin; returns its own stamps."""
    fd = os.open(pin, os.O_WRONLY)
    stamps = []
    os.write(fd, b"0")
    for _ in range(count):
        os.write(fd, b"1")
        begin = time.monotonic_ns()
        while time.monotonic_ns() < begin + BUSY_NS:
            time.sleep(0.001)
        stamps.append((begin, time.monotonic_ns()))
        os.write(fd, b"0")
        time.sleep(PAUSE_NS / 1e9)
    os.close(fd)
    return np.array(stamps)


def recorded(meter, seconds, work=None):
    """Blocks of so many seconds, or until a second after the end of `work`, which ever is later."""
    deadline = time.monotonic_ns() + round(seconds * 1e9)
    blocks = []
    while time.monotonic_ns() < deadline:
        if work is not None and work.is_alive():
            deadline = max(deadline, time.monotonic_ns() + 1_000_000_000)
        blocks.append(meter.step(time.monotonic_ns() + 100_000_000))
    blocks.append(meter.stop())
    return [b for b in blocks if b is not None]


@pytest.mark.realtime
def test_edges_on_the_pin_become_power_on_the_wire_and_truth_on_the_disk(parent):
    bench = SimulatedBench.attach(parent, meters=[HVPM, RAPL], world="ideal", seed=3)
    assert bench.started and bench.marker_pin.is_fifo()
    meter, counter = open_monsoon(bench.meter_request(HVPM)), open_rapl(bench.meter_request(RAPL))
    info, rapl_info = meter.open(), counter.open()
    assert info.simulated and rapl_info.simulated
    bench.announce(spec_for(HVPM, RAPL))
    meter.start()
    counter.start()
    before = [counter.step(time.monotonic_ns() + 300_000_000)]
    worked: list[np.ndarray] = []
    work = threading.Thread(target=lambda: worked.append(work_on(bench.marker_pin, 20)))
    work.start()  # beside the reading: the meter's queue lasts a second, and a busy machine takes longer to work
    trace = join_blocks(info, recorded(meter, 1.5, work))
    stamps = worked[0]
    after = [counter.step(time.monotonic_ns() + 100_000_000), counter.stop()]
    meter.close()
    counter.close()
    power = trace.power_w("main")
    power = power[np.isfinite(power)]
    assert np.median(power) == pytest.approx(2.0, rel=0.02)  # idle most of the time
    assert np.percentile(power, 99.5) == pytest.approx(7.0, rel=0.03)
    busy_s = np.sum(stamps[:, 1] - stamps[:, 0]) * 1e-9  # as it was: a busy machine sleeps too long
    assert np.mean(power > 4.5) * len(trace) * 2e-4 == pytest.approx(busy_s, rel=0.1)

    column = rapl_info.channel("package-0").columns[0]
    energy = join_blocks(rapl_info, [b for b in [*before, *after] if b is not None]).values(column)
    assert energy[-1] - energy[0] > 0.75 * 2.0 * 1.0

    bench.flush_truth()
    status = bench.status()
    assert status["late_edges"] == 0 and status["lost_stretches"] == 0 and status["edges"] == 40
    truth = RunTruth.load(bench.truth_folder)
    matched = truth.at(stamps.mean(1).astype(np.int64))
    assert len(truth) == 20 and np.unique(matched["begin_ns"]).size == 20
    assert np.max(np.abs(matched["begin_ns"] - stamps[:, 0])) < 5_000_000
    busy_s = (matched["end_ns"] - matched["begin_ns"]) / 1e9
    np.testing.assert_allclose(matched["dynamic_j"], 5.0 * busy_s, rtol=1e-6)
    announced = (bench.truth_folder / "announced.jsonl").read_text().splitlines()
    assert json.loads(announced[-1])["run_id"] == spec_for(HVPM, RAPL).run_id
    bench.quit()


@pytest.mark.realtime
def test_benches_of_equal_meters_are_told_apart_by_name_and_share_the_cpus(parent):
    unnamed = SimulatedBench.attach(parent, meters=[HVPM], world="bench", seed=3)
    one = SimulatedBench.attach(parent, meters=[HVPM], world="bench", seed=3, name="one", share=(0, 2))
    two = SimulatedBench.attach(parent, meters=[HVPM], world="bench", seed=3, name="two", share=(1, 2))
    again = SimulatedBench.attach(parent, meters=[HVPM], world="bench", seed=3, name="one")
    benches = (unnamed, one, two)
    assert again.folder == one.folder and not again.started
    assert len({b.folder for b in benches}) == 3
    assert len({b.status()["seed"] for b in benches}) == 3  # each is another draw: they do not share their errors
    assert unnamed.status()["seed"] == 3
    cpus = unnamed.board_cpus
    if len(cpus) > 1:
        assert not set(one.board_cpus) & set(two.board_cpus)
        assert {*one.board_cpus, *two.board_cpus} == set(cpus)
    else:
        assert one.board_cpus == two.board_cpus == cpus
    again.close()
    for bench in benches:
        bench.quit()


@pytest.mark.realtime
def test_the_bench_outlives_its_client_is_found_again_and_another_world_is_another_bench(parent):
    first = SimulatedBench.attach(parent, meters=[HVPM], world="ideal", seed=3)
    pid = first.status()["pid"]
    request = first.meter_request(HVPM)
    left = open_monsoon(request)
    left.open()
    left.start()
    request.usb_backend.disconnect()  # the harness is killed: no stop, no release
    first.close()
    again = SimulatedBench.attach(parent, meters=[HVPM], world="ideal", seed=3)
    assert not again.started and again.status()["pid"] == pid
    found = open_monsoon(again.meter_request(HVPM))
    found.open()
    assert found.recovered  # it was still sampling
    found.close()
    other = SimulatedBench.attach(parent, meters=[HVPM], world="ideal", seed=4)
    assert other.folder != again.folder and other.status()["pid"] != pid
    assert {b.folder for b in closed(live_benches(parent))} == {again.folder, other.folder}
    other.quit()
    again.quit()
    assert live_benches(parent) == []


def closed(benches):
    for bench in benches:
        bench.close()
    return benches


@pytest.mark.realtime
def test_a_bench_nobody_uses_ends_by_itself(parent):
    bench = SimulatedBench.attach(parent, meters=[], world="ideal", idle_exit_s=0.3)
    bench.close()
    deadline = time.monotonic() + 5
    while closed(live_benches(parent)) and time.monotonic() < deadline:
        time.sleep(0.6)
    assert live_benches(parent) == []


def test_what_cannot_be_simulated_is_refused_before_a_process_is_started(parent, tmp_path):
    with pytest.raises(SpecError, match="no simulator"):
        SimulatedBench.attach(parent, meters=[MeterBinding("x", "replay", (), "rail", ())])
    with pytest.raises(SpecError, match="no world file"):
        SimulatedBench.attach(parent, meters=[HVPM], world="nowhere")
    with pytest.raises(SpecError, match="JOULEBENCH_SIM"):
        SimulatedBench.attach(parent / ("long" * 30), meters=[HVPM])
    assert list(parent.iterdir()) == []
