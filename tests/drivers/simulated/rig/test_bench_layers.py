"""Layers on the simulated bench in real time: kernels come with the announcement, their truth is on the disk."""

import dataclasses
import json
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest

from drivers.simulated.rig.client import SimulatedBench, live_benches
from drivers.simulated.rig.kernels import KernelList
from drivers.simulated.rig.layer_truth import load_layers
from drivers.simulated.rig.truth import RunTruth
from harness.core.layers import Kernel
from harness.core.spec import BoardSpec, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec

BUSY_S, PAUSE_S = 0.02, 0.005


@pytest.fixture
def parent():
    folder = Path(tempfile.mkdtemp(prefix="jb-"))  # short: socket paths are limited
    yield folder
    for bench in live_benches(folder):
        bench.quit()
    shutil.rmtree(folder, ignore_errors=True)


def spec_for(layers):
    protocol = ProtocolSpec("t", "back-to-back", 1, None, 1, 1, 0, 1, 0, 0, 0, 0, 0, 0, "101", 0.1, 1e-3)
    protocol = dataclasses.replace(protocol, layers=layers)
    model = ModelSpec("net", "rig:net", "ab" * 32, 1)
    return RunSpec("c", "b", BoardSpec("local"), (), model, RuntimeSpec(), protocol, 0, 1, simulated=True)


def busy(pin, count, seconds=BUSY_S):
    fd = os.open(pin, os.O_WRONLY)
    os.write(fd, b"0")
    for _ in range(count):
        os.write(fd, b"1")
        time.sleep(seconds)
        os.write(fd, b"0")
        time.sleep(PAUSE_S)
    os.close(fd)


@pytest.mark.realtime
def test_announced_kernels_are_played_and_a_long_pass_after_them_breaks_nothing(parent):
    kernels = KernelList(
        (Kernel("a", "Conv"), Kernel("b", "Relu")), np.array([0.1, 0.7]), np.array([0.6, 0.9]), time_s=BUSY_S
    )
    bench = SimulatedBench.attach(parent, meters=[], world="bench", seed=5)
    bench.announce(spec_for("profile"), kernels)
    busy(bench.marker_pin, 15)
    busy(bench.marker_pin, 1, seconds=1.5)  # a profile pass, heard as one stretch: longer than the latency
    bench.announce(spec_for("profile"))
    busy(bench.marker_pin, 3)
    bench.announce(spec_for("off"), kernels)
    busy(bench.marker_pin, 3)
    time.sleep(0.1)
    bench.flush_truth()
    whole, by_list = RunTruth.load(bench.truth_folder), load_layers(bench.truth_folder)
    rows = (bench.truth_folder / "announced.jsonl").read_text().splitlines()
    assert [json.loads(row)["layers"] for row in rows] == ["given", "made up", "off"]
    assert bench.status()["late_edges"] == 0
    bench.quit()
    assert len(whole) == 22
    (given,) = [layers for layers in by_list if layers.given]
    (made_up,) = [layers for layers in by_list if not layers.given]
    assert given.names == ("a", "b", "(outside kernels)") and len(given.begin_ns) == 15
    assert len(made_up.begin_ns) == 3
    row, found = given.rows(whole["begin_ns"])
    assert np.count_nonzero(found) == 15 and found[:15].all()  # neither the pass nor the plain run has kernels
    total = given.values[row[found]].sum(1, dtype=np.float64)
    np.testing.assert_allclose(total[:, 0], whole["dynamic_j"][found], rtol=1e-5)
    np.testing.assert_allclose(total[:, 5], (whole["end_ns"] - whole["begin_ns"])[found] / 1e9, rtol=1e-4)
    share = given.values[:, 0, 5] / given.values[:, :, 5].sum(1)
    np.testing.assert_allclose(share, 0.5, atol=0.05)  # kernels scale to the true duration
