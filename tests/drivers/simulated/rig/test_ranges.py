"""World files: what they say is what is drawn, and a wrong key is an error with its place."""

import dataclasses

import numpy as np
import pytest

from drivers.simulated.rig import world as world_module
from drivers.simulated.rig.ranges import load_ranges, parse_range, worlds_folder
from drivers.simulated.rig.world import draw
from harness.core.errors import SpecError

GROUPS = {
    "load": world_module.LoadWorld,
    "standby": world_module.StandbyWorld,
    "heat": world_module.HeatWorld,
    "supply": world_module.SupplyWorld,
    "wall": world_module.WallWorld,
    "meter": world_module.MeterWorld,
    "board": world_module.BoardWorld,
}


def drawn(text, n=4000):
    rng, f = np.random.default_rng(1), parse_range(text)
    return np.array([f(rng) for _ in range(n)])


def test_uniform_and_log_uniform_cover_their_range_and_centre():
    x = drawn("U(2, 4)")
    assert x.min() >= 2 and x.max() <= 4 and abs(x.mean() - 3) < 0.05
    y = drawn("LU(.01, 100)")
    assert y.min() >= 0.01 and y.max() <= 100 and abs(np.log10(y).mean()) < 0.1


def test_normal_log_normal_one_sign_maybe_mix():
    assert abs(drawn("N(5, 2)").std() - 2) < 0.1
    assert abs(np.log(drawn("LN(80e-6, 2)")).std() - np.log(2)) < 0.03
    assert set(drawn("ONE(1, 2, 3)", 200)) == {1, 2, 3}
    assert set(drawn("SIGN(2)", 100)) == {-2, 2}
    assert abs(np.mean(drawn("MAYBE(.2, 7)") == 7) - 0.2) < 0.03
    mix = drawn("MIX(.7, N(0, .333), .25, U(-1, 1), .05, SIGN(U(1, 3)))")
    assert 0.02 < np.mean(np.abs(mix) > 1) < 0.09 and np.abs(mix).max() <= 3


@pytest.mark.parametrize(
    "text",
    [
        "U(1)",
        "U(2, 1)",
        "LU(0, 1)",
        "X(1, 2)",
        "U(1, 2",
        "U(1, 2))",
        "U(N(0,1), 2)",
        "MIX(.5, 1, .2, 2)",
        "1 2",
        "",
        True,
    ],
)
def test_unreadable_ranges_are_refused(text):
    with pytest.raises(ValueError):
        parse_range(text)


@pytest.mark.parametrize("name", sorted(p.stem for p in worlds_folder().glob("*.yaml")))
def test_every_shipped_file_names_exactly_the_fields_of_a_world(name):
    ranges = load_ranges(name)
    for group, kind in GROUPS.items():
        assert set(ranges.groups[group]) == {f.name for f in dataclasses.fields(kind)}
    assert set(ranges.groups) == set(GROUPS)
    draw(3, ranges).meter("hvpm")


def test_unknown_key_group_and_bad_range_name_file_and_line(tmp_path):
    path = tmp_path / "mine.yaml"
    for text, line, word in (
        ("load:\n  dynamic_w: 3\n  dynamc_w: 3\n", 3, "dynamc_w"),
        ("lod:\n  dynamic_w: 3\n", 1, "lod"),
        ("heat:\n  rise_k: U(3\n", 2, "rise_k"),
    ):
        path.write_text(text)
        with pytest.raises(SpecError, match=word) as caught:
            load_ranges(path)
        assert caught.value.line == line and caught.value.file == str(path)
    path.write_text("load:\n  hold_s: 1\n  hold_s: 2\n")
    with pytest.raises(SpecError, match="duplicate"):
        load_ranges(path)
    with pytest.raises(SpecError, match="default"):
        load_ranges("no-such-world")


def test_a_scenario_replaces_only_what_it_names(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("load: {hold_s: .25}\n")
    mine, default = draw(5, load_ranges(path)), draw(5)
    assert mine.load.hold_s == 0.25
    assert dataclasses.replace(mine.load, hold_s=default.load.hold_s) == default.load
    assert mine.standby == default.standby and mine.digest != default.digest


def test_seeds_reproduce_and_differ():
    assert draw(7) == draw(7) and draw(7).meter("a") == draw(7).meter("a")
    assert draw(7).load != draw(8).load
    assert draw(7).meter("a") != draw(7).meter("b")
