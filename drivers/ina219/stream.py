"""A streamer while it samples: what each message means for the rows, and what to say when board or chip were reset.

Nothing waits here. A microcontroller that was reset says hello, has forgotten its configuration, and its clock begins
at 0: it is asked for its time, configured and started again, message by message; the time without samples is a gap.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum, auto

import numpy as np

from drivers.ina219.link import InasLink
from drivers.ina219.messages import Configured, Counted, Event, Hello, Message, Pong, Samples
from drivers.ina219.options import InaOptions
from drivers.ina219.rows import NONSENSE, RowBuilder
from harness.core.errors import DeviceError, TransientError
from harness.core.trace import Block
from harness.core.waiting import NS_PER_S, WaitClock

PING_NS = NS_PER_S
SILENT_NS = NS_PER_S  # then it is asked whether it is still there
DEAF_NS = 5 * NS_PER_S  # then it is given up
CHIP_GONE_NS = 10 * NS_PER_S  # the device talks, but has no samples
TOO_MANY_RESETS = 5
BAD_LIMIT = 0.2  # share of lines that fail: cable or baud rate
BAD_LEAST = 50


class _State(Enum):
    SAMPLING = auto()
    CHIP_RESET = auto()  # until the new configuration is echoed
    CONFIGURING = auto()  # after a reset of the microcontroller
    STARTING = auto()


class Stream:
    """From START to STOP. `hear` each message, `keep_talking` between, `take` the rows."""

    def __init__(
        self, link: InasLink, rows: RowBuilder, clock: WaitClock, options: InaOptions, begun: Configured
    ) -> None:
        self._link, self._rows, self._clock, self._options = link, rows, clock, options
        self._state = _State.SAMPLING
        self._epoch = begun.epoch
        self._counts: Counter[str] = Counter()
        self._lines = self._bad = self._resets = 0
        now_ns = clock.now_ns()
        self._heard_ns = self._sampled_ns = self._said_ns = self._pinged_ns = now_ns
        self._delay_ns: int | None = None  # arrival less device time, of the newest reply to a ping
        self._sample_delay_ns = 0
        self._needs_time = False
        self._newest_us = 0
        rows.restart()

    # --- what was heard ---------------------------------------------------------------------------

    def hear(self, message: Message, arrival_ns: int) -> None:
        """One message; DeviceError for a chip that no longer holds its configuration."""
        self._lines += 1
        match message:
            case Samples():
                self._samples(message, arrival_ns)
            case Configured():
                self._configured(message)
            case Event():
                self._event(message)
            case Hello():
                self._was_reset()
            case Pong():
                self._pong(message, arrival_ns)
            case Counted():
                if self._state is _State.CONFIGURING:
                    self._say(self._link.cfg_command())

    def _samples(self, samples: Samples, arrival_ns: int) -> None:
        if self._state is not _State.SAMPLING:
            self._counts["unconfigured_samples"] += len(samples.t_us)
            return
        if samples.epoch is not None and samples.epoch != self._epoch:
            self._counts["foreign_epoch_samples"] += len(samples.t_us)
            return
        newest = samples.t_us[-1:]
        if self._needs_time:
            self._tell_time(int(newest[0]), arrival_ns - self._sample_delay_ns)
        self._rows.add(samples, arrival_ns)
        if self._rows.nonsense >= NONSENSE:
            raise TransientError(
                f"the streamer on {self._options.port} sends stamps that do not go on from one another",
                hint="end other programs that use the port, then run again",
            )
        self._heard_ns = self._sampled_ns = arrival_ns
        self._newest_us = max(self._newest_us, int(self._rows.clock.extend(newest)[0]))
        self._sample_delay_ns = arrival_ns - self._newest_us * 1000

    def _configured(self, found: Configured) -> None:
        if self._state is _State.CONFIGURING:
            self._link.require(found)
            self._state = _State.STARTING
            self._say("START")
            return
        waiting = self._state in (_State.SAMPLING, _State.CHIP_RESET)
        if waiting and found.epoch == self._epoch and not found.cal & 0xFFFE:
            self._chip_reset()  # the echo saw it before the device did
            return
        self._link.require(found)
        if found.epoch != self._epoch:
            self._rows.interrupt(f"configured anew (epoch {found.epoch})")
            self._epoch = found.epoch
        self._state = _State.SAMPLING

    def _event(self, event: Event) -> None:
        if event.kind == "i2c_nack":
            self._counts["i2c_failures"] += 1
            self._rows.interrupt("the chip did not answer")
            self._heard_ns = self._clock.now_ns()
        elif event.kind == "brownout":
            self._counts["chip_brownouts"] += 1
            self._chip_reset()
        elif event.kind == "refused" and event.keys.get("why") == "running" and self._state is _State.CONFIGURING:
            self._say("STOP")
        else:
            self._counts["other_events"] += 1

    def _chip_reset(self) -> None:
        """No rows until the device has written the configuration again and echoed it with another epoch."""
        self._rows.interrupt("the chip lost its supply")
        if self._state is _State.SAMPLING:
            self._state = _State.CHIP_RESET

    def _was_reset(self) -> None:
        if self._state is _State.CONFIGURING:  # its boot hello, and the reply to ours
            return
        self._resets += 1
        if self._resets > TOO_MANY_RESETS:
            raise DeviceError(
                f"the microcontroller on {self._options.port} was reset {self._resets} times during this run",
                hint="feed it from another USB port; keep its supply apart from the board's",
            )
        self._counts["mcu_resets"] += 1
        self._rows.interrupt("the microcontroller was reset", reset=True)
        self._needs_time = True
        self._state = _State.CONFIGURING
        self._link.asked.clear()
        self._link.ping()
        self._say(self._link.cfg_command())

    def _pong(self, pong: Pong, arrival_ns: int) -> None:
        if self._link.asked.pop(pong.nonce, None) is None:
            self._counts["unasked_replies"] += 1
            return
        if self._needs_time:
            delay_ns = self._sample_delay_ns if self._delay_ns is None else self._delay_ns
            self._tell_time(pong.t_us, arrival_ns - delay_ns)
        extended_us = int(self._rows.clock.extend(np.array([pong.t_us], np.int64))[0])
        if abs(extended_us - self._newest_us) > DEAF_NS // 500 and self._newest_us:
            self._counts["senseless_replies"] += 1
            return
        self._newest_us = max(self._newest_us, extended_us)
        self._delay_ns = arrival_ns - extended_us * 1000
        self._rows.anchor(extended_us * 1000, arrival_ns)

    def _tell_time(self, t_us: int, meter_ns: int) -> None:
        """After a reset: the device's `t_us` is about `meter_ns`, as long after what came before as it seemed here."""
        at_us = max(meter_ns // 1000, self._newest_us + 1000)
        self._rows.clock.begin_again(t_us, at_us)
        self._newest_us = at_us
        self._needs_time = False

    # --- what is said -----------------------------------------------------------------------------

    def _say(self, body: str) -> None:
        self._said_ns = self._clock.now_ns()
        self._link.say(body)

    def ping(self) -> None:
        self._pinged_ns = self._clock.now_ns()
        self._link.ping()

    def keep_talking(self) -> None:
        """Pings, and questions to a device that has fallen silent. TransientError when it stays so."""
        now_ns = self._clock.now_ns()
        silent_ns, said_ns = now_ns - self._heard_ns, now_ns - self._said_ns
        if silent_ns > DEAF_NS:
            raise TransientError(
                f"the streamer on {self._options.port} has sent no sample for {silent_ns * 1e-9:.1f} s",
                hint="look at cable and supply of the microcontroller, then run again",
            )
        if now_ns - self._sampled_ns > CHIP_GONE_NS:
            raise DeviceError(
                f"the INA219 behind {self._options.port} has given no sample for {CHIP_GONE_NS * 1e-9:.0f} s, "
                "though the microcontroller answers",
                hint="check the four wires VCC, GND, SDA, SCL between microcontroller and chip",
            )
        if self._state is _State.CONFIGURING and said_ns > SILENT_NS:
            self._say(self._link.cfg_command())
        elif self._state is _State.STARTING and said_ns > SILENT_NS:
            self._say("START")
        elif silent_ns > max(SILENT_NS, 10 * self._rows.shape.period_ns) and said_ns > SILENT_NS:
            self._say("HELLO")  # was it reset, and its hello lost?
        elif now_ns - self._pinged_ns >= PING_NS and self._state is _State.SAMPLING:
            self.ping()

    # --- what came of it --------------------------------------------------------------------------

    def account(self, counted: Counted) -> None:
        """What the device itself says it lost, since its last START."""
        names = {"ovr": "device_dropped", "i2c": "device_i2c_failures", "late": "device_late", "bo": "device_brownouts"}
        for key, name in names.items():
            self._counts[name] += counted.counts.get(key, 0)

    def take(self, *, last: bool = False) -> Block | None:
        """The rows so far, with all counts. DeviceError if too many lines fail: then the good ones are suspect too."""
        dropped = self._link.decoder.take_counts()
        self._bad += sum(dropped.values()) - dropped.get("noise_lines", 0)
        self._counts.update(dropped)
        counts, self._counts = dict(self._counts), Counter()
        block = self._rows.take(last=last, counts=counts)
        if self._bad > max(BAD_LEAST, BAD_LIMIT * (self._lines + self._bad)):
            raise DeviceError(
                f"{self._bad} of {self._lines + self._bad} lines from {self._options.port} were damaged",
                hint="use a shorter or better USB cable, or firmware with a baud rate its crystal makes exactly "
                "(docs/firmware.md)",
            )
        return block
