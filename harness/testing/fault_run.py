"""A run directory around what a driver recorded in a fault trial, so that the shipped analysis can be asked about it.

The timeline is the scene's own: standby, back-to-back inferences inside the work, standby. Stamps are declared to lie
on the meter's time axis, so that no search for a lag adds noise of its own to the judgement.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from harness.core.clock import HOST, Int64Array, board_clock
from harness.core.spec import MeterBinding
from harness.core.timeline import PHASE_CODE, Phase, Span, Timeline
from harness.core.trace import Reading, ReadingKind
from harness.imports.foreign import ForeignMeter, ForeignRun, imported_protocol, write_run
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

METER = "trial"
INFERENCE_S = 0.02  # about; times the scene's scale
GOLDEN = 0.618  # readings fall on all phases of an inference, as they do on a real bench
MARGIN_S = 0.25  # between an edge of the scene and a bracket or an inference; times the scale
MEMORY = 1.5  # a lead-in this many memories of the meter long


def write_trial(root: Path, trial: FaultTrial, scene: Scene, recorded: Recorded) -> Path:
    """Write the run of a trial below `root`; its path. The first meter is `METER`, its only rail the channel."""
    channel = recorded.info.channel(recorded.channel)
    timeline = timeline_of(scene, channel.reading, recorded)
    binding = MeterBinding(
        METER, recorded.info.driver, ((recorded.channel, recorded.channel),), "dc_input", (recorded.channel,)
    )
    begin_s, _ = scene.edges_s
    protocol = imported_protocol(measurand="dynamic", standby_s=begin_s, alignment_u_s=1e-3)
    return write_run(
        root,
        ForeignRun(
            format="fault-trial",
            name=trial.fault,
            source_sha256=hashlib.sha256(f"{trial.meter} {trial.fault}".encode()).hexdigest(),
            origin=f"fault {trial.fault} of {trial.meter}",
            meters=[ForeignMeter(binding, recorded.info, recorded.blocks)],
            timeline=timeline,
            protocol=protocol,
            simulated=True,
            pings=np.empty((0, 3), np.int64) if recorded.pings is None else recorded.pings,
            ping_clock=timeline.clock,
        ),
    )


def timeline_of(scene: Scene, reading: Reading, recorded: Recorded) -> Timeline:
    """What the board would have recorded of the scene, on its own clock if the meter is stamped on that."""
    clock = recorded.info.clock if recorded.info.clock.startswith(board_clock("")) else HOST
    spans_s, busy_s = layout_s(scene, reading)

    def at(t_s: np.ndarray | float) -> Int64Array:
        host_ns = BEGIN_NS + np.rint(np.asarray(t_s, np.float64) * 1e9).astype(np.int64)
        return host_ns if recorded.pings is None or clock == HOST else _by_pings(host_ns, recorded.pings)

    spans = tuple(Span(0, phase, int(at(a)), int(at(b))) for phase, (a, b) in spans_s.items())
    rows = [(phase, cut) for phase, cut in busy_s.items() if len(cut) > 1]
    return Timeline(
        clock,
        spans,
        np.zeros(sum(len(cut) - 1 for _, cut in rows), np.int64),
        np.concatenate([np.full(len(cut) - 1, PHASE_CODE[phase], np.int64) for phase, cut in rows]),
        np.concatenate([at(cut[:-1]) for _, cut in rows]),
        np.concatenate([at(cut[1:]) for _, cut in rows]),
    )


def layout_s(scene: Scene, reading: Reading) -> tuple[dict[Phase, tuple[float, float]], dict[Phase, np.ndarray]]:
    """Spans (begin, end) and cuts between inferences, in seconds of the scene.

    A meter that remembers gets a lead-in and a lead-out of inferences as long as its memory; any other measures all of
    the work but a margin.
    """
    begin, end = scene.edges_s
    margin = MARGIN_S * scene.scale
    lead = min(MEMORY * _memory_s(reading), (end - begin) / 4)
    first, last = begin + margin + lead, end - margin - lead
    length = _inference_s(scene, reading)
    count = int((last - first) / length)
    cut = first + length * np.arange(count + 1)
    before = np.arange(first, begin + margin - 1e-9, -length)[::-1] if lead else cut[:0]
    after = np.arange(float(cut[-1]), end - margin + 1e-9, length) if lead else cut[:0]
    spans = {
        Phase.STANDBY_BEFORE: (margin, begin - margin),
        Phase.MEASURED: (float(cut[0]), float(cut[-1])),
        Phase.STANDBY_AFTER: (end + margin, scene.duration_s - margin),
    }
    return spans, {Phase.LEAD_IN: before, Phase.MEASURED: cut, Phase.LEAD_OUT: after}


def _memory_s(reading: Reading) -> float:
    if reading.kind not in (ReadingKind.OVERLAPPING, ReadingKind.FILTERED):
        return 0.0
    return max(reading.window_ns, 5 * reading.tau_ns, reading.period_ns) * 1e-9


def _inference_s(scene: Scene, reading: Reading) -> float:
    """A fixed length near INFERENCE_S into which the meter's period does not go a whole number of times."""
    wanted, period = INFERENCE_S * scene.scale, reading.period_ns * 1e-9
    if period < wanted:
        return period * (round(wanted / period) + GOLDEN)
    return period / (round(period / wanted) + GOLDEN)


def _by_pings(host_ns: Int64Array, pings: Int64Array) -> Int64Array:
    """Host times -> the board's clock, along the middles of the pings; beyond them with the offset at the end."""
    middle = pings[:, 0] + (pings[:, 2] - pings[:, 0]) // 2
    order = np.argsort(middle, kind="stable")
    offset = (pings[:, 1] - middle)[order]
    since = (offset - offset[0]).astype(np.float64)
    moved = np.interp((host_ns - BEGIN_NS).astype(np.float64), (middle[order] - BEGIN_NS).astype(np.float64), since)
    return np.asarray(host_ns + offset[0] + np.rint(moved).astype(np.int64), np.int64)
