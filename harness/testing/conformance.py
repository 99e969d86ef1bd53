"""What every meter driver must keep, as a suite that a driver's author runs over his own.

    import pytest
    from harness.testing.conformance import CHECKS, Subject

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check, my_simulator):
        check(Subject(make=my_simulator.open_meter, clock=my_simulator.clock))

Each check makes meters of its own from `Subject.make`, leaves them closed, and raises `Violation`
(an AssertionError) in words. The meter must see a working device; faults are the driver's own tests.
"""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from harness.core.clock import HOST, meter_clock
from harness.core.errors import BenchError
from harness.core.ports import Meter, PolledMeter, StreamingMeter
from harness.core.trace import Block, ChannelSpec, MeterInfo, ReadingKind, Trace, join_blocks
from harness.core.waiting import NS_PER_S, WaitClock

STEP_NS = 50_000_000
QUANTITIES = {"power_w": ({"W"}, {"A", "V"}), "energy_j": ({"J"},)}
UNITS = {"A", "V", "W", "J"}
TOLERANCE_S = 1.0


class Violation(AssertionError):
    """A driver does not keep what the Meter protocol says."""


@dataclass(frozen=True)
class Subject:
    """A driver under test. `make` gives a new, unopened meter each time; `clock` is the clock it waits on;
    `acquire_s` is how long it needs to yield readings; `move`, if given, is called at every step to let a
    simulated device that does not move by itself do so."""

    make: Callable[[], Meter]
    clock: WaitClock
    acquire_s: float = 0.5
    move: Callable[[], None] = lambda: None


def _require(condition: object, message: str) -> None:
    if not condition:
        raise Violation(message)


@contextmanager
def _opened(subject: Subject) -> Iterator[tuple[Meter, MeterInfo]]:
    meter = subject.make()
    try:
        yield meter, meter.open()
    finally:
        meter.close()


def _acquire(subject: Subject, meter: Meter) -> list[Block]:
    """The blocks of one acquisition of `acquire_s`, that of `stop` included."""
    blocks: list[Block] = []
    meter.start()
    end_ns = subject.clock.now_ns() + math.ceil(subject.acquire_s * NS_PER_S)
    while (now_ns := subject.clock.now_ns()) < end_ns:
        subject.move()
        block = meter.step(now_ns + STEP_NS)
        subject.clock.sleep_until(now_ns + STEP_NS)  # for a meter that returns early
        if block is not None:
            blocks.append(block)
    rest = meter.stop()
    return blocks if rest is None else [*blocks, rest]


def _recorded(subject: Subject) -> tuple[list[Block], Trace]:
    with _opened(subject) as (meter, info):
        blocks = _acquire(subject, meter)
    rows = sum(len(block) for block in blocks)
    _require(rows > 0, f"no reading within {subject.acquire_s:g} s of acquisition")
    return blocks, join_blocks(info, blocks)


# --- what it says it is -----------------------------------------------------------------------------


def check_identity(subject: Subject) -> None:
    """Driver, model, serial and firmware are said; the clock is the host's or the meter's own."""
    with _opened(subject) as (_, info):
        for name in ("driver", "model", "serial", "firmware"):
            _require(getattr(info, name), f"MeterInfo.{name} is empty; say 'unknown' if the device does not tell")
        allowed = {HOST, meter_clock(info.serial)}
        _require(info.clock in allowed, f"MeterInfo.clock is {info.clock!r}, not one of {sorted(allowed)}")
        _require(info.channels, "MeterInfo.channels is empty")
        for key, value in info.details.items():
            _require(isinstance(value, str), f"MeterInfo.details[{key!r}] is {value!r}; details are text")


def check_columns_declare_units(subject: Subject) -> None:
    """Column names are unique and every column has one of the units A, V, W, J."""
    with _opened(subject) as (_, info):
        names = [column.name for column in info.columns]
        _require(len(set(names)) == len(names), f"column names are not unique: {names}")
        for column in info.columns:
            _require(
                column.unit in UNITS, f"column {column.name!r} has unit {column.unit!r}, not one of {sorted(UNITS)}"
            )


def check_channels_refer_to_columns(subject: Subject) -> None:
    """Channels are unique, name declared columns, and their units multiply to what the quantity says."""
    with _opened(subject) as (_, info):
        names = [channel.name for channel in info.channels]
        _require(len(set(names)) == len(names), f"channel names are not unique: {names}")
        units = {column.name: column.unit for column in info.columns}
        for channel in info.channels:
            _check_quantity(channel, units)


def _check_quantity(channel: ChannelSpec, units: dict[str, str]) -> None:
    for column in channel.columns:
        _require(column in units, f"channel {channel.name!r} uses column {column!r}, which is not declared")
    _require(channel.quantity in QUANTITIES, f"channel {channel.name!r} has quantity {channel.quantity!r}")
    found = {units[column] for column in channel.columns}
    _require(
        len(found) == len(channel.columns) and found in QUANTITIES[channel.quantity],
        f"channel {channel.name!r} is {channel.quantity} but multiplies {sorted(found)}",
    )


def check_channels_say_what_a_reading_means(subject: Subject) -> None:
    """Period and window are given, counters say where they wrap, and an accuracy says where it comes from."""
    with _opened(subject) as (_, info):
        for channel in info.channels:
            reading = channel.reading
            _require(reading.period_ns > 0, f"channel {channel.name!r} has no period")
            if reading.kind in (ReadingKind.MEAN, ReadingKind.OVERLAPPING, ReadingKind.PART_TIME):
                _require(reading.window_ns > 0, f"channel {channel.name!r} is a {reading.kind} without a window")
            if reading.kind is ReadingKind.FILTERED:
                _require(reading.tau_ns > 0, f"channel {channel.name!r} is filtered without a time constant")
            if reading.kind is ReadingKind.COUNTER:
                _require(channel.modulus_raw, f"channel {channel.name!r} is a counter that does not say where it wraps")
                _require(channel.max_power_w, f"channel {channel.name!r} is a counter without a bound of its power")
            if channel.accuracy is not None:
                _require(channel.accuracy.gain_rel > 0, f"channel {channel.name!r} claims a perfect gain")
                _require(
                    channel.accuracy.source, f"channel {channel.name!r} does not say where its accuracy comes from"
                )


def check_info_crosses_a_process(subject: Subject) -> None:
    """MeterInfo survives pickling: a meter may be read in a child process."""
    with _opened(subject) as (_, info):
        _require(pickle.loads(pickle.dumps(info)) == info, "MeterInfo does not survive pickling")


def check_one_way_of_acquiring(subject: Subject) -> None:
    """A meter streams by itself or is polled, and says how long it buffers or how often it asks."""
    meter = subject.make()
    try:
        polled, streaming = isinstance(meter, PolledMeter), isinstance(meter, StreamingMeter)
        _require(polled != streaming, "a meter has either poll_s (PolledMeter) or buffer_s (StreamingMeter)")
        if isinstance(meter, PolledMeter):
            _require(meter.poll_s > 0, f"poll_s is {meter.poll_s}")
        if isinstance(meter, StreamingMeter):
            _require(meter.buffer_s > 0, f"buffer_s is {meter.buffer_s}")
    finally:
        meter.close()


# --- what it yields ---------------------------------------------------------------------------------


def check_times_are_whole_nanoseconds_that_increase(subject: Subject) -> None:
    """t_ns is int64 and strictly increases within and across blocks."""
    blocks, trace = _recorded(subject)
    for block in blocks:
        _require(block.t_ns.dtype == np.int64, f"t_ns is {block.t_ns.dtype}, not int64")
        _require(block.t_ns.ndim == 1, f"t_ns has shape {block.t_ns.shape}")
    steps = np.diff(trace.t_ns)
    _require(bool(np.all(steps > 0)), f"times do not increase: smallest step {steps.min() if len(steps) else 0} ns")


def check_times_lie_within_the_acquisition(subject: Subject) -> None:
    """On the host's clock, or by its anchors, no reading is from before the start or from the future."""
    begin_ns = subject.clock.now_ns()
    _, trace = _recorded(subject)
    end_ns = subject.clock.now_ns()
    if trace.info.clock == HOST:
        _require(begin_ns <= trace.t_ns[0] and trace.t_ns[-1] <= end_ns, "readings lie outside the acquisition")
    else:
        _require(len(trace.anchors) > 0, f"no anchors tie {trace.info.clock} to the host's clock")
        host_ns = trace.anchors[:, 1]
        _require(begin_ns <= host_ns.min() and host_ns.max() <= end_ns, "anchors lie outside the acquisition")
        span_ns = int(trace.t_ns[-1] - trace.t_ns[0])
        _require(span_ns <= (end_ns - begin_ns) * 1.02, "the meter's clock shows more time than passed")


def check_blocks_hold_the_declared_columns(subject: Subject) -> None:
    """Every block has every declared column and range column, as integers, one value a row; anchors are (A, 2)."""
    blocks, trace = _recorded(subject)
    wanted = {c.name for c in trace.info.columns} | {c.range_column for c in trace.info.columns if c.range_column}
    for block in blocks:
        _require(set(block.columns) == wanted, f"a block has columns {sorted(block.columns)}, not {sorted(wanted)}")
        for name, values in block.columns.items():
            _require(
                np.issubdtype(values.dtype, np.integer), f"column {name!r} is {values.dtype}: raw values are integers"
            )
            _require(
                values.shape == block.t_ns.shape, f"column {name!r} has {values.shape}, t_ns has {block.t_ns.shape}"
            )
        _require(block.anchors.dtype == np.int64, f"anchors are {block.anchors.dtype}, not int64")
        _require(block.anchors.ndim == 2 and block.anchors.shape[1] == 2, f"anchors have shape {block.anchors.shape}")
        for name, count in block.counts.items():
            _require(isinstance(count, int) and count >= 0, f"count {name!r} is {count!r}")


def check_calibration_covers_the_rows(subject: Subject) -> None:
    """A working device leaves no row of a channel without calibration."""
    _, trace = _recorded(subject)
    for channel in trace.info.channels:
        for column in channel.columns:
            missing = int(np.count_nonzero(np.isnan(trace.values(column))))
            _require(not missing, f"{missing} of {len(trace)} rows of {column!r} have no calibration")


def check_counters_stay_below_their_modulus(subject: Subject) -> None:
    """Counter values are 0..modulus_raw-1."""
    _, trace = _recorded(subject)
    for channel in trace.info.channels:
        if channel.modulus_raw is not None:
            raw = trace.columns[channel.columns[0]]
            inside = bool(np.all((raw >= 0) & (raw < channel.modulus_raw)))
            _require(inside, f"channel {channel.name!r} shows values beyond its modulus {channel.modulus_raw}")


def check_gaps_hold_no_readings(subject: Subject) -> None:
    """Gaps have a length, a reason, come in order, and no reading lies inside one."""
    _, trace = _recorded(subject)
    last_ns = None
    for gap in trace.gaps:
        _require(gap.end_ns > gap.begin_ns, f"gap {gap} has no length")
        _require(gap.reason, f"gap {gap} has no reason")
        _require(last_ns is None or gap.begin_ns >= last_ns, f"gap {gap} overlaps the one before")
        inside = np.count_nonzero((trace.t_ns > gap.begin_ns) & (trace.t_ns < gap.end_ns))
        _require(not inside, f"{inside} readings lie inside gap {gap}")
        last_ns = gap.end_ns


def check_a_step_returns_in_time(subject: Subject) -> None:
    """`step(until_ns)` comes back at about `until_ns`, also when it was asked for the past."""
    with _opened(subject) as (meter, _):
        meter.start()
        for ahead_ns in (STEP_NS, 0, -STEP_NS):
            until_ns = subject.clock.now_ns() + ahead_ns
            meter.step(until_ns)
            late_s = (subject.clock.now_ns() - max(until_ns, until_ns - ahead_ns)) / NS_PER_S
            _require(late_s < TOLERANCE_S, f"step came back {late_s:.2f} s late")
        meter.stop()


# --- how it begins and ends -------------------------------------------------------------------------


def check_stop_may_come_twice(subject: Subject) -> None:
    """A second `stop` yields nothing and does not raise."""
    with _opened(subject) as (meter, _):
        _acquire(subject, meter)
        rest = meter.stop()
        _require(rest is None or len(rest) == 0, "a second stop yields readings")


def check_close_may_come_any_time(subject: Subject) -> None:
    """`close` before `open`, during acquisition, and twice."""
    never_opened = subject.make()
    never_opened.close()
    with _opened(subject) as (meter, _):
        meter.start()
        meter.close()
        meter.close()


def check_it_opens_again(subject: Subject) -> None:
    """After `close` the same meter, and then a new one, opens as the same device and yields readings."""
    with _opened(subject) as (meter, first):
        meter.close()
        second = meter.open()
        _require((second.serial, second.channels) == (first.serial, first.channels), "it opens as another device")
        rows = sum(len(block) for block in _acquire(subject, meter))
        _require(rows > 0, "no readings after it was opened again")
    _recorded(subject)


def check_one_left_sampling_is_taken_over(subject: Subject) -> None:
    """A device whose reader was closed without `stop` can be opened, and yields increasing times from now on."""
    with _opened(subject) as (meter, _):
        meter.start()
        meter.step(subject.clock.now_ns() + STEP_NS)
    check_times_are_whole_nanoseconds_that_increase(subject)


def check_starting_unopened_is_an_error(subject: Subject) -> None:
    """`start` on a meter that is not open raises one of our errors, not an accident."""
    meter = subject.make()
    try:
        meter.start()
    except BenchError:
        return
    finally:
        meter.close()
    raise Violation("start() on an unopened meter went through")


CHECKS: tuple[Callable[[Subject], None], ...] = (
    check_identity,
    check_columns_declare_units,
    check_channels_refer_to_columns,
    check_channels_say_what_a_reading_means,
    check_info_crosses_a_process,
    check_one_way_of_acquiring,
    check_times_are_whole_nanoseconds_that_increase,
    check_times_lie_within_the_acquisition,
    check_blocks_hold_the_declared_columns,
    check_calibration_covers_the_rows,
    check_counters_stay_below_their_modulus,
    check_gaps_hold_no_readings,
    check_a_step_returns_in_time,
    check_stop_may_come_twice,
    check_close_may_come_any_time,
    check_it_opens_again,
    check_one_left_sampling_is_taken_over,
    check_starting_unopened_is_an_error,
)
