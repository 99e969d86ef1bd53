"""Lanes share nothing: not a board, not a meter, not this machine; whatever shares is one after another."""

from __future__ import annotations

from dataclasses import replace

import pytest

from harness.bench.campaigns.board_time import BoardTime
from harness.bench.campaigns.forecast import Forecast, in_parallel
from harness.bench.campaigns.lanes import lanes_of
from harness.bench.campaigns.plan import in_order
from harness.config.profiles import QUICK
from harness.core.events import EventStream
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, RunSpec, RuntimeSpec


def meter(**options: str) -> MeterBinding:
    return MeterBinding("m", "monsoon", (("main", "main"),), "dc_input", ("main",), tuple(options.items()))


def run(
    bench: str, board: BoardSpec, binding: MeterBinding, *, model: str = "a", repetition: int = 0,
    simulated: bool = False,
) -> RunSpec:  # fmt: skip
    return RunSpec(
        "c", bench, board, (binding,), ModelSpec(model, f"zoo:{model}", "0" * 64, 1), RuntimeSpec(), QUICK,
        repetition, 1, simulated=simulated,
    )  # fmt: skip


ONE, TWO = BoardSpec("one", "ssh", "pi@one"), BoardSpec("two", "ssh", "pi@two")
HERE, HERE_TOO = BoardSpec("here"), BoardSpec("here-too")


def names(*specs: RunSpec, **more: object) -> list[str]:
    return [lane.name for lane in lanes_of(specs, **more)]  # type: ignore[arg-type]


def test_two_boards_with_two_meters_are_two_lanes() -> None:
    specs = [
        run("x", ONE, meter(serial="1")),
        run("y", TWO, meter(serial="2")),
        run("x", ONE, meter(serial="1"), model="b"),
    ]
    one, two = lanes_of(specs)
    assert (one.name, one.specs) == ("one", (specs[0], specs[2]))
    assert (two.name, two.specs) == ("two", (specs[1],))
    assert not set(one.resources) & set(two.resources)
    assert one.remote
    assert two.remote


def test_a_shared_board_or_meter_makes_one_lane() -> None:
    assert names(run("x", ONE, meter(serial="1")), run("y", ONE, meter(serial="2"))) == ["one"]
    same_place = replace(TWO, address="one")
    assert names(run("x", ONE, meter(serial="1")), run("y", same_place, meter(serial="2"))) == ["one+two"]
    assert names(run("x", ONE, meter(serial="1")), run("y", TWO, meter(serial="1"))) == ["one+two"]
    assert names(run("x", ONE, meter()), run("y", TWO, meter())) == ["one+two"]  # which of two Monsoons, nobody says


def test_a_bench_in_the_middle_joins_what_came_before_it() -> None:
    three = BoardSpec("three", "ssh", "three")
    specs = [run("x", ONE, meter(serial="1")), run("y", TWO, meter(serial="2")), run("q", three, meter(serial="3"))]
    bridge = replace(run("z", ONE, meter(serial="1")), meters=(meter(serial="1"), replace(meter(serial="2"), name="n")))
    lanes = lanes_of([*specs, bridge])
    assert [lane.name for lane in lanes] == ["one+two", "three"]
    assert lanes[0].specs == (specs[0], specs[1], bridge)


@pytest.mark.parametrize("simulated", [False, True])
def test_two_local_boards_are_one_machine(simulated: bool) -> None:
    specs = [run(b.name, b, meter(serial=b.name), simulated=simulated) for b in (HERE, HERE_TOO)]
    (lane,) = lanes_of(specs)
    assert not lane.remote


def test_simulated_benches_have_meters_of_their_own() -> None:
    assert names(run("x", ONE, meter(), simulated=True), run("y", TWO, meter(), simulated=True)) == ["one", "two"]


def test_a_meter_that_is_part_of_its_board_is_not_shared() -> None:
    counter = replace(meter(), driver="rapl")
    specs = (run("x", ONE, counter), run("y", TWO, counter))
    assert names(*specs) == ["one+two"]
    assert names(*specs, on_board={"rapl"}) == ["one", "two"]


def test_the_order_of_the_plan_is_kept_within_each_lane_and_each_bench() -> None:
    def planned(bench: str, board: BoardSpec) -> list[RunSpec]:
        return [run(bench, board, meter(serial=bench), model=m, repetition=r) for m in "abcd" for r in range(2)]

    alone = in_order(planned("x", ONE))
    together = in_order([*planned("x", ONE), *planned("y", TWO)])
    (lane, _) = sorted(lanes_of(together), key=lambda lane: lane.name)
    assert lane.specs == alone


def test_a_campaign_takes_as_long_as_its_longest_lane() -> None:
    whole = in_parallel([Forecast(1, 5, 20, "protocol"), Forecast(2, 4, 30, "history")])
    assert (whole.low_s, whole.expected_s, whole.high_s, whole.basis) == (2, 5, 30, "protocol")
    assert in_parallel([]).expected_s == 0


def test_board_time_counts_the_steps_of_measured_runs_only() -> None:
    times = BoardTime()
    log = EventStream([times.listen])

    def relay(name: str, at_s: float, **fields: object) -> None:
        log.relay({"event": name, "unix_s": at_s, "lane": "one", **fields})

    relay("lane_begin", 100.0)
    for step, seconds in (("load", 2.0), ("program", 3.0), ("program", 4.0)):
        relay("protocol_step_end", 101.0, step=step, duration_s=seconds)
    relay("run_measured", 112.0)
    relay("protocol_step_end", 113.0, step="program", duration_s=50.0)
    relay("run_aborted", 114.0)
    relay("lane_end", 120.0)
    lane = times.lanes["one"]
    assert lane.steps_s == {"load": 2.0, "program": 7.0}
    assert (lane.runs, lane.protocol_s, lane.wall_s) == (1, 9.0, 20.0)
    assert lane.share == pytest.approx(0.45)
    relay("lane_begin", 200.0)
    relay("lane_end", 201.0)
    assert times.lanes["one"].share is None  # nothing measured: no figure, not 0
