"""Do runs belong into one dataset? Only if they agree in everything that changes what a joule in it means.

Model, batch, board and meter are columns to compare by; what is named here is not, unless it is asked for by name.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from analysis.dataset.source import Measured
from harness.core.errors import SpecError
from harness.store.run_reader import RunReader

RANGE_SHARE = 0.005  # of the active time, below which a range plays no part
SHOWN = 3  # runs named for each value


def _gap(run: Measured) -> str:
    protocol = run.spec.protocol
    return f"dithered, at most {protocol.gap_max_s:g} s" if protocol.gap == "dithered" else protocol.gap


def _standby_state(run: Measured) -> str:
    return run.spec.protocol.standby_state


def unit_of(run: Measured) -> str:
    """Which meter, at which channel and range, with which calibration: what has one gain and one zero."""
    binding = run.binding
    serial = _serial(run.reader.path, binding.name) or f"without a serial, on {run.spec.bench}"
    shares = run.result["details"].get("range_share_active") or {}
    ranges = "+".join(f"{code} {share:.0%}" for code, share in sorted(shares.items()) if share > RANGE_SHARE)
    known = (binding.options, binding.accuracy_rel, binding.accuracy_offset_w, binding.accuracy, binding.calibration)
    state = hashlib.sha256(repr(known).encode()).hexdigest()[:8]
    return f"{binding.driver} {serial}, channel {run.result['channel']}, range {ranges or '-'}, set up as {state}"


@functools.lru_cache(maxsize=256)
def _serial(path: Path, meter: str) -> str:
    return RunReader.open(path).trace(meter).info.serial


def _layers(run: Measured) -> str:
    """`off` and `profile` measure the same: profiling is a process start of its own."""
    return "instances" if run.spec.protocol.layers == "instances" else "profile or off"


def _setting(run: Measured, name: str) -> str:
    found = run.setting(name)
    return "not known" if found is None else str(found)


def _version(run: Measured) -> str:
    return str(run.runtime.get("version") or run.spec.runtime.version or "not known")


MATTERS: Mapping[str, tuple[str, Callable[[Measured], str]]] = {
    "plane": ("where the meter taps: losses of supplies lie between", lambda r: r.binding.plane),
    "measurand": ("dynamic energy above standby, or gross energy", lambda r: r.spec.protocol.measurand),
    "standby_state": ("above which state of rest the energy is", _standby_state),
    "standby_model": ("whether leakage by the work's own warmth is in it", lambda r: r.spec.protocol.standby_model),
    "gap": ("back-to-back inferences are warmer and in cache; pauses are not", _gap),
    "runtime": ("another runtime runs other kernels", lambda r: r.spec.runtime.name),
    "runtime_version": ("so does another version", _version),
    "providers": ("so does another execution provider", lambda r: ", ".join(r.runtime.get("providers") or []) or "-"),
    "threads": ("cores that are awake draw power", lambda r: _setting(r, "threads")),
    "spinning": ("workers that spin draw power in gaps", lambda r: _setting(r, "spinning")),
    "optimisation": ("other graphs are executed", lambda r: _setting(r, "optimisation")),
    "governor": ("clocks and voltages", lambda r: r.governor or "not known"),
    "layers": ("with `instances` the profiler's cost is part of the figure", _layers),
}
"""Name of a difference -> (why it matters, its value for a run)."""

ONE_BENCH: Mapping[str, tuple[str, Callable[[Measured], str]]] = {
    **MATTERS,
    "board": ("another board is another device", lambda r: r.spec.board.name),
    "meter": ("two meters have two gains and zeros, which no ratio drops", unit_of),
}
"""The same for runs that are held against each other, where a ratio is to be that of the networks alone."""


def differences(
    runs: Sequence[Measured], matters: Mapping[str, tuple[str, Callable[[Measured], str]]] = MATTERS
) -> dict[str, dict[str, list[str]]]:
    """What differs: name -> value -> ids of its runs."""
    found: dict[str, dict[str, list[str]]] = {}
    for name, (_, value_of) in matters.items():
        values: dict[str, list[str]] = {}
        for run in runs:
            values.setdefault(value_of(run), []).append(run.reader.run_id)
        if len(values) > 1:
            found[name] = values
    return found


def check_comparable(
    runs: Sequence[Measured], *, allow: Collection[str], mix_simulated: bool,
    matters: Mapping[str, tuple[str, Callable[[Measured], str]]] = MATTERS,
    purpose: str = "so they make no one dataset",
) -> tuple[str, ...]:  # fmt: skip
    """Names of the differences that are there and were allowed. SpecError saying what differs between which runs."""
    unknown = sorted(set(allow) - matters.keys())
    if unknown:
        raise SpecError(f"--allow {unknown[0]}: no such difference", hint=f"known: {', '.join(matters)}")
    _check_simulated(runs, mix_simulated=mix_simulated)
    found = differences(runs, matters)
    refused = {name: values for name, values in found.items() if name not in allow}
    if refused:
        lines = [f"{name} ({matters[name][0]}):\n{_listed(values)}" for name, values in refused.items()]
        raise SpecError(
            f"these {len(runs)} runs differ in what a joule means, {purpose}\n" + "\n".join(lines),
            hint="leave runs out, or say that it is meant: " + " ".join(f"--allow {name}" for name in refused),
        )
    return tuple(found)


def _check_simulated(runs: Sequence[Measured], *, mix_simulated: bool) -> None:
    kinds: dict[str, list[str]] = {}
    for run in runs:
        kinds.setdefault("simulated" if run.simulated else "measured", []).append(run.reader.run_id)
    if len(kinds) > 1 and not mix_simulated:
        raise SpecError(
            f"some of these {len(runs)} runs are simulated and some are measured\n{_listed(kinds)}",
            hint="leave one kind out, or say that it is meant: --mix-simulated (each row says which it is)",
        )


def _listed(values: Mapping[str, Sequence[str]]) -> str:
    lines = []
    for value, ids in sorted(values.items()):
        more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
        lines.append(f"     {value}: {', '.join(sorted(ids)[:SHOWN])}{more}")
    return "\n".join(lines)
