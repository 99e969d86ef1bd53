"""Grades energies of layers: each row of a result against what its kernels really cost, by how long they take.

A group's truth is the sum of its members'. Beside it stands proportional allocation, which shares the inference's
energy by time: what many tools do, and what does not converge.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from analysis.analyse import Analysis
from drivers.simulated.rig.layer_truth import LayerTruth, load_layers
from drivers.simulated.rig.truth import RunTruth
from harness.core.errors import SpecError
from harness.core.result import EnergyResult, LayerEnergy
from harness.exam.join import ToHost, board_to_host, heard_in, load_share_of, truth_folder
from harness.exam.upstream import converter_of
from harness.store.run_reader import RunReader

CLASSES = ((500e-6, ">= 0.5 ms"), (150e-6, "150-500 us"), (50e-6, "50-150 us"), (0.0, "< 50 us"))
OUTSIDE_CLASS = "outside"
_FOUND_AT_LEAST = 0.98


@dataclass(frozen=True)
class LayerRow:
    """One row of a result's layers beside its truth: mean dynamic energies of a measured inference, J."""

    name: str
    op: str
    members: int
    duration_s: float
    measured_j: float
    u_j: float
    interval_j: tuple[float, float]
    proportional_j: float
    realised_j: float
    expected_j: float

    @property
    def duration_class(self) -> str:
        if self.op == OUTSIDE_CLASS:
            return OUTSIDE_CLASS
        return next(name for least_s, name in CLASSES if self.duration_s >= least_s)

    @property
    def error_rel(self) -> float | None:
        """Against the realised truth; None for a kernel that costs nothing at all."""
        return self.measured_j / self.realised_j - 1 if self.realised_j else None

    @property
    def proportional_error_rel(self) -> float | None:
        return self.proportional_j / self.realised_j - 1 if self.realised_j else None

    @property
    def holds_expected(self) -> bool:
        return bool(self.interval_j[0] <= self.expected_j <= self.interval_j[1])

    def to_json(self) -> dict[str, Any]:
        answers = ("duration_class", "error_rel", "proportional_error_rel", "holds_expected")
        return {**asdict(self), **{name: getattr(self, name) for name in answers}}


@dataclass(frozen=True)
class LayerExam:
    """The layers of one result. `problem`: why they are not graded, else empty; `closes`: as the result says.

    `difference_rel`: sum of the layers over Eq. 1 of the same run, minus 1; `kernels`: how many the profile has.
    """

    run_id: str
    world: str
    model: str
    meter: str
    how: str
    kernels: int = 0
    rows: tuple[LayerRow, ...] = ()
    closes: bool | None = None
    difference_rel: float | None = None
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "rows": [row.to_json() for row in self.rows]}


@dataclass(frozen=True)
class KernelTruth:
    """Mean energies of the measured inferences by kernel, J at the meter's plane; the last is what lies outside."""

    names: tuple[str, ...]
    realised_j: tuple[float, ...]
    expected_j: tuple[float, ...]


def kernel_truth(
    run: RunReader,
    truth: RunTruth,
    layers: Sequence[LayerTruth],
    *,
    to_host: ToHost,
    load_share: float | None = None,
) -> KernelTruth:
    """What the kernels of a run's measured inferences cost. SpecError, saying why, where that is not known.

    Inferences that a bench in real time heard without their kernels (two at most in a hundred) are shared out as the
    others are, so the sum is the truth of the whole.
    """
    heard = heard_in(run, truth, to_host)
    for kept in layers:
        rows, found = kept.rows(np.asarray(heard.truth["begin_ns"], np.int64))
        if not found.any():
            continue
        if np.mean(found) < _FOUND_AT_LEAST:
            raise SpecError(f"the bench knows the kernels of {np.mean(found):.0%} of the measured inferences only")
        if run.spec.runtime.name != "virtual" and not kept.given:
            raise SpecError(
                f"the bench made up the layers of {run.spec.model.name}: it does not know the kernels that "
                f"{run.spec.runtime.name} executes"
            )
        mean = kept.mean(rows[found])
        dynamic_j, factor = mean["dynamic_j"], 1.0
        if load_share is not None:
            dynamic_j, factor = mean["load_dynamic_j"], load_share
        whole_j = heard.mean_j("dynamic_j" if load_share is None else "load_dynamic_j")
        each = factor * whole_j / float(dynamic_j.sum())
        at_plane = float(dynamic_j.sum() / mean["dynamic_j"].sum())
        expected_j = mean["expected_j"] * at_plane * each * heard.longer
        return KernelTruth(kept.names, tuple((dynamic_j * each).tolist()), tuple(expected_j.tolist()))
    raise SpecError("the bench has no truth of kernels for this run")


def examine_layers(run: RunReader, result: EnergyResult, truth: KernelTruth | str, *, world: str) -> LayerExam | None:
    """Grade the layers of a result; None if none were asked for. `truth`: or why it is not known."""
    if run.spec.protocol.layers == "off" or result.layers is None:
        return None
    report, profile = result.layers, run.profile()
    exam = LayerExam(run.run_id, world, run.spec.model.name, result.meter, run.spec.protocol.layers)
    if isinstance(truth, str) or report.problem or profile is None:
        why = truth if isinstance(truth, str) else report.problem or "there is no profile"
        return _with(exam, problem=why)
    names = tuple(kernel.name for kernel in profile.kernels)
    if names != truth.names[:-1]:
        strange = ", ".join(sorted(set(names) ^ set(truth.names[:-1]))[:3]) or "they come in another order"
        return _with(exam, problem=f"the profile has other kernels than the bench: {strange}")
    rows = tuple(_row(layer, truth) for layer in report.layers)
    whole = result.energy_per_inference_j
    difference = None if report.difference_j is None or not whole else report.difference_j / whole
    return _with(exam, kernels=len(names), rows=rows, closes=report.closes, difference_rel=difference)


def _with(exam: LayerExam, **changes: Any) -> LayerExam:
    return LayerExam(**{**{k: getattr(exam, k) for k in exam.__dataclass_fields__}, **changes})


def _row(layer: LayerEnergy, truth: KernelTruth) -> LayerRow:
    """Members by index into the profile's kernels; what lies outside belongs to the row that says so."""
    members = list(layer.kernels)
    named = layer.group if layer.group is not None else (layer.name,)
    if {truth.names[k] for k in members} != set(named) - {truth.names[-1]}:
        raise SpecError(f"row {layer.name!r} names {named}; its kernels are {[truth.names[k] for k in members]}")
    if truth.names[-1] in named:
        members.append(len(truth.names) - 1)
    return LayerRow(
        layer.name, layer.op, len(members), layer.duration_s, layer.energy_j, layer.u_j, layer.interval_95_j,
        layer.proportional_j, sum(truth.realised_j[k] for k in members), sum(truth.expected_j[k] for k in members),
    )  # fmt: skip


def examine_stored_layers(run: RunReader, analysis: Analysis, benches: Path) -> list[LayerExam]:
    """The layers of a finished run that was measured on a simulated bench; none where none were asked for."""
    folder = truth_folder(run.run_id, benches)
    if folder is None or not run.simulated or run.spec.protocol.layers == "off":
        return []
    about = json.loads((folder / "truth.json").read_text("utf-8"))
    meters = json.loads((folder / "meters.json").read_text("utf-8"))
    whole, layers, exams = RunTruth.load(folder), load_layers(folder), []
    for result in analysis.results:
        truth: KernelTruth | str
        try:
            if run.spec.protocol.layers == "instances":
                raise SpecError("a bench in real time does not hear kernels, so it cannot follow their instances")
            if converter_of(meters[result.meter]) is not None:
                raise SpecError("layers are not graded at the wall")
            share = load_share_of(run, result.meter, meters)
            truth = kernel_truth(run, whole, layers, to_host=board_to_host(run), load_share=share)
        except SpecError as error:
            truth = error.message
        exam = examine_layers(run, result, truth, world=f"{about['file']}/{about['seed']}")
        exams += [] if exam is None else [exam]
    return exams


# --- figures ----------------------------------------------------------------------------------------


def layer_score(exams: Sequence[LayerExam]) -> dict[str, Any]:
    """Figures by duration class over all rows: `errors` rms and median, coverage, proportional allocation beside."""
    rows = [row for exam in exams for row in exam.rows if row.error_rel is not None]
    by_class: dict[str, Any] = {}
    for name in (*(name for _, name in CLASSES), OUTSIDE_CLASS):
        of_class = [row for row in rows if row.duration_class == name]
        if of_class:
            by_class[name] = _figures(of_class)
    graded = [exam for exam in exams if not exam.problem]
    groups = [row for row in rows if row.members > 1]
    differences = [abs(exam.difference_rel) for exam in graded if exam.difference_rel is not None]
    return {
        "results": len(exams),
        "graded": len(graded),
        "not_graded": {exam.run_id: exam.problem for exam in exams if exam.problem},
        "by_duration": by_class,
        "coverage_95": float(np.mean([row.holds_expected for row in rows])) if rows else None,
        "kernels": sum(exam.kernels for exam in graded),
        "alone": sum(row.members == 1 and row.op != OUTSIDE_CLASS for row in rows),
        "groups": len(groups),
        "grouped": sum(row.members for row in groups),
        "closes": sum(bool(exam.closes) for exam in graded),
        "closure_median_abs_rel": float(np.median(differences)) if differences else None,
    }


def _figures(rows: Sequence[LayerRow]) -> dict[str, Any]:
    error = np.array([row.error_rel for row in rows], np.float64)
    naive = np.array([row.proportional_error_rel for row in rows], np.float64)
    z = np.array([(row.measured_j - row.expected_j) / row.u_j for row in rows if row.u_j > 0])
    return {
        "rows": len(rows),
        "groups": sum(row.members > 1 for row in rows),
        "error_rms_rel": float(np.sqrt(np.mean(error**2))),
        "error_median_abs_rel": float(np.median(np.abs(error))),
        "error_mean_rel": float(error.mean()),
        "coverage_95": float(np.mean([row.holds_expected for row in rows])),
        "width_median_rel": float(np.median([(r.interval_j[1] - r.interval_j[0]) / abs(r.expected_j) for r in rows])),
        "z_rms": float(np.sqrt(np.mean(z**2))) if len(z) else None,
        "proportional_rms_rel": float(np.sqrt(np.mean(naive**2))),
        "proportional_median_abs_rel": float(np.median(np.abs(naive))),
    }


def layers_json(exams: Sequence[LayerExam]) -> dict[str, Any] | None:
    """For `exam --json`: the figures and every row; None where no run asked for layers."""
    return {**layer_score(exams), "rows": [exam.to_json() for exam in exams]} if exams else None


def layer_table(exams: Sequence[LayerExam]) -> str:
    """The figures as plain text."""
    score = layer_score(exams)
    lines = [
        f"{'layers by duration':<20} {'rows':>5} {'groups':>6} {'rms':>7} {'median':>7} {'mean':>7} {'in 95 %':>7} "
        f"{'width':>7}   {'by time: rms':>12} {'median':>7}"
    ]
    for name, f in score["by_duration"].items():
        lines.append(_class_line(name, f))
    if score["coverage_95"] is not None:
        lines.append(
            f"95 % intervals hold the expectation in {score['coverage_95']:.0%} of rows; of {score['kernels']} kernels "
            f"{score['alone']} stand alone, {score['grouped']} are in {score['groups']} groups"
        )
        closure = score["closure_median_abs_rel"]
        said = "-" if closure is None else f"{closure:.3%}"
        lines.append(f"{score['closes']} of {score['graded']} results close (median |sum / Eq. 1 - 1| {said})")
    lines += [f"layers not graded: {run_id}: {why}" for run_id, why in score["not_graded"].items()]
    return "\n".join(lines)


def _class_line(name: str, f: Mapping[str, Any]) -> str:
    return (
        f"{name:<20} {f['rows']:>5} {f['groups']:>6} {f['error_rms_rel']:>7.2%} {f['error_median_abs_rel']:>7.2%} "
        f"{f['error_mean_rel']:>+7.2%} {f['coverage_95']:>7.0%} {f['width_median_rel']:>7.1%}   "
        f"{f['proportional_rms_rel']:>12.2%} {f['proportional_median_abs_rel']:>7.2%}"
    )
