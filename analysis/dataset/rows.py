"""Rows of the two tables from one run. What is missing is None; no figure is made up."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

from analysis.dataset.source import Measured
from analysis.features.record import LayerFeatures
from analysis.features.totals import SUMMED, total

Row = dict[str, Any]


def network_row(run: Measured) -> Row:
    """The row of the whole network of a valid run."""
    result = run.result
    low, high = _interval(result["interval_95_j"])
    gross_low, gross_high = _interval(result["gross_interval_95_j"])
    closure = result.get("closure") or {}
    return {
        **_shared(run),
        "energy_j": _number(result["energy_per_inference_j"]),
        "u_j": _number(result["u_j"]),
        "interval_low_j": low,
        "interval_high_j": high,
        "gross_energy_j": _number(result["gross_energy_per_inference_j"]),
        "gross_u_j": _number(result["gross_u_j"]),
        "gross_interval_low_j": gross_low,
        "gross_interval_high_j": gross_high,
        "gap_energy_j": _number(result["gap_energy_per_inference_j"]),
        "duration_s": _number(result["details"].get("mean_inference_s")),
        "standby_w": _number(result["standby_w"]),
        "standby_u_w": _number(result["standby_u_w"]),
        "coverage": _number(result["coverage"]),
        "leverage": _number(result["leverage"]),
        "layers_sum_j": _number(closure.get("sum_j")),
        "layers_difference_j": _number(closure.get("difference_j")),
        "layers_difference_u_j": _number(closure.get("difference_u_j")),
        "layers_close": closure.get("closes"),
        "features_of": run.features_of,
        **_features(run.network),
    }


def layer_rows(run: Measured) -> list[Row]:
    """One row for each layer or group of a valid run's result, in order of execution; [] if it has no layers."""
    shared = _shared(run)
    return [{**shared, **_layer(run, layer, k)} for k, layer in enumerate(run.result.get("layers") or [])]


def _layer(run: Measured, layer: Mapping[str, Any], position: int) -> Row:
    members = [run.kernels[k] for k in layer["kernels"]] if run.kernels else []
    low, high = _interval(layer["interval_95_j"])
    ops = sorted({m.op for m in members})
    return {
        "layer": layer["name"],
        "row": position,
        "kernels": [m.name for m in members],
        "group": layer["group"],
        "op": "+".join(ops) if layer["group"] and ops else layer["op"],
        "op_class": _class(layer, members),
        "source_nodes": list(layer["source_nodes"]),
        "features_of": "executed" if members else None,
        "energy_j": _number(layer["energy_j"]),
        "u_j": _number(layer["u_j"]),
        "interval_low_j": low,
        "interval_high_j": high,
        "gross_energy_j": _number(layer["gross_energy_j"]),
        "proportional_j": _number(layer["proportional_j"]),
        "duration_s": _number(layer["duration_s"]),
        **_features(members),
        **(_geometry(members[0]) if len(members) == 1 else {}),
    }


def _class(layer: Mapping[str, Any], members: Sequence[LayerFeatures]) -> str:
    if not layer["kernels"]:
        return "outside"
    classes = {str(m.op_class) for m in members}
    if not classes:
        return "unknown"
    return classes.pop() if len(classes) == 1 else "mixed"


def _features(members: Sequence[LayerFeatures]) -> Row:
    whole = total(members)
    counts = {name: getattr(whole, name) for name in (*SUMMED, "parameters", "flops")}
    return {**counts, "layer_count": len(members) or None, "uncounted": list(whole.uncounted)}


def _geometry(one: LayerFeatures) -> Row:
    names = ("weight_bits", "activation_bits", "in_channels", "out_channels", "groups", "strides", "pads", "dilations",
             "rows", "sequence_length", "context_length", "heads", "directions", "hidden")  # fmt: skip
    return {
        **{name: _plain(getattr(one, name)) for name in names},
        "kernel_shape": _plain(one.kernel),
        "activation": one.activation or None,
        "input_shape": _plain(next(iter(one.input_shapes), None)),
        "output_shape": _plain(next(iter(one.output_shapes), None)),
    }


def _shared(run: Measured) -> Row:
    """What both tables say of a run: identity, conditions, provenance."""
    spec, result, reader = run.spec, run.result, run.reader
    accuracy = result["details"].get("accuracy") or {}
    protocol = spec.protocol
    return {
        "run_id": reader.run_id,
        "model": spec.model.name,
        "model_source": _source(spec.model.source),
        "model_sha256": spec.model.sha256,
        "batch": spec.model.batch,
        "axes": " ".join(f"{name}={size}" for name, size in spec.model.axes),
        "repetition": spec.repetition,
        "campaign": spec.campaign,
        "simulated": run.simulated,
        "status": result["status"],
        "n": result["n"],
        "starts": result["starts"],
        "flags": list(result["flags"]),
        "meter": result["meter"],
        "meter_driver": run.binding.driver,
        "plane": run.binding.plane,
        "channel": result["channel"],
        "accuracy_rel": _number(accuracy.get("gain_rel")),
        "accuracy_offset_w": _number(accuracy.get("offset_w")),
        "accuracy_source": accuracy.get("source") or None,
        "measurand": result["measurand"],
        "measurand_kind": protocol.measurand,
        "protocol_profile": protocol.profile,
        "gap": protocol.gap,
        "gap_max_s": protocol.gap_max_s if protocol.gap == "dithered" else None,
        "standby_s": None if protocol.measurand == "gross" else protocol.standby_s,
        "layers_mode": protocol.layers,
        "profiler_cost_rel": _number(run.profiler_cost_rel),
        "board": spec.board.name,
        "transport": None if run.imported else spec.board.transport,
        "cpu_model": run.board("before").get("cpu_model"),
        "machine": run.board("before").get("machine"),
        "governor": run.governor,
        "cpus": list(spec.board.cpus),
        "temperature_before_c": run.temperature_c("before"),
        "temperature_after_c": run.temperature_c("after"),
        "runtime": spec.runtime.name,
        "runtime_version": run.runtime.get("version") or spec.runtime.version,
        "providers": list(run.runtime.get("providers") or []),
        **{name: run.setting(name) for name in ("threads", "spinning", "optimisation")},
        "origin": dict(spec.tags).get("origin") if run.imported else None,
        "measured_unix_s": None if run.imported else reader.manifest.get("begun_unix_s"),
        "manifest_sha256": reader.manifest_sha256,
        "graph_sha256": run.graph_sha256,
        "measured_by": None
        if run.imported
        else reader.manifest.get("provenance", {}).get("packages", {}).get("joulebench"),
        "analysed_by": _version(),
    }


def _source(source: str) -> str:
    """A file's name without its folder: paths of one machine do not belong into what is published."""
    return source.replace("\\", "/").rpartition("/")[2] if source.startswith(("/", "\\")) or ":\\" in source else source


def _version() -> str | None:
    try:
        return metadata.version("joulebench")
    except metadata.PackageNotFoundError:
        return None


def _interval(found: Sequence[float] | None) -> tuple[float | None, float | None]:
    return (None, None) if found is None else (_number(found[0]), _number(found[1]))


def _number(value: Any) -> float | None:
    """A finite number, or None."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
