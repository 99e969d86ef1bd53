"""A recorded run in which the load is known becomes the character of its meters: clocks, readings, the load, the fit.

The load is what the agent stamped, or what a second meter saw where nobody stamped it (imported traces). Gain and zero
need the second meter: both meters' levels under the same stamps are compared, so that neither must be fast.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from analysis.characterise.identify import LAGS_S, Estimate, NotTold, SensorCharacter, identify
from analysis.characterise.load import Load
from analysis.readings.counter import counter_steps
from analysis.readings.curve import build_curve, sum_curves
from analysis.timing.chain import board_map
from harness.core.character import ChannelCharacter
from harness.core.clock import ClockMap, FloatArray, Int64Array
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding
from harness.core.timeline import PHASE_CODE, Phase, Timeline
from harness.core.trace import Reading, Trace
from harness.store.run_reader import RunReader

STEP_S = 0.001  # of a second meter's curve: finer than any reading that is compared with it
DRIVEN = (Phase.MARKER, Phase.MEASURED)


@dataclass(frozen=True)
class Found:
    """Character of one channel of `meter`, what its driver declares, and the unit's serial."""

    meter: str
    channel: str
    serial: str
    declared: Reading
    character: SensorCharacter

    @property
    def facts(self) -> ChannelCharacter:
        """For a file."""
        c = self.character
        gain, zero = c.gain, c.zero
        return ChannelCharacter(
            channel=self.channel, kinds=tuple(str(k) for k in c.kinds),
            update_s=float(c.update.value), update_u95_s=float(c.update.half_95),
            window_s=float(c.window.value), window_u95_s=float(c.window.half_95),
            tau_s=float(c.tau.value), tau_u95_s=float(c.tau.half_95),
            delay_s=float(c.delay.value), delay_u95_s=float(c.delay.half_95),
            rise_s=float(c.rise.value), rise_u95_s=float(c.rise.half_95),
            duty=float(c.duty.value), duty_u95=float(c.duty.half_95),
            gain=None if gain is None else float(gain.value), gain_u95=None if gain is None else float(gain.half_95),
            offset_w=None if zero is None else float(zero.value),
            offset_u95_w=None if zero is None else float(zero.half_95),
        )  # fmt: skip


def characterise_run(
    reader: RunReader, meter: str, *, channel: str | None = None, against: str | None = None,
    lags_s: tuple[float, float] = LAGS_S,
) -> tuple[Found, ...]:  # fmt: skip
    """Character of the channels of `meter` (or of one). `against`: the meter that gain and zero refer to.

    SpecError for a meter that recorded nothing, a run without a known load, and where no channel told anything; the
    reason of each is in the text.
    """
    timeline = reader.timeline()
    stamped = _is_coded(timeline)
    if not stamped and against is None:
        raise SpecError(
            f"run {reader.run_id} holds no coded load", hint="name the meter that saw the load: --against METER"
        )
    trace, to_board = _opened(reader, meter, timeline)
    load = Load.of_timeline(_driven(timeline)) if stamped else _seen(reader, str(against), timeline)
    found: list[Found] = []
    why: list[str] = []
    for name in _channels(reader, meter, trace, channel):
        try:
            character = _of_channel(trace, name, to_board, load, lags_s)
        except NotTold as error:
            why.append(f"{name}: {error}")
            continue
        declared = trace.info.channel(name).reading
        found.append(Found(meter, name, trace.info.serial, declared, character))
    if not found:
        raise SpecError(f"meter {meter} told nothing of its readings: {'; '.join(why)}", hint="play a stronger load")
    if stamped and against is not None:
        return _compared(reader, found, against, timeline, load, lags_s)
    return tuple(found)


def _is_coded(timeline: Timeline) -> bool:
    begin, _ = timeline.rows(Phase.MARKER)
    return len(begin) > 0 or bool(timeline.spans_of(Phase.MARKER))


def _driven(timeline: Timeline) -> Timeline:
    keep = np.isin(timeline.phase, [PHASE_CODE[phase] for phase in DRIVEN])
    return Timeline(
        timeline.clock, timeline.spans, timeline.start[keep], timeline.phase[keep], timeline.begin_ns[keep],
        timeline.end_ns[keep],
    )  # fmt: skip


def _binding(reader: RunReader, meter: str) -> MeterBinding:
    for binding in reader.spec.meters:
        if binding.name == meter:
            return binding
    names = ", ".join(m.name for m in reader.spec.meters)
    raise SpecError(f"run {reader.run_id} has no meter {meter!r}", hint=f"it has {names}")


def _opened(reader: RunReader, meter: str, timeline: Timeline) -> tuple[Trace, ClockMap]:
    _binding(reader, meter)
    trace = reader.trace(meter)
    try:
        return trace, board_map(trace, reader, timeline)
    except ValueError as error:
        raise SpecError(f"the clocks of meter {meter} and of the board are not tied: {error}") from error


def _channels(reader: RunReader, meter: str, trace: Trace, channel: str | None) -> list[str]:
    names = [c.name for c in trace.info.channels]
    if channel is not None:
        if channel not in names:
            raise SpecError(f"meter {meter} has no channel {channel!r}", hint=f"it has {', '.join(names)}")
        return [channel]
    bound = [c for c, _ in _binding(reader, meter).rails if c in names]
    return bound or names


def _of_channel(
    trace: Trace, name: str, to_board: ClockMap, load: Load, lags_s: tuple[float, float]
) -> SensorCharacter:
    t_ns, power_w, raw = readings_of(trace, name, to_board)
    inside = (t_ns > load.origin_ns + int(load.knot_s[0] * 1e9)) & (
        t_ns < load.origin_ns + int((load.knot_s[-1] + max(lags_s[1], 0.0)) * 1e9)
    )
    if load.watt:  # what a second meter did not see is not known
        inside &= (t_ns > load.origin_ns) & (t_ns < load.origin_ns + int(load.knot_s[-1] * 1e9))
    if np.count_nonzero(inside) < 16:
        raise NotTold(f"{np.count_nonzero(inside)} readings lie within the load")
    return identify(load, t_ns[inside], power_w[inside], raw=raw[inside], lags_s=lags_s, rate=not load.watt)


def readings_of(trace: Trace, channel: str, to_board: ClockMap) -> tuple[Int64Array, FloatArray, Int64Array]:
    """(t_ns on the load's clock, W, raw values (N, C)) of the readings of a channel; a counter's are its steps."""
    spec = trace.info.channel(channel)
    if spec.quantity == "energy_j":
        steps = counter_steps(trace, spec)
        edge = to_board.apply(steps.t_ns)
        width = np.diff(edge) * 1e-9
        good = steps.plausible & (width > 0)
        power = np.asarray(steps.energy_j[good] / width[good], np.float64)
        return edge[1:][good], power, np.arange(len(power), dtype=np.int64)[:, None]
    t_ns = to_board.apply(trace.t_ns)
    keep = np.r_[True, t_ns[1:] > np.maximum.accumulate(t_ns)[:-1]]
    raw = np.column_stack([np.asarray(trace.columns[name]).astype(np.int64) for name in spec.columns])
    return t_ns[keep], trace.power_w(channel)[keep], raw[keep]


def _seen(reader: RunReader, meter: str, timeline: Timeline) -> Load:
    """What the second meter saw, summed over the rails that it is told to be the total of."""
    trace, to_board = _opened(reader, meter, timeline)
    binding = _binding(reader, meter)
    wanted = [c for c, rail in binding.rails if rail in binding.total_rails] or [c.name for c in trace.info.channels]
    curve = sum_curves([build_curve(trace, name, to_board) for name in wanted]).curve
    return Load.of_curve(curve, step_s=STEP_S)


def _compared(
    reader: RunReader, found: list[Found], against: str, timeline: Timeline, load: Load, lags_s: tuple[float, float]
) -> tuple[Found, ...]:
    """The same with gain and zero: contrast and rest of both meters under the same stamps."""
    trace, to_board = _opened(reader, against, timeline)
    names = _channels(reader, against, trace, None)
    if len(names) > 1 or len(found) > 1:
        raise SpecError(
            f"{against} and {found[0].meter} have several channels: which are compared is not known",
            hint="name one channel of the meter with --channel, and a second meter of one channel",
        )
    try:
        other = _of_channel(trace, names[0], to_board, load, lags_s)
    except NotTold as error:
        raise SpecError(f"meter {against} told nothing of its readings: {error}") from error
    (one,) = found
    mine = one.character
    assert mine.contrast and mine.rest and other.contrast and other.rest
    gain = mine.contrast.value / other.contrast.value
    u_gain = gain * float(np.hypot(mine.contrast.u / mine.contrast.value, other.contrast.u / other.contrast.value))
    zero = mine.rest.value - gain * other.rest.value
    u_zero = float(np.sqrt(mine.rest.u**2 + (gain * other.rest.u) ** 2 + (u_gain * other.rest.value) ** 2))
    return (replace(one, character=replace(mine, gain=Estimate(gain, u_gain), zero=Estimate(zero, u_zero))),)
