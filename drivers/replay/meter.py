"""Plays a stored trace again, in real or virtual time: its readings, gaps, clock and calibration, as they were.

Whoever develops an analysis or a report needs readings that behave like a meter's, not a meter. They are no
measurement of anything that happens now, so the meter says that it is simulated, and so does every run with it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from drivers.replay.exported import read_csv
from drivers.replay.options import ReplayOptions
from drivers.replay.stored import Stored, read_run
from harness.core.clock import HOST, Int64Array, meter_clock
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.trace import Block, CalibrationPiece, Gap, MeterInfo
from harness.core.waiting import NS_PER_S, RealClock, WaitClock

ENDED = "the stored trace ended"


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> Replay:
    """An unopened replay; SpecError for wrong options. No file is read."""
    return Replay(request, clock=clock if clock is not None else RealClock())


class Replay:
    """StreamingMeter over a stored trace, from its beginning at every `start`.

    A trace on a meter's own clock keeps that clock: its times and its anchors, these moved to now. Any other is moved
    to the host's clock. At its end there is a gap until `stop`, or an error (option `at_end`); never a 0.
    """

    def __init__(self, request: MeterRequest, *, clock: WaitClock) -> None:
        self._options = ReplayOptions.from_request(request.options)
        self._request, self._clock = request, clock
        self._stored: Stored | None = None
        self._player: _Player | None = None

    @property
    def recovered(self) -> bool:
        """Always False: a file cannot be left sampling."""
        return False

    @property
    def buffer_s(self) -> float:
        """A file keeps what nobody reads."""
        return 3600.0

    def open(self) -> MeterInfo:
        """Reads the trace. SpecError (nothing to play), DeviceError (damaged)."""
        self.close()
        options = self._options
        if options.run is not None:
            stored = read_run(options.run, options.meter)
        elif options.file is not None:
            stored = read_csv(options.file, options)
        else:
            raise SpecError(
                "replay has nothing to play", hint="give option run (a run directory) or file (a CSV export)"
            )
        if len(stored.t_ns) < 2:
            raise SpecError(f"{stored.origin} has {len(stored.t_ns)} readings: nothing to play", hint="replay another")
        channels = {channel.name for channel in stored.info.channels}
        if missing := sorted({c for c, _ in self._request.rails} - channels):
            raise SpecError(
                f"{stored.origin} has no channel {missing[0]!r}; it has {sorted(channels)}",
                hint="correct `rails` of this meter in the bench file",
            )
        self._stored = stored
        return _described(stored)

    def start(self) -> None:
        if self._stored is None:
            raise DeviceError(f"replay {self._request.name!r} is not open", hint="call open() before start()")
        self._player = _Player(self._stored, self._clock.now_ns())

    def step(self, until_ns: int) -> Block | None:
        if self._player is None:
            return None
        self._clock.sleep_until(until_ns)
        now_ns = self._clock.now_ns()
        if self._options.at_end == "error" and self._player.over(now_ns):
            raise DeviceError(
                f"{ENDED}: {self._player.origin} is {self._player.length_s:.1f} s long",
                hint="replay a longer one, shorten the protocol, or give option at_end: gap",
            )
        return self._player.play(now_ns)

    def stop(self) -> Block | None:
        if self._player is None:
            return None
        player, self._player = self._player, None
        return player.finish(self._clock.now_ns())

    def close(self) -> None:
        self._player = self._stored = None


def _described(stored: Stored) -> MeterInfo:
    """The recorded meter, marked as what it is now."""
    info, own = stored.info, _own_clock(stored)
    serial = f"replay-{info.serial}" if own else "replay"
    details = dict(info.details) | {
        "replayed": stored.origin,
        "recorded_driver": info.driver,
        "recorded_serial": info.serial,
        "recorded_clock": info.clock,
        "recorded_simulated": "true" if info.simulated else "false",
    }
    return dataclasses.replace(
        info,
        driver="replay",
        serial=serial,
        clock=meter_clock(serial) if own else HOST,
        simulated=True,
        details=details,
    )


def _own_clock(stored: Stored) -> bool:
    return stored.info.clock.startswith(meter_clock("")) and len(stored.anchors) > 0


class _Player:
    """One playing of a trace, begun at host time `start_ns`."""

    def __init__(self, stored: Stored, start_ns: int) -> None:
        self._stored, self.origin = stored, stored.origin
        own = _own_clock(stored)
        to_host = _clock_of(stored.anchors) if own else _identity
        recorded_ns = np.maximum.accumulate(to_host(stored.t_ns))
        period_ns = min(channel.reading.period_ns for channel in stored.info.channels)
        begin_ns = int(recorded_ns[0]) - period_ns
        if stored.gaps and stored.gaps[0].begin_ns < stored.t_ns[0]:  # it began with a gap, which is played too
            begin_ns = min(begin_ns, int(to_host(np.array([stored.gaps[0].begin_ns]))[0]))
        self._shift_ns = start_ns - begin_ns
        self._due_ns = recorded_ns + self._shift_ns
        self._moved_ns = 0 if own else self._shift_ns  # what is added to times of the trace
        self._anchors = self._moved_anchors(start_ns, own=own)
        self._row = self._gap = self._anchor = 0
        self.length_s = float(recorded_ns[-1] - begin_ns) / NS_PER_S

    def _moved_anchors(self, start_ns: int, *, own: bool) -> Int64Array:
        if not own:
            return np.empty((0, 2), np.int64)
        moved = self._stored.anchors + np.array([0, self._shift_ns], np.int64)
        moved = moved[np.argsort(moved[:, 1], kind="stable")]
        return moved[moved[:, 1] >= start_ns]

    def over(self, now_ns: int) -> bool:
        """Whether all readings have been played and more are asked for."""
        return self._row == len(self._due_ns) and now_ns > int(self._due_ns[-1])

    def play(self, now_ns: int) -> Block | None:
        """What was due until `now_ns` and has not been handed on."""
        first, self._row = self._row, int(np.searchsorted(self._due_ns, now_ns, side="right"))
        if self._row == first:
            return None
        return self._block(first, self._gaps_until(int(self._stored.t_ns[self._row - 1])), now_ns)

    def finish(self, now_ns: int) -> Block | None:
        """The rest; what the trace does not hold is a gap until now."""
        first, self._row = self._row, int(np.searchsorted(self._due_ns, now_ns, side="right"))
        if self._row < len(self._due_ns):
            return self._stopped_amid(first, now_ns)
        late_ns = now_ns - int(self._due_ns[-1])
        gaps = self._gaps_until(None)
        end_ns = int(self._stored.t_ns[-1]) + self._moved_ns
        if gaps:
            end_ns = max(end_ns, gaps[-1].end_ns)
        now_own_ns = int(self._stored.t_ns[-1]) + self._moved_ns + late_ns
        if now_own_ns > end_ns:
            gaps = [*gaps, Gap(end_ns, now_own_ns, -1, ENDED)]
        return self._block(first, gaps, now_ns) if self._row > first or gaps else None

    def _stopped_amid(self, first: int, now_ns: int) -> Block | None:
        """The rest of a playing that stops before the trace's end, maybe in one of its gaps."""
        gaps: list[Gap] = []
        if self._row:
            last_ns = int(self._stored.t_ns[self._row - 1])
            gaps = self._gaps_until(last_ns)
            now_own_ns = last_ns + self._moved_ns + now_ns - int(self._due_ns[self._row - 1])
            rest = self._stored.gaps[self._gap : self._gap + 1]
            gaps += [
                Gap(gap.begin_ns + self._moved_ns, min(gap.end_ns + self._moved_ns, now_own_ns), -1, gap.reason)
                for gap in rest
                if gap.begin_ns + self._moved_ns < now_own_ns
            ]
        return self._block(first, gaps, now_ns) if self._row > first or gaps else None

    def _gaps_until(self, t_ns: int | None) -> list[Gap]:
        found = []
        gaps = self._stored.gaps
        while self._gap < len(gaps) and (t_ns is None or gaps[self._gap].end_ns <= t_ns):
            gap = gaps[self._gap]
            found.append(
                dataclasses.replace(gap, begin_ns=gap.begin_ns + self._moved_ns, end_ns=gap.end_ns + self._moved_ns)
            )
            self._gap += 1
        return found

    def _block(self, first: int, gaps: list[Gap], now_ns: int) -> Block:
        stored, last = self._stored, self._row
        pieces = [piece for piece in stored.calibration if first <= piece.first_row < last]
        reached = int(np.searchsorted(self._anchors[:, 1], now_ns, side="right"))
        anchors, self._anchor = self._anchors[self._anchor : reached], reached
        return Block(
            t_ns=stored.t_ns[first:last] + self._moved_ns,
            columns={name: values[first:last] for name, values in stored.columns.items()},
            calibration=tuple(
                CalibrationPiece(p.first_row - first, p.column, p.code, p.scale, p.offset_raw) for p in pieces
            ),
            gaps=tuple(gaps),
            anchors=anchors,
        )


ToHost = Callable[[Int64Array], Int64Array]


def _identity(t_ns: Int64Array) -> Int64Array:
    return np.asarray(t_ns, np.int64)


def _clock_of(anchors: Int64Array) -> ToHost:
    """Times of the meter -> host time, by a line through its anchors: enough to say when a reading is due."""
    origin = anchors[0]
    x, y = (anchors - origin).astype(np.float64).T
    span = float(x.max() - x.min())
    rate = float(np.polyfit(x, y - x, 1)[0]) if len(x) > 1 and span > 0 else 0.0
    late = float(np.median(y - x - rate * x))

    def to_host(t_ns: Int64Array) -> Int64Array:
        since = np.asarray(t_ns, np.int64) - origin[0]
        return np.asarray(origin[1] + since + np.rint(since * rate + late).astype(np.int64), np.int64)

    return to_host
