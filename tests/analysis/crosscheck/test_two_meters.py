"""Two meters of one board: a wrong shunt is found, right ones are left in peace, and what cannot be seen is said."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.analyse import Analysis, analyse_run
from analysis.crosscheck.pairs import Outcome
from analysis.crosscheck.unobservable import unobservable, without_model
from analysis.derive import result_document
from harness.core.bench_facts import IdleRange, PlaneModel
from harness.core.spec import MeterBinding
from harness.core.trace import ReadingKind
from harness.store.run_reader import RunReader
from harness.store.run_writer import RunWriter
from tests.analysis.conftest import ORIGIN_NS, SmallWorld, run_spec

SAME = PlaneModel("wall", "board", (1.0, 1.0), (0.0, 0.0))
SUPPLY = PlaneModel("wall", "board", (0.84, 0.90), (0.1, 0.3))
QUICK = {"n": 60, "bracket_s": 3.0, "period_ns": 1_000_000, "start_sd": 0.03, "power_cv": 0.02}
SEEDS = 20


def two_meters(
    root: Path, seed: int, *, model: PlaneModel | None = SAME, supply: tuple[float, float] = (1.0, 0.0),
    upstream: dict[str, Any] | None = None, downstream: dict[str, Any] | None = None, idle: tuple[IdleRange, ...] = (),
    **world: Any,
) -> RunReader:  # fmt: skip
    """A run of one board with a meter on either side of a supply of (efficiency, constant W).

    The meters' gains are drawn within their limits, as those of good meters are; `upstream`, `downstream` override.
    """
    small = SmallWorld(**{**QUICK, "seed": seed, **world})
    rng = np.random.default_rng(seed)
    timeline = small._timeline(rng)
    small._physics(rng, timeline)
    bindings = tuple(MeterBinding(n, "small", (("main", "main"),), "dc_input", ("main",)) for n in ("wall", "board"))
    spec = dataclasses.replace(run_spec(seed), meters=bindings, plane_models=(model,) if model else ())
    spec = dataclasses.replace(spec, board=dataclasses.replace(spec.board, idle=idle))
    writer = RunWriter.create(root, spec)
    limit = small.gain_limit
    for name, own, (efficiency, constant_w) in (
        ("wall", upstream or {}, supply), ("board", downstream or {}, (1.0, 0.0))
    ):  # fmt: skip
        gain = own.get("gain", 1.0) * (1 + rng.uniform(-limit, limit))
        zero_w = rng.uniform(-small.zero_limit_w, small.zero_limit_w)
        seen = dataclasses.replace(
            small, **{k: v for k, v in own.items() if k != "gain"}, gain=gain / efficiency,
            zero_w=zero_w + gain * constant_w,
        )  # fmt: skip
        for kept in ("_t", "_target", "_tau", "_amplitude", "_energy", "_t0", "_end_s"):
            setattr(seen, kept, getattr(small, kept))
        info = seen._info()
        writer.block_writer(name, info).append(seen._block(rng, info))
    writer.put_timeline(timeline)
    middle = np.linspace(ORIGIN_NS, timeline.end_ns.max(), 20).astype(np.int64)
    board = middle + small._board_offset_ns
    writer.put_pings(timeline.clock, np.stack([middle - 30_000, board, middle + 30_000], axis=1))
    for document, data in small.documents.items():
        writer.put_json(document, data)
    return RunReader.open(writer.finish())


def analysed(*args: Any, **more: Any) -> Analysis:
    return analyse_run(two_meters(*args, **more))


def outcomes(root: Path, **more: Any) -> list[Outcome]:
    return [analysed(root / str(seed), seed, **more).pairs[0].outcome for seed in range(SEEDS)]


@pytest.mark.parametrize(
    ("model", "supply"), [(SAME, (1.0, 0.0)), (SUPPLY, (0.84, 0.3)), (SUPPLY, (0.90, 0.1))], ids=["same", "low", "high"]
)
def test_right_meters_are_left_in_peace(tmp_path: Path, model: PlaneModel, supply: tuple[float, float]) -> None:
    found = outcomes(tmp_path, model=model, supply=supply)
    print(f"{model}: {found.count(Outcome.DISAGREE)} false alarms in {SEEDS}")
    assert found.count(Outcome.DISAGREE) <= 1
    assert found.count(Outcome.NOT_COMPARABLE) == 0


@pytest.mark.parametrize(
    ("gain", "least"), [(10.0, 1.0), (0.1, 1.0), (1.10, 1.0), (0.92, 1.0), (1.05, 0.9), (1.02, 0.0)]
)
def test_a_wrong_shunt_is_found(tmp_path: Path, gain: float, least: float) -> None:
    """Limits of 1 % at each meter: 5 % is far beyond both, 2 % is within what two such meters may differ by."""
    found = outcomes(tmp_path, upstream={"gain": gain})
    share = found.count(Outcome.DISAGREE) / SEEDS
    print(f"shunt wrong by {gain:g}: found in {share:.0%} of {SEEDS}")
    assert share >= least


def test_two_percent_are_found_where_both_meters_are_good(tmp_path: Path) -> None:
    found = outcomes(tmp_path, upstream={"gain": 1.02}, gain_limit=0.003, zero_limit_w=0.002)
    assert found.count(Outcome.DISAGREE) / SEEDS >= 0.9
    peace = outcomes(tmp_path / "right", gain_limit=0.003, zero_limit_w=0.002)
    assert peace.count(Outcome.DISAGREE) <= 1


def test_behind_a_supply_only_what_lies_beyond_its_range_is_found(tmp_path: Path) -> None:
    found = outcomes(tmp_path, model=SUPPLY, supply=(0.87, 0.2), downstream={"gain": 0.85})
    assert found.count(Outcome.DISAGREE) / SEEDS >= 0.9
    (pair,) = analysed(tmp_path / "right", 3, model=SUPPLY, supply=(0.87, 0.2)).pairs
    low, high = pair.dynamic.blind_rel
    assert -0.12 < low < -0.03 < 0.03 < high < 0.12  # about the width of 0.84 to 0.90, and the limits of both


def test_the_load_s_own_scatter_cancels(tmp_path: Path) -> None:
    """Starts that differ by 15 % make the figure uncertain, not the comparison."""
    analysis = analysed(tmp_path, 5, start_sd=0.15, gain_limit=0.002, zero_limit_w=0.001)
    (pair,) = analysis.pairs
    assert pair.dynamic.u_j < 0.01 * pair.dynamic.upstream_j
    assert analysis.primary.u_j > 0.03 * analysis.primary.energy_per_inference_j


def test_both_results_are_flagged_and_the_document_says_by_how_much(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, 1, upstream={"gain": 10.0})
    assert all("meters_disagree" in r.flags for r in analysis.results)
    (told,) = result_document(analysis)["crosschecks"]
    assert told["outcome"] == "disagree"
    assert "sigma beyond it" in told["reason"]
    assert told["dynamic"]["sigmas"] > told["dynamic"]["limit_sigmas"]


def test_a_fast_meter_against_a_slow_counter(tmp_path: Path) -> None:
    """As an external meter at 1 kHz beside counters that are read fifty times a second."""
    slow = {"kind": ReadingKind.COUNTER, "period_ns": 20_000_000, "modulus_raw": 1 << 40}
    right = analysed(tmp_path / "right", 2, downstream=slow, n=150).pairs[0]
    wrong = analysed(tmp_path / "wrong", 2, downstream={**slow, "gain": 1.1}, n=150).pairs[0]
    assert (right.outcome, wrong.outcome) == (Outcome.AGREE, Outcome.DISAGREE)


def test_meters_that_are_late_by_different_times_are_read_where_the_power_was(tmp_path: Path) -> None:
    late = {"latency_s": 2.9}
    right = analysed(tmp_path / "right", 4, upstream=late, gain_limit=0.003, zero_limit_w=0.002).pairs[0]
    wrong = analysed(
        tmp_path / "wrong", 4, upstream={**late, "gain": 1.05}, gain_limit=0.003, zero_limit_w=0.002
    ).pairs[0]
    assert (right.outcome, wrong.outcome) == (Outcome.AGREE, Outcome.DISAGREE)
    assert right.dynamic.u_j < 0.01 * right.dynamic.upstream_j


def test_a_meter_without_a_figure_is_not_compared(tmp_path: Path) -> None:
    analysis = analysed(tmp_path, 1, downstream={"gain": 0.0, "noise_w": 0.0})
    (pair,) = analysis.pairs
    assert pair.outcome is Outcome.NOT_COMPARABLE
    assert "meter board has no figure" in pair.reason
    assert not any("meters_disagree" in r.flags for r in analysis.results)


def test_without_a_model_nothing_is_compared_and_the_document_is_as_before(tmp_path: Path) -> None:
    reader = two_meters(tmp_path, 1, model=None, upstream={"gain": 10.0})
    document = result_document(analyse_run(reader))
    assert "crosschecks" not in document
    assert without_model(reader.spec) == [("wall", "board")]


# --- what nobody could have noticed -------------------------------------------------------------------

BOARD_IDLE = (IdleRange("dc_input", 1.5, 3.0, "a page"),)


def said(reader: RunReader) -> tuple[Analysis, list[str]]:
    analysis = analyse_run(reader)
    document = result_document(analysis)
    return analysis, unobservable(reader.spec, document["meters"], document.get("crosschecks", ()))


def test_alone_any_scale_fault_is_unobservable_and_is_listed(tmp_path: Path) -> None:
    analysis, lines = said(two_meters(tmp_path, 1, model=None, upstream={"gain": 10.0}))
    assert analysis.primary.flags == ()
    assert lines[0].startswith("wall: any constant scale fault")


def test_a_catalogued_idle_range_shows_a_shunt_of_the_wrong_decade(tmp_path: Path) -> None:
    wrong, _ = said(two_meters(tmp_path / "w", 1, model=None, upstream={"gain": 10.0}, idle=BOARD_IDLE))
    assert "idle_unlikely" in wrong.results[0].flags
    assert "idle_unlikely" not in wrong.results[1].flags
    assert wrong.results[0].details["idle_range"]["source"] == "a page"
    right, lines = said(two_meters(tmp_path / "r", 1, model=None, idle=BOARD_IDLE))
    assert "idle_unlikely" not in right.results[0].flags
    assert re.search(r"between -3\d % and \+3\d %", lines[0])  # 2.0 W read, 1.5 to 3 W catalogued


def test_with_two_meters_only_what_both_share_is_left(tmp_path: Path) -> None:
    _, lines = said(two_meters(tmp_path, 1))
    assert all("any that both share" in line for line in lines)
