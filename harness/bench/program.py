"""The program of one process start: what the agent does alone, without traffic on the link."""

from __future__ import annotations

import math

from harness.core.ports import Step
from harness.core.spec import ProtocolSpec
from harness.core.timeline import Phase


def start_program(protocol: ProtocolSpec) -> tuple[Step, ...]:
    """Marker, warm-up, lead-in, measured, lead-out, gap probe, marker.

    Warm-up to lead-out follow each other without a break, so that both edges of the measured stretch lie
    in steady activity: an error of the clocks then moves them within like power, not across a step.
    """
    marker = Step("marker", Phase.MARKER, bits=protocol.marker_bits, chip_s=protocol.marker_chip_s)
    dither_s = protocol.gap_max_s if protocol.gap == "dithered" else 0.0
    count = None if protocol.inferences is None else math.ceil(protocol.inferences / protocol.starts)

    def infer(phase: Phase, seconds: float, count: int | None = None) -> Step:
        return Step("infer", phase, seconds=seconds, count=count, pause_max_s=dither_s)

    probe = Step(
        "infer", Phase.PROBE, count=protocol.probe_pauses,
        pause_min_s=protocol.probe_pause_s, pause_max_s=protocol.probe_pause_s,
    )  # fmt: skip
    steps = [
        marker,
        infer(Phase.WARM_UP, protocol.warm_up_s),
        infer(Phase.LEAD_IN, protocol.lead_in_s),
        infer(Phase.MEASURED, protocol.measure_s, count),
        infer(Phase.LEAD_OUT, protocol.lead_out_s),
    ]
    if protocol.probe_pauses > 0:
        steps.append(probe)
    return tuple(s for s in (*steps, marker) if s.op != "infer" or s.seconds > 0 or s.count)


def standby_program(phase: Phase, seconds: float) -> tuple[Step, ...]:
    """An idle bracket: the agent sleeps, with what it has loaded or nothing (`standby_state`)."""
    return (Step("idle", phase, seconds=seconds),)
