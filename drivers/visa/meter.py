"""An instrument on a bench as a meter: identified, configured, its ranges fixed, and polled for its updates."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from drivers.visa.acquisition import Acquisition
from drivers.visa.buffered_meter import BufferedVisa
from drivers.visa.options import VisaOptions
from drivers.visa.polled import Poller
from drivers.visa.ranging import Ranged, set_ranges
from drivers.visa.rows import Judge, calibration, channel_specs, channels_in_use, columns, items_of
from drivers.visa.sections import Buffered, Polled
from drivers.visa.self_test import check
from drivers.visa.talk import Talk
from harness.core.clock import HOST
from harness.core.errors import BenchError, DeviceError
from harness.core.ports import CheckItem, MeterRequest
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, RealClock, WaitClock
from harness.io.visa_line import OpenLine
from harness.io.visa_pyvisa import open_pyvisa

POLLS_PER_UPDATE = 10
LATE_SHARE = 0.5  # updates: a poll so late may miss one
FASTEST_POLL_S, SLOWEST_POLL_S = 0.01, 0.1


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> VisaMeter | BufferedVisa:
    """The entry point of this driver. Raises SpecError for options or a description that are wrong."""
    options, clock = VisaOptions.parse(request), clock if clock is not None else RealClock()
    buffered = isinstance(options.described.instrument.reading, Buffered)
    return BufferedVisa(request, options, clock) if buffered else VisaMeter(request, options, clock)


class VisaMeter:
    """PolledMeter and SelfTesting over one described instrument."""

    def __init__(self, request: MeterRequest, options: VisaOptions, clock: WaitClock) -> None:
        self._request, self._options, self._clock = request, options, clock
        self._channels = channels_in_use(options, request.rails)
        self._talk: Talk | None = None
        self._poller: Poller | None = None
        self._ranged = Ranged()
        self._acquisition: Acquisition | None = None
        self._pending: BenchError | None = None
        self._recovered = False
        self._next_ns = 0

    @property
    def recovered(self) -> bool:
        """The integrator was running when the instrument was opened, and was stopped."""
        return self._recovered

    @property
    def poll_s(self) -> float:
        """How often the instrument is asked for new values."""
        update_s = self._options.update_s
        reading = self._options.described.instrument.reading
        if isinstance(reading, Polled) and reading.triggered:
            return update_s
        return self._options.poll_s or min(max(update_s / POLLS_PER_UPDATE, FASTEST_POLL_S), SLOWEST_POLL_S)

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> MeterInfo:
        """Identify, configure, fix the ranges. DeviceError naming what answered, or the command that was refused."""
        self.close()
        self._talk = talk = Talk(self._opener(), self._options, self._clock, self._request.tap)
        try:
            said, before = talk.identify()
            talk.require(self._options.commands(self._options.described.instrument.configure))
            self._poller = Poller(talk, self._clock)
            self._recovered = self._stop_integrator(talk)
            self._ranged = set_ranges(talk, self._poller, self._clock, self.poll_s)
        except BaseException:
            self.close()
            raise
        return self._describe(said, before)

    def _opener(self) -> OpenLine:
        given: OpenLine | None = self._request.visa
        return open_pyvisa(self._options.backend) if given is None else given

    def _stop_integrator(self, talk: Talk) -> bool:
        energy = self._options.described.instrument.energy
        if energy is None or not self._options.energy:
            return False
        if energy.state is None or re.match(energy.state.running, self._state(talk), re.IGNORECASE) is None:
            return False
        talk.require(self._options.commands(energy.stop))
        return True

    def _state(self, talk: Talk) -> str:
        energy = self._options.described.instrument.energy
        assert energy is not None and energy.state is not None
        return talk.ask_text(self._options.text(energy.state.query))

    def _describe(self, said: dict[str, str], before: Sequence[str]) -> MeterInfo:
        options, described = self._options, self._options.described
        items = items_of(described, self._channels)
        details = {
            "instrument": described.instrument.instrument,
            "description": described.name,
            "resource": options.resource,
            "update_s": f"{options.update_s:g}",
            "updates_told_by": "a register" if described.instrument.reading.updated else "changes of the answer",
        }
        if self._request.visa is None:
            details["backend"] = options.backend
        for name, size in self._ranged.sizes.items():
            unit = described.instrument.ranges[name].unit
            details[f"{name}_range"] = f"{size:g} {unit} ({self._ranged.said[name]})"
        details |= {f"option:{name}": meant for name, (meant, _) in options.said.items()}
        if before:
            details["errors_before"] = "; ".join(before)
        return MeterInfo(
            driver="visa",
            model=said.get("model", "") or "unknown",
            serial=said.get("serial", "") or "unknown",
            firmware=said.get("firmware", "") or "unknown",
            clock=HOST,
            columns=columns(described, items),
            channels=channel_specs(options, self._channels, self._ranged.sizes),
            simulated=self._request.simulated,
            details=details,
        )

    def start(self) -> None:
        """Begin to keep updates; the integrator begins at 0 if its channel is used."""
        if self._talk is None or self._poller is None:
            raise DeviceError(f"meter {self._request.name!r} (visa) is not open", hint="call open() before start()")
        if self._acquisition is not None:
            raise DeviceError(f"meter {self._request.name!r} (visa) is being read already", hint="stop it first")
        described = self._options.described
        judge = Judge(described, self._channels, self._ranged.sizes, self._options.update_s)
        pieces = calibration(described, judge.items)
        acquisition = Acquisition(self._talk, self._poller, judge, pieces, self._clock)
        acquisition.start()
        self._acquisition, self._pending = acquisition, None
        self._next_ns = self._clock.now_ns() + round(self.poll_s * NS_PER_S)

    def step(self, until_ns: int) -> Block | None:
        """Poll until `until_ns` on the host clock -> what was read, or None."""
        self._raise_pending()
        acquisition = self._acquisition
        if acquisition is None:
            return None
        poll_ns = round(self.poll_s * NS_PER_S)
        try:
            while self._next_ns <= until_ns:
                self._clock.sleep_until(self._next_ns)
                acquisition.poll()
                self._next_ns += poll_ns
                if (late_ns := self._clock.now_ns() - self._next_ns) > 0:  # keep the beat
                    missed = late_ns // poll_ns + 1
                    if late_ns > LATE_SHARE * self._options.update_s * NS_PER_S:
                        acquisition.count("late_polls", missed)
                    self._next_ns += missed * poll_ns
            self._clock.sleep_until(until_ns)
        except BenchError as error:
            self._pending = error
        block = acquisition.take()
        if block is None:
            self._raise_pending()
        return block

    def stop(self) -> Block | None:
        """What was not yet handed on; the integrator stops. May be called twice."""
        self._raise_pending()
        if self._acquisition is None:
            return None
        acquisition, self._acquisition = self._acquisition, None
        return acquisition.finish()

    def close(self) -> None:
        """Leave the instrument in local mode where the description says how."""
        acquisition, self._acquisition = self._acquisition, None
        talk, self._talk, self._poller, self._pending = self._talk, None, None, None
        if acquisition is not None:
            with contextlib.suppress(BenchError):
                acquisition.stop_integrator()
        if talk is not None:
            talk.close()

    def self_test(self) -> Sequence[CheckItem]:
        """How fast it answers, how often it renews its values, whether they are valid and within range."""
        if self._talk is None or self._poller is None:
            raise DeviceError(f"meter {self._request.name!r} (visa) is not open", hint="call open() first")
        described = self._options.described
        powers = [name for name in self._channels if described.instrument.channels[name].kind != "counter"]
        judge = Judge(
            described, powers, self._ranged.sizes, self._options.update_s
        )  # a counter has no value while nothing is integrated
        return check(self._talk, self._poller, judge, self._ranged, self._clock, self.poll_s)

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error
