"""An instrument behind the package's topics. Its wire lies within the maker's native library, so this is the one
simulator that does not sit below a wire: it stands in for the package's class Driver and speaks its published topics.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from harness.core.clock import FloatArray
from harness.core.waiting import VirtualClock

NS = 1e9
ENERGY_SCALE, CHARGE_SCALE = 2.0**-27, 2.0**-31
USB_NS = 2_000_000
Energy = Callable[[FloatArray], FloatArray]


@dataclass
class Instrument:
    """One instrument. `energy_j`: host times in ns (K,) -> true joules so far; `spoil(value, k)`: what goes wrong with
    the k-th message (None: it is lost)."""

    energy_j: Energy
    clock: VirtualClock
    path: str = "u/js220/000415"
    sample_hz: float = 1e6
    supply_v: float = 5.0
    clock_rel: float = 0.0
    gain: float = 1.0
    settings: dict[str, Any] = field(default_factory=lambda: {"s/i/range/mode": "auto", "s/i/range/select": "auto"})
    spoil: Callable[[dict[str, Any], int], dict[str, Any] | None] = lambda value, k: value
    gone_at_ns: int | None = None
    refuses: str = ""

    def __post_init__(self) -> None:
        self._begun_ns = self.clock.now_ns()
        self._subscribers: dict[str, list[Callable[[str, Any], None]]] = {}
        self._last = self.accum = 0
        self._stop: Callable[[], None] | None = None
        self._sent = 0
        self._origin_j = float(self.energy_j(np.array([float(self._begun_ns)]))[0])
        self._told = False

    # --- as the package has it --------------------------------------------------------------------

    def open(self, path: str, mode: str) -> None:
        if self.refuses or path != self.path:
            raise RuntimeError(self.refuses or f"jsdrv_open {path} failed: NOT_FOUND")
        if mode != "restore":
            self.settings |= {"s/i/range/mode": "off"}  # as shipped: the board loses its power

    def publish(self, topic: str, value: Any) -> None:
        self._require()
        name = topic.removeprefix(f"{self.path}/")
        self.settings[name] = value
        if name == "s/stats/ctrl":
            self._switch(on=value in (1, "on"))

    def query(self, topic: str) -> Any:
        self._require()
        name = topic.removeprefix(f"{self.path}/")
        if name == "c/fw/version":
            return "1.3.0"
        return self.settings.get(name, 0)

    def subscribe(self, topic: str, flags: str, fn: Callable[[str, Any], None]) -> None:
        self._subscribers.setdefault(topic, []).append(fn)

    def unsubscribe(self, topic: str, fn: Callable[[str, Any], None]) -> None:
        with contextlib.suppress(ValueError):
            self._subscribers.get(topic, []).remove(fn)

    def unsubscribe_all(self) -> None:
        self._subscribers.clear()

    def _require(self) -> None:
        if self.gone_at_ns is not None and self.clock.now_ns() >= self.gone_at_ns:
            raise RuntimeError("jsdrv_publish failed: UNAVAILABLE")

    # --- what it does -----------------------------------------------------------------------------

    def left_on(self) -> None:
        """Somebody left its statistics on."""
        self.settings["s/stats/ctrl"] = 1

    def _switch(self, *, on: bool) -> None:
        if self._stop is not None:
            self._stop()
            self._stop = None
        if on:
            window = int(self.settings.get("s/stats/scnt", 10_000))
            self._last = self._sample(self.clock.now_ns()) // window * window
            self._stop = self.clock.subscribe(self._move, period_ns=1_000_000)

    def _sample(self, now_ns: float) -> int:
        return int((now_ns - self._begun_ns) * 1e-9 * self.sample_hz * (1 + self.clock_rel))

    def _host_ns(self, sample: int) -> float:
        return self._begun_ns + sample / (self.sample_hz * (1 + self.clock_rel)) * NS

    def _joule(self, sample: int) -> float:
        return self.gain * (float(self.energy_j(np.array([self._host_ns(sample)]))[0]) - self._origin_j)

    def _move(self, now_ns: int) -> None:
        if self.gone_at_ns is not None and now_ns >= self.gone_at_ns:
            if not self._told:
                self._told = True
                for fn in list(self._subscribers.get("@", [])):
                    fn("@/!remove", self.path)
            return
        window = int(self.settings.get("s/stats/scnt", 10_000))
        while self._last + window <= self._sample(now_ns - USB_NS):
            begin, self._last = self._last, self._last + window
            message = self.spoil(self._value(begin, self._last), self._sent)
            self._sent += 1
            if message is not None:
                for fn in list(self._subscribers.get(f"{self.path}/s/stats/value", [])):
                    fn(f"{self.path}/s/stats/value", message)

    def _value(self, begin: int, end: int) -> dict[str, Any]:
        seconds = (end - begin) / self.sample_hz
        joule = self._joule(end) - self._joule(self.accum)
        power = (self._joule(end) - self._joule(begin)) / seconds
        counts = round(joule / ENERGY_SCALE)
        amps = {"avg": power / self.supply_v, "std": 0.0, "min": power / self.supply_v, "max": power / self.supply_v}
        return {
            "time": {
                "samples": {"value": [begin, end], "units": "samples"},
                "sample_freq": {"value": self.sample_hz, "units": "Hz"},
                "range": {"value": [begin / self.sample_hz, end / self.sample_hz], "units": "s"},
                "delta": {"value": seconds, "units": "s"},
                "accum_samples": {"value": [self.accum, end], "units": "samples"},
            },
            "signals": {
                "current": {name: {"value": value, "units": "A"} for name, value in amps.items()},
                "voltage": {"avg": {"value": self.supply_v, "units": "V"}},
                "power": {"avg": {"value": power, "units": "W"}, "integral": {"value": power * seconds, "units": "J"}},
            },
            "accumulators": {
                "charge": {
                    "value": joule / self.supply_v, "units": "C",
                    "int_value": round(joule / self.supply_v / CHARGE_SCALE), "int_scale": CHARGE_SCALE,
                },
                "energy": {
                    "value": counts * ENERGY_SCALE, "units": "J", "int_value": counts, "int_scale": ENERGY_SCALE,
                },
            },
        }  # fmt: skip


def simulator(*instruments: Instrument) -> Callable[[], Any]:
    """What stands in for the class pyjoulescope_driver.Driver: calling it gives a driver of these instruments
    (`joulebench.simulators`)."""

    class Driver:
        def device_paths(self) -> list[str]:
            return [i.path for i in instruments if i.gone_at_ns is None or i.clock.now_ns() < i.gone_at_ns]

        def open(self, path: str, mode: str = "defaults") -> None:
            self._of(path).open(path, mode)

        def close(self, path: str) -> None:
            self._of(path).unsubscribe_all()

        def publish(self, topic: str, value: Any) -> None:
            self._of(topic).publish(topic, value)

        def query(self, topic: str) -> Any:
            return self._of(topic).query(topic)

        def subscribe(self, topic: str, flags: str, fn: Callable[[str, Any], None]) -> None:
            for instrument in instruments if topic == "@" else [self._of(topic)]:
                instrument.subscribe(topic, flags, fn)

        def unsubscribe(self, topic: str, fn: Callable[[str, Any], None]) -> None:
            for instrument in instruments if topic == "@" else [self._of(topic)]:
                instrument.unsubscribe(topic, fn)

        def finalize(self) -> None:
            pass

        def _of(self, topic: str) -> Instrument:
            for instrument in instruments:
                if topic.startswith(instrument.path):
                    return instrument
            raise RuntimeError(f"jsdrv: {topic}: NOT_FOUND")

    return Driver
