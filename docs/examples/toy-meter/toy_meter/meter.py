"""The Toy W1 as a meter of the bench: thin, over the codec and a serial port."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence

from harness.core.clock import meter_clock
from harness.core.errors import BenchError, DeviceError, SpecError, TransientError
from harness.core.ports import FoundMeter, MeterRequest
from harness.core.trace import Accuracy, Block, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind
from harness.core.waiting import NS_PER_S, RealClock, WaitClock
from harness.io.serial_port import SerialPort, open_pyserial
from toy_meter.codec import PERIOD_NS, Codec

BAUD = 115_200
NAME = re.compile(r"# (TOY W\d+) fw (\S+) sn (\S+)\s*\n")
ACCURACY = Accuracy(0.01, 0.005, 0.002, "Toy W1 data sheet, section 3: 1 % of reading + 5 mW")
CHANNEL = ChannelSpec("main", "power_w", ("power_raw",), Reading(ReadingKind.MEAN, PERIOD_NS, PERIOD_NS), ACCURACY)


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> ToyMeter:
    """The entry point `joulebench.meters`."""
    for option in set(request.options) - {"port"}:
        raise SpecError(f"meter {request.name!r}: unknown option {option!r}", hint="the Toy W1 knows port")
    return ToyMeter(request, clock or RealClock())


def find_attached(surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """The entry point `joulebench.discovery`: by the names that udev gives, without opening anything."""
    ports = sorted((surroundings.sysfs_root / "dev/serial/by-id").glob("usb-Toy_W1_*"))
    return [FoundMeter("toy", str(p), {"port": str(p)}, "TOY W1", ("main",)) for p in ports]


class ToyMeter:
    """StreamingMeter. The system's serial buffer of 4 KiB holds two seconds of its lines."""

    buffer_s = 2.0

    def __init__(self, request: MeterRequest, clock: WaitClock) -> None:
        self._request, self._clock = request, clock
        self._port: SerialPort | None = None
        self._codec, self._heard_ns, self._sampling = Codec(), 0, False
        self.recovered = False

    def open(self) -> MeterInfo:
        path = str(self._request.options.get("port", "/dev/ttyUSB0"))
        self._port = (self._request.serial_port or open_pyserial)(path, BAUD)
        try:
            self._port.write(b"x")
            while self._port.read(0.1):  # found sampling: drain what is under way
                self.recovered = True
            self._port.write(b"?")
            said = ""
            while not (match := NAME.search(said)):
                said += (more := self._port.read(1.0).decode("ascii", "replace"))
                if not more or len(said) > 1000:
                    raise DeviceError(f"{path} does not answer as a Toy W1 does: {said[:40]!r}", hint="check the port")
        except BaseException:
            self.close()
            raise
        model, firmware, serial = match.groups()
        columns = (ColumnSpec("power_raw", "W"),)
        clock, simulated = meter_clock(serial), self._request.simulated
        return MeterInfo("toy", model, serial, firmware, clock, columns, (CHANNEL,), simulated)

    def start(self) -> None:
        """The meter counts its lines from 0 again; time goes on."""
        self._opened().write(b"s")
        self._heard_ns, self._sampling = self._clock.now_ns(), True
        self._codec = Codec(max(self._codec.t_ns, self._heard_ns))

    def step(self, until_ns: int) -> Block | None:
        port = self._opened()
        while data := port.read(max(0, until_ns - self._clock.now_ns()) / NS_PER_S):
            self._heard_ns = self._clock.now_ns()
            self._codec.feed(data, self._heard_ns)
            if self._heard_ns >= until_ns:
                break
        if self._sampling and self._clock.now_ns() - self._heard_ns > NS_PER_S:
            raise TransientError("the Toy W1 has sent nothing for a second", hint="check its supply, then run again")
        return self._codec.take()

    def stop(self) -> Block | None:
        if not self._sampling:
            return None
        self._sampling = False
        self._opened().write(b"x")
        return self.step(self._clock.now_ns())

    def close(self) -> None:
        port, self._port, self._sampling = self._port, None, False
        if port is not None:
            with contextlib.suppress(BenchError):
                port.write(b"x")
            port.close()

    def _opened(self) -> SerialPort:
        if self._port is None:
            raise DeviceError("the Toy W1 is not open", hint="call open() first")
        return self._port
