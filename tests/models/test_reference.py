"""The comparison of outputs: what passes, what does not, and that it cannot be fooled by nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from harness.models.reference import compare_outputs, reference_outputs
from harness.models.resolve import prepare_model, resolve_model

WANTED = {"y": np.array([[0.1, -2.0, 0.5]], np.float32)}


@pytest.mark.parametrize(
    ("found", "ok", "error"),
    [
        (WANTED["y"], True, 0.0),
        (WANTED["y"] + np.float32(0.001), True, 0.0005),
        (WANTED["y"] + np.float32(0.01), False, 0.005),
        (WANTED["y"] * 0, False, 1.0),
        (np.array([[0.1, np.nan, 0.5]], np.float32), False, np.inf),
        (np.array([[0.1, np.inf, 0.5]], np.float32), False, np.inf),
        (WANTED["y"][0], False, np.inf),
    ],
)
def test_comparison(found: np.ndarray, ok: bool, error: float) -> None:
    verdict = compare_outputs({"y": found}, WANTED, 1e-3)
    assert verdict.ok is ok and verdict.max_error_rel == pytest.approx(error, rel=1e-3)


def test_names_must_agree_and_nothing_is_not_agreement() -> None:
    assert not compare_outputs({}, WANTED, 1e-3).ok
    assert not compare_outputs({"z": WANTED["y"]}, WANTED, 1e-3).ok


def test_a_zero_reference_wants_zeros() -> None:
    zero = {"y": np.zeros(3)}
    assert compare_outputs(zero, zero, 1e-3).ok
    assert not compare_outputs({"y": np.full(3, 1e-9)}, zero, 1e-3).ok


def test_integers_and_strings() -> None:
    assert compare_outputs({"y": np.array([3])}, {"y": np.array([3])}, 1e-3).ok
    assert not compare_outputs({"y": np.array([4])}, {"y": np.array([3])}, 1e-3).ok
    assert compare_outputs({"y": np.array(["a"])}, {"y": np.array(["a"])}, 1e-3).ok
    assert not compare_outputs({"y": np.array(["b"])}, {"y": np.array(["a"])}, 1e-3).ok


def test_the_reference_is_the_hosts_own_run(cache: Path, tmp_path: Path) -> None:
    spec = resolve_model("gen:lstm", 2, {"sequence": 5}, 0, tmp_path, cache=cache)
    prepared = prepare_model(spec, cache)
    outputs = reference_outputs(prepared)
    assert list(outputs) == ["scores"] and outputs["scores"].shape == (2, 128)
    other = prepare_model(resolve_model("gen:lstm", 2, {"sequence": 5}, 1, tmp_path, cache=cache), cache)
    assert not compare_outputs(reference_outputs(other), outputs, 1e-2).ok
