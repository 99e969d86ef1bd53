"""Bench instruments on the simulated bench: the wall's truth is the DC input's through a converter; two real lines."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from drivers.simulated.rig.client import SimulatedBench, live_benches
from drivers.simulated.rig.mains import DcInput, Wall
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.registry import kind_of
from drivers.simulated.rig.world import draw
from drivers.visa.meter import open_meter
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding
from harness.core.trace import join_blocks
from harness.exam.row import Truth
from harness.exam.upstream import Converter, converter_of

START_NS = 1_000_000_000_000
WALL = (("current_range", 5), ("instrument", "wt310"), ("update_s", 0.1), ("voltage_range", 300))


def test_the_wall_draws_what_the_converter_loses_more() -> None:
    rig = Rig(draw(3, load_ranges("gpu")), now_ns=START_NS)
    direct, wall = DcInput(rig, START_NS), Wall(rig, START_NS)
    t_ns = START_NS + np.array([0.0, 0.5e9, 1.5e9])
    behind, before = np.diff(direct.energy_j(t_ns)), np.diff(wall.energy_j(t_ns))
    assert np.all(behind > 30)
    assert before == pytest.approx(behind / wall.efficiency + wall.constant_w * np.diff(t_ns) * 1e-9, rel=1e-9)
    assert 0.8 <= wall.efficiency <= 0.93 and wall.constant_w > 1
    assert np.all(wall.voltage_v(t_ns) == 230.0)


def test_the_wall_moves_no_other_draw() -> None:
    groups = dict(load_ranges("bench").groups)
    world = draw(5, load_ranges("bench"))
    assert set(world.to_json()) == {"seed", "file", "load", "standby", "heat", "supply", "wall", "board"}
    assert set(groups["wall"]) == set(world.to_json()["wall"])
    assert world.wall == draw(5, load_ranges("bench")).wall != draw(6, load_ranges("bench")).wall


def test_the_truth_at_the_wall() -> None:
    behind = Truth(2.0, 2.1, 3.0, 3.1, 1.0, longer=1.5)
    seen = Converter(0.8, 10.0).seen(behind, 0.02)
    assert (seen.realised_j, seen.expected_j) == pytest.approx((2.5, 2.625))
    assert (seen.gross_realised_j, seen.gross_expected_j) == pytest.approx((3.0 / 0.8 + 0.2, 3.1 / 0.8 + 0.3))
    assert converter_of({"plane": "dc_input"}) is None
    assert converter_of({"plane": "wall", "efficiency": 0.8, "constant_w": 10.0}) == Converter(0.8, 10.0)


@pytest.mark.parametrize(
    ("plane", "instrument", "words"),
    [("package", "wt310", "no instrument at the plane 'package'"), ("wall", "wt99", "'wt99' has no simulator")],
)
def test_what_is_not_there_is_refused(tmp_path: Path, plane: str, instrument: str, words: str) -> None:
    binding = MeterBinding("m", "visa", (("power", "p"),), plane, ("p",), options=(("instrument", instrument),))
    with pytest.raises(SpecError, match=words):
        kind_of(binding).serve(None, binding, tmp_path, lambda: None)  # type: ignore[arg-type]


@pytest.fixture
def parent() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="jb-"))  # short: socket paths are limited
    yield folder
    for bench in live_benches(folder):
        bench.quit()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.realtime
def test_an_analyser_at_the_wall_and_a_unit_at_the_input_are_read_over_tcp(parent: Path) -> None:
    wall = MeterBinding("wall", "visa", (("power", "mains"),), "wall", ("mains",), options=WALL)
    options = (("at_v", 12), ("current_range", 10), ("instrument", "ngu"), ("update_s", 0.001))
    unit = MeterBinding("unit", "visa", (("power", "board"),), "dc_input", ("board",), options=options)
    bench = SimulatedBench.attach(parent, meters=[wall, unit], world="gpu", seed=3)
    facts = json.loads((bench.truth_folder / "meters.json").read_text())["wall"]
    mean_w = {}
    for binding in (wall, unit):
        meter = open_meter(bench.meter_request(binding))
        info = meter.open()
        assert info.simulated and info.details["resource"].startswith("TCPIP0::127.0.0.1::")
        meter.start()
        blocks = [meter.step(time.monotonic_ns() + 2_000_000_000), meter.stop()]
        meter.close()
        trace = join_blocks(info, [block for block in blocks if block is not None])
        product = np.prod([trace.values(name) for name in info.channels[0].columns], axis=0)
        mean_w[binding.name] = float(np.nanmean(product))
    bench.quit()
    assert mean_w["wall"] == pytest.approx(mean_w["unit"] / facts["efficiency"] + facts["constant_w"], rel=0.03)
