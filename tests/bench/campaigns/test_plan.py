"""A plan is the same for the same seed, spreads repetitions, knows what exists, and refuses doubles."""

from __future__ import annotations

import dataclasses
import itertools
import json
from pathlib import Path

import pytest

from harness.bench.campaigns.plan import in_order, make_plan
from harness.config.profiles import QUICK
from harness.core.errors import SpecError
from harness.core.spec import BoardSpec, MeterBinding, ModelSpec, RunSpec, RuntimeSpec
from harness.store.run_writer import RunWriter

METER = MeterBinding("monsoon", "monsoon", (("main", "main"),), "dc_input", ("main",))


def make_specs(models: str = "abcdefgh", repetitions: int = 3, seed: int = 1) -> list[RunSpec]:
    return [
        RunSpec(
            "demo", "demo", BoardSpec("local"), (METER,), ModelSpec(m, f"zoo:{m}", "0" * 64, 1),
            RuntimeSpec(), QUICK, repetition, seed, simulated=True,
        )
        for m, repetition in itertools.product(models, range(repetitions))
    ]  # fmt: skip


def test_order_is_blocked_shuffled_and_repeatable() -> None:
    specs = make_specs()
    ordered = in_order(specs)
    assert [s.repetition for s in ordered] == [0] * 8 + [1] * 8 + [2] * 8
    blocks = ["".join(s.model.name for s in ordered[k : k + 8]) for k in (0, 8, 16)]
    assert all(sorted(block) == list("abcdefgh") for block in blocks)
    assert len({*blocks, "abcdefgh"}) == 4  # each block in an order of its own, none as written
    assert in_order(list(reversed(specs))) == ordered
    other = ["".join(s.model.name for s in in_order(make_specs(seed=2))[k : k + 8]) for k in (0, 8, 16)]
    assert other != blocks


def test_a_new_model_leaves_the_order_of_the_others_alone() -> None:
    before = [s.run_id for s in in_order(make_specs("abcdefg"))]
    after = [s.run_id for s in in_order(make_specs("abcdefgh")) if s.model.name != "h"]
    assert after == before


def test_identity_is_independent_of_the_order_and_pinned() -> None:
    specs = make_specs()
    assert {s.run_id for s in specs} == {s.run_id for s in in_order(specs)}
    assert specs[0].run_id == "a-b1-r0-02c078420b86"
    assert RunSpec.from_json(json.loads(specs[0].canonical())).run_id == specs[0].run_id


def test_what_exists_is_known(tmp_path: Path) -> None:
    specs = make_specs("abc", repetitions=1)
    RunWriter.create(tmp_path, specs[0]).finish()
    RunWriter.create(tmp_path, specs[1]).abort("DeviceError: unplugged")
    RunWriter.create(tmp_path, specs[1])  # killed
    other = tmp_path / "other-campaign"
    other.mkdir()
    RunWriter.create(other, specs[2]).finish()
    plan = make_plan(specs, root=tmp_path)
    found = {run.spec.model.name: run for run in plan.runs}
    assert {name: run.status for name, run in found.items()} == {
        "a": "finished", "b": "interrupted", "c": "to measure",
    }  # fmt: skip
    assert found["a"].finished == tmp_path / specs[0].run_id
    assert [str(e.status) for e in found["b"].attempts] == ["aborted", "partial"]
    assert {s.model.name for s in plan.to_measure} == {"b", "c"}
    shown = json.loads(json.dumps(plan.to_json()))
    assert [r["run_id"] for r in shown["runs"]] == [s.run_id for s in plan.specs]
    assert shown["campaign"] == "demo"


def test_doubles_and_nothing_are_refused(tmp_path: Path) -> None:
    specs = make_specs("ab", repetitions=1)
    with pytest.raises(SpecError, match=r"a-b1-r0-.* is planned twice"):
        make_plan([*specs, dataclasses.replace(specs[0])], root=tmp_path)
    with pytest.raises(SpecError, match="has no run"):
        make_plan([], root=tmp_path)
