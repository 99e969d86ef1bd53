"""An INA219 behind an inas/1 streamer as a meter of the bench: thin, over the codec, the link and the rows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from drivers.chips.ina219 import SHUNT_LSB_V, bus_code
from drivers.ina219.description import meter_info
from drivers.ina219.link import InasLink
from drivers.ina219.messages import Counted, Samples
from drivers.ina219.options import InaOptions
from drivers.ina219.rows import COUNTS_PER_BUS_LSB, MicrosClock, RowBuilder, RowShape
from drivers.ina219.selftest import self_test
from drivers.ina219.stream import Stream
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.ports import CheckItem, MeterRequest
from harness.core.trace import Block, MeterInfo
from harness.core.waiting import NS_PER_S, RealClock, WaitClock
from harness.io.serial_port import open_pyserial

READ_S = 0.02
STOP_S = 1.0
LEAST_SUPPLY_V = 0.5


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> Ina219:
    """The entry point of this driver. Raises SpecError for options it does not know (see InaOptions)."""
    return Ina219(request, clock or RealClock())


class Ina219:
    """StreamingMeter and SelfTesting. It changes nothing that the board feels: the chip only listens."""

    buffer_s = 0.3  # 4095 bytes of the terminal driver at 115200 baud

    def __init__(self, request: MeterRequest, clock: WaitClock) -> None:
        self._request = request
        self._options = InaOptions.parse(request)
        self._clock = clock
        self._link: InasLink | None = None
        self._stream: Stream | None = None
        self._micros = MicrosClock()
        self._shape = RowShape(self._options.config, self._options.period_us, self._options.shunt_ohm)
        self._sampling = False
        self._pending: BenchError | None = None
        self.recovered = False

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> MeterInfo:
        """Stop what is sampling, say hello (a board that reboots is waited for), configure, measure the voltage."""
        self.close()
        options = self._options
        opener = self._request.serial_port or open_pyserial
        self._link = link = InasLink(opener(options.port, options.baud), self._clock, options, self._request.tap)
        try:
            self.recovered = link.settle()
            hello = link.hello()
            supply_v = options.supply_v
            if supply_v is None:
                supply_v = self._measured_supply_v(link.look())
            link.configure()
            self._shape = RowShape(
                options.config, options.period_us, options.shunt_ohm, options.load_side,
                round(supply_v / SHUNT_LSB_V) if options.shunt_only else None,
            )  # fmt: skip
            self._micros = MicrosClock()
            return meter_info(hello, options, self._shape, supply_v=supply_v, simulated=self._request.simulated)
        except BaseException:
            self.close()
            raise

    def _measured_supply_v(self, seen: Samples) -> float:
        """Voltage on the supply's side. DeviceError if there is none: a power of 0 W would look like a reading."""
        volts = float(np.mean(bus_code(seen.bus_raw) * COUNTS_PER_BUS_LSB + seen.shunt_raw)) * SHUNT_LSB_V
        if volts < LEAST_SUPPLY_V:
            raise DeviceError(
                f"the INA219 on {self._options.port} sees a bus voltage of {volts:.2f} V",
                hint="the board's supply goes into VIN+ and out of VIN-, grounds joined; switch it on",
            )
        return volts

    def start(self) -> None:
        """Begin to sample; time goes on from the first start."""
        link = self._opened()
        if self._sampling:
            raise DeviceError(
                f"the INA219 on {self._options.port} is sampling already", hint="stop it before starting again"
            )
        link.overheard.clear()
        link.decoder.take_counts()
        begun = link.start()
        self._stream = Stream(link, RowBuilder(self._shape, self._micros), self._clock, self._options, begun)
        self._sampling, self._pending = True, None
        overheard, link.overheard = link.overheard, []
        for message in overheard:
            self._stream.hear(message, self._clock.now_ns())
        self._stream.ping()

    def step(self, until_ns: int) -> Block | None:
        """Read until host time `until_ns` (virtual time: what has arrived). What came before a failure is returned
        and the failure raised by the next call."""
        self._opened()
        self._raise_pending()
        stream = self._stream
        if stream is None or not self._sampling:
            return None
        try:
            self._read(stream, until_ns)
            stream.keep_talking()
        except BenchError as error:
            self._pending = error
        block = stream.take()
        if block is None:
            self._raise_pending()
        return block

    def _read(self, stream: Stream, until_ns: int) -> None:
        link = self._opened()
        while True:
            left_ns = until_ns - self._clock.now_ns()
            wait_s = 0.0 if self._clock.virtual else max(0.0, min(READ_S, left_ns / NS_PER_S))
            messages, arrival_ns = link.read(wait_s)
            for message in messages:
                stream.hear(message, arrival_ns)
            if self._clock.virtual:
                if not messages:
                    return
            elif left_ns <= 0:
                return

    def stop(self) -> Block | None:
        """Stop sampling and return what was still under way."""
        link = self._opened()
        self._raise_pending()
        stream = self._stream
        if not self._sampling or stream is None:
            return None
        self._sampling = False
        try:
            self._wait_for_end(link, stream)
        except BenchError as error:
            self._pending = error
        block = stream.take(last=True)
        if block is None:
            self._raise_pending()
        return block

    def _wait_for_end(self, link: InasLink, stream: Stream) -> None:
        """STOP, said again if its reply is lost; a device that no longer answers is the next open's business."""
        for _ in range(3):
            link.say("STOP")
            end_ns = self._clock.now_ns() + round(STOP_S * NS_PER_S)
            while (now_ns := self._clock.now_ns()) < end_ns:
                messages, arrival_ns = link.read((end_ns - now_ns) / NS_PER_S)
                for message in messages:
                    if isinstance(message, Counted):
                        stream.account(message)
                        return
                    stream.hear(message, arrival_ns)
        raise TransientError(
            f"the streamer on {self._options.port} does not stop", hint="press its reset button, run again"
        )

    def close(self) -> None:
        """Stop sampling if that is still possible, and let go of the port."""
        link, self._link = self._link, None
        self._stream = None
        if link is None:
            return
        try:
            if self._sampling:
                link.say("STOP")
        except BenchError:
            pass  # unplugged: the next open settles it
        finally:
            self._sampling = False
            link.close()

    def self_test(self) -> Sequence[CheckItem]:
        """Wiring, voltage, shunt, burden, line and clock of the opened meter; not while it samples."""
        if self._sampling:
            raise DeviceError("a meter that samples cannot be tested", hint="stop it first")
        link = self._opened()
        try:
            return self_test(link, self._options, self._clock)
        finally:
            link.configure()

    def _opened(self) -> InasLink:
        if self._link is None:
            raise DeviceError(f"the INA219 on {self._options.port} is not open", hint="call open() first")
        return self._link

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error
