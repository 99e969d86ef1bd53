"""A Joulescope as a meter of the bench: thin, over its maker's package and the codec.

The instrument sums energy itself, sample by sample; we read its accumulator. It is opened without changing its
settings: a board supplied through it would lose its power.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from drivers.joulescope.codec import Row, StatisticsCodec
from drivers.joulescope.options import JoulescopeOptions
from harness.core.clock import meter_clock
from harness.core.errors import BenchError, DeviceError, TransientError
from harness.core.ports import FoundMeter, MeterRequest
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.core.waiting import NS_PER_S, RealClock, WaitClock

CHANNEL, COLUMN, PACKAGE = "main", "energy_raw", "pyjoulescope_driver"
READ_S = 0.02
SILENT_WINDOWS, SILENT_S = 10, 1.0
MODELS = {"js220": ("i/range/mode", 1e6), "js110": ("i/range/select", 2e6)}  # topic of the current range, samples/s
STATISTICS, CONTROL, COUNT = "s/stats/value", "s/stats/ctrl", "s/stats/scnt"
NEVER = 2**62  # its accumulator has 128 bits: it does not wrap
MAX_W = 50.0  # 15 V x 3 A, and some
ASSUMED = Accuracy(
    0.01, 1e-3,
    source="assumed: +-1 % and 1 mW, wider than the maker states; no data sheet was checked here. Override with yours",
)  # fmt: skip


def open_meter(request: MeterRequest, *, clock: WaitClock | None = None) -> Joulescope:
    """The entry point of this driver. Raises SpecError for options it does not know (see JoulescopeOptions)."""
    return Joulescope(request, clock or RealClock())


def find_attached(surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """Instruments that are plugged in (`joulebench.discovery`); none if the package is not installed."""
    try:
        driver = _package(surroundings)()
    except (BenchError, RuntimeError):
        return []
    try:
        paths = _paths(driver)
    finally:
        driver.finalize()
    return [FoundMeter("joulescope", path, {"device": path}, path.split("/")[1], (CHANNEL,)) for path in paths]


def _package(request: MeterRequest) -> Any:
    """The package's class Driver, or what stands in for it. DeviceError naming the extra."""
    if PACKAGE in request.stand_ins:
        return request.stand_ins[PACKAGE]
    try:
        from pyjoulescope_driver import Driver
    except ImportError as error:
        raise DeviceError(
            "a Joulescope needs the package pyjoulescope_driver, which is not installed",
            hint="pip install 'joulebench[joulescope]'",
        ) from error
    return Driver


def _paths(driver: Any) -> list[str]:
    """Devices that this driver knows, such as `u/js220/000123`."""
    return sorted(p for p in driver.device_paths() if len(p.split("/")) == 3 and p.split("/")[1] in MODELS)


class Joulescope:
    """StreamingMeter: the package's own thread takes the messages and keeps them."""

    buffer_s = 10.0

    def __init__(self, request: MeterRequest, clock: WaitClock) -> None:
        self._request, self._clock = request, clock
        self._options = JoulescopeOptions.parse(request)
        self._driver: Any = None
        self._path = ""
        self._heard: queue.SimpleQueue[tuple[int, Mapping[str, Any]]] = queue.SimpleQueue()
        self._codec = StatisticsCodec()
        self._heard_ns = 0
        self._gone = self._sampling = self._calibrated = False
        self._pending: BenchError | None = None
        self.recovered = False

    # --- life -------------------------------------------------------------------------------------

    def open(self) -> MeterInfo:
        """Find it, open it as it is, stop statistics that somebody left on, look whether its current range is on."""
        self.close()
        with self._words("be opened"):
            self._driver = _package(self._request)()
        try:
            self._path = self._choose(_paths(self._driver))
            with self._words("be opened"):
                self._driver.open(self._path, "restore")
                self.recovered = self._ask(CONTROL) in (1, "on")
                if self.recovered:
                    self._tell(CONTROL, 0)
                if self._ask(f"s/{self._range_topic}") in (0, "off"):
                    raise DeviceError(
                        f"the current range of {self._path} is off: nothing flows through it",
                        hint="switch it on in the Joulescope UI: that powers the board",
                    )
            self._codec, self._gone = StatisticsCodec(), False
            return self._info()
        except BaseException:
            self.close()
            raise

    def _choose(self, paths: list[str]) -> str:
        wanted = self._options.device
        found = [p for p in paths if wanted in ("auto", p, p.removeprefix("u/"))]
        if len(found) != 1:
            raise DeviceError(
                f"{len(found)} Joulescopes match device: {wanted} (there are {', '.join(paths) or 'none'})",
                hint="plug one in, or name it in the bench file, as `joulebench meters list` shows it; "
                "no permission looks like none: install the maker's udev rules",
            )
        return found[0]

    @property
    def _model(self) -> str:
        return self._path.split("/")[1]

    @property
    def _range_topic(self) -> str:
        return MODELS[self._model][0]

    @property
    def _window_samples(self) -> int:
        return max(1, round(MODELS[self._model][1] / self._options.rate_hz))

    def _info(self) -> MeterInfo:
        _, model, serial = self._path.split("/")
        period = round(self._window_samples / MODELS[model][1] * NS_PER_S)
        channel = ChannelSpec(
            CHANNEL, "energy_j", (COLUMN,), Reading(ReadingKind.COUNTER, period, period), ASSUMED,
            modulus_raw=NEVER, max_power_w=MAX_W,
        )  # fmt: skip
        return MeterInfo(
            driver="joulescope", model=model.upper(), serial=serial, firmware=self._firmware(),
            clock=meter_clock(serial), columns=(ColumnSpec(COLUMN, "J"),), channels=(channel,),
            simulated=self._request.simulated,
            details={"device": self._path, "samples_a_window": str(self._window_samples)},
        )  # fmt: skip

    def _firmware(self) -> str:
        with contextlib.suppress(Exception):  # a topic that not every model has
            return str(self._ask("c/fw/version"))
        return "unknown"

    def start(self) -> None:
        """Ask for statistics; the instrument's clock goes on from one start to the next."""
        self._opened()
        if self._sampling:
            raise DeviceError(f"{self._path} sends statistics already", hint="stop it before starting again")
        while not self._heard.empty():
            self._heard.get_nowait()
        self._heard_ns = self._clock.now_ns()
        with self._words("be started"):
            if self._model == "js110":
                for signal in "ivp":
                    self._tell(f"s/{signal}/ctrl", "on")
            self._tell(COUNT, self._window_samples)
            self._driver.subscribe(f"{self._path}/{STATISTICS}", "pub", self._hear)
            self._driver.subscribe("@", "pub", self._notice)
            self._tell(CONTROL, 1)
        self._sampling, self._calibrated, self._pending = True, False, None

    def _hear(self, topic: str, value: Mapping[str, Any]) -> None:
        """In the package's thread."""
        self._heard.put((self._clock.now_ns(), value))

    def _notice(self, topic: str, value: Any) -> None:
        if topic.endswith("!remove") and value == self._path:
            self._gone = True

    def step(self, until_ns: int) -> Block | None:
        """What has come until host time `until_ns`. What came before a failure is returned and the failure raised by
        the next call."""
        self._opened()
        self._raise_pending()
        if not self._sampling:
            return None
        got: list[tuple[Row, int]] = []
        try:
            self._gather(got, until_ns)
            self._require_heard()
        except BenchError as error:
            self._pending = error
        block = self._block(got)
        if block is None:
            self._raise_pending()
        return block

    def stop(self) -> Block | None:
        """Stop the statistics and return what was still under way."""
        self._opened()
        self._raise_pending()
        if not self._sampling:
            return None
        self._silence()
        got: list[tuple[Row, int]] = []
        self._gather(got, self._clock.now_ns())
        return self._block(got)

    def close(self) -> None:
        """Stop the statistics if that is still possible, and let go of the instrument; its settings stay."""
        driver, path = self._driver, self._path
        if driver is None:
            return
        with contextlib.suppress(BenchError):
            if self._sampling:
                self._silence()
        self._driver, self._sampling = None, False
        with contextlib.suppress(Exception):  # gone, or never opened: there is nothing left to let go of
            if path:
                driver.close(path)
        with contextlib.suppress(Exception):
            driver.finalize()

    def _silence(self) -> None:
        self._sampling = False
        with self._words("be stopped"):
            self._tell(CONTROL, 0)
            self._driver.unsubscribe(f"{self._path}/{STATISTICS}", self._hear)
            self._driver.unsubscribe("@", self._notice)

    # --- reading ----------------------------------------------------------------------------------

    def _gather(self, got: list[tuple[Row, int]], until_ns: int) -> None:
        while True:
            left_ns = until_ns - self._clock.now_ns()
            wait_s = 0.0 if self._clock.virtual else max(0.0, min(READ_S, left_ns / NS_PER_S))
            try:
                arrival_ns, value = self._heard.get(timeout=wait_s) if wait_s else self._heard.get_nowait()
            except queue.Empty:
                if self._clock.virtual or left_ns <= 0:
                    return
                continue
            self._heard_ns = arrival_ns
            row = self._codec.feed(value)
            if row is not None:
                got.append((row, arrival_ns))

    def _require_heard(self) -> None:
        if self._gone:
            raise DeviceError(f"{self._path} was unplugged", hint="plug it in again, then run again")
        silent_ns = self._clock.now_ns() - self._heard_ns
        if silent_ns > NS_PER_S * max(SILENT_S, SILENT_WINDOWS / self._options.rate_hz):
            raise TransientError(
                f"{self._path} has sent no statistics for {silent_ns * 1e-9:.1f} s",
                hint="close other programs that use it, plug it in again, run again",
            )

    def _block(self, got: list[tuple[Row, int]]) -> Block | None:
        gaps, counts = self._codec.take()
        if not got and not gaps and not counts:
            return None
        pieces = []
        if got and not self._calibrated:
            self._calibrated = True
            pieces = [CalibrationPiece(0, COLUMN, 0, got[0][0].scale_j, 0.0)]
        return Block(
            t_ns=np.array([row.t_ns for row, _ in got], np.int64),
            columns={COLUMN: np.array([row.raw for row, _ in got], np.int64)},
            calibration=pieces, gaps=gaps, counts=counts,
            anchors=np.array([(row.t_ns, t) for row, t in got], np.int64).reshape(-1, 2),
        )  # fmt: skip

    # --- the package ------------------------------------------------------------------------------

    def _ask(self, topic: str) -> Any:
        return self._driver.query(f"{self._path}/{topic}")

    def _tell(self, topic: str, value: Any) -> None:
        self._driver.publish(f"{self._path}/{topic}", value)

    @contextlib.contextmanager
    def _words(self, what: str) -> Any:
        """The package's errors (RuntimeError, TimeoutError) as ours."""
        try:
            yield
        except TimeoutError as error:
            raise TransientError(f"the Joulescope {self._path} cannot {what}: {error}", hint="run again") from error
        except (RuntimeError, OSError) as error:
            raise DeviceError(
                f"the Joulescope {self._path} cannot {what}: {error}",
                hint="close other programs that use it; install the maker's udev rules; plug it in again",
            ) from error

    def _opened(self) -> None:
        if self._driver is None:
            raise DeviceError("the Joulescope is not open", hint="call open() first")

    def _raise_pending(self) -> None:
        error, self._pending = self._pending, None
        if error is not None:
            raise error
