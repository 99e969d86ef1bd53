"""The profile pass of a run, and stamps of its instances: after all that is measured, and never at its expense."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from harness.boards.layer_results import join_stamps
from harness.core.errors import BenchError, DeviceError, SpecError
from harness.core.events import EventStream
from harness.core.layers import LayerProfile, LayerStamps
from harness.core.ports import Board, ProfileReport, ProfilingSession
from harness.core.spec import RunSpec
from harness.store.run_writer import RunWriter


def put_layers(
    spec: RunSpec,
    board: Board,
    writer: RunWriter,
    events: EventStream,
    stamps: Sequence[LayerStamps | None],
) -> None:
    """Profile the model in a process start of its own and keep what comes of it, with the stamps of the starts.

    Whatever goes wrong, the run is kept: then there is `layers_problem` in it, and no layers or fewer.
    """
    problems: list[str] = []
    with events.step("protocol_step", run_id=spec.run_id, step="profile"):
        report = _profiled(spec, board, events, problems)
        profile = report.profile if report else None
        given = [part for part in stamps if part is not None]
        if profile is None and given:
            profile = profile_of_stamps(given[0])
        try:
            if profile is not None:
                writer.put_profile(profile)
            if report is not None and report.graph is not None:
                writer.put_graph(report.graph)
            if spec.protocol.layers == "instances":
                _put_stamps(profile, stamps, writer, problems)
        except OSError as error:
            raise DeviceError(f"the layers cannot be kept: {error.strerror}", hint="free space on that disk") from error
    if profile is not None:
        events.emit(
            "layers_profiled", run_id=spec.run_id, kernels=len(profile.kernels),
            inferences=len(profile.inference_ns), dropped=profile.dropped, cost_rel=_number(profile.cost_rel),
            source=profile.source, graph=report is not None and report.graph is not None,
        )  # fmt: skip
        writer.put_json("layers_cost", {"cost_rel": _number(profile.cost_rel), "source": profile.source})
    if problems:
        writer.put_json("layers_problem", {"problems": problems})


def _profiled(spec: RunSpec, board: Board, events: EventStream, problems: list[str]) -> ProfileReport | None:
    try:
        session = board.start_agent(spec, spec.protocol.starts)
        try:
            session.hello()
            if not isinstance(session, ProfilingSession):
                raise SpecError(f"board {board.name} cannot profile layers")
            report = session.profile(spec, count=spec.protocol.profile_inferences)
        finally:
            session.close()
    except Exception as error:  # noqa: BLE001 - the measured run is worth more than its layers, whatever this was
        reason = error.message if isinstance(error, BenchError) else f"{type(error).__name__}: {error}"
        problems.append(reason)
        hint = error.hint if isinstance(error, BenchError) else ""
        events.emit("layers_not_available", run_id=spec.run_id, reason=reason, hint=hint)
        return None
    if report.problem:
        problems.append(report.problem)
        events.emit("layers_incomplete", run_id=spec.run_id, reason=report.problem)
    return report


def _put_stamps(
    profile: LayerProfile | None, stamps: Sequence[LayerStamps | None], writer: RunWriter, problems: list[str]
) -> None:
    names = [kernel.name for kernel in profile.kernels] if profile else []
    kept = []
    for start, part in enumerate(stamps):
        if part is None or not len(part.start):
            problems.append(f"start {start} has no stamps of instances")
        elif [kernel.name for kernel in part.kernels] != names:
            problems.append(f"start {start} ran other kernels than the profile pass; its stamps are left out")
        else:
            kept.append(part)
    joined = join_stamps([replace(part, kernels=profile.kernels) for part in kept]) if profile else None
    if joined is not None:
        writer.put_layer_stamps(joined)


def profile_of_stamps(stamps: LayerStamps) -> LayerProfile:
    """Where a profile pass failed: the stamped instances are a profile, too, with nothing to compare them with.

    An inference is as long as its last kernel ends.
    """
    since = stamps.inference_begin_ns[:, None]
    begin_ns, end_ns = stamps.begin_ns - since, stamps.end_ns - since
    return LayerProfile(stamps.kernels, begin_ns, end_ns, end_ns.max(axis=1), source="measured inferences")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value
