"""Our own driver and analysis on the same wire: the shipped meter records the scene, harness.testing judges it."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).parents[3])]

from wire import Peer, serve  # noqa: E402

from benchmarks.peers.powercap_world import SCENE  # noqa: E402
from harness.core.ports import MeterRequest  # noqa: E402
from harness.core.trace import Block  # noqa: E402
from harness.registry import open_meter  # noqa: E402
from harness.testing.fault_matrix import judge  # noqa: E402
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene  # noqa: E402


class SceneClock:
    """CLOCK_MONOTONIC, moved so that the scene begins at BEGIN_NS."""

    virtual = False
    origin_ns = 0

    def now_ns(self) -> int:
        return time.monotonic_ns() - self.origin_ns + BEGIN_NS

    def sleep_until(self, t_ns: int) -> None:
        while (left_ns := t_ns - self.now_ns()) > 0:
            time.sleep(left_ns / 1e9)


class JumpingClock:
    """Waits in no time, so that only reading is timed."""

    virtual = True
    _now_ns = 1_000_000_000

    def now_ns(self) -> int:
        return self._now_ns

    def sleep_until(self, t_ns: int) -> None:
        self._now_ns = max(self._now_ns, t_ns)


class Joulebench(Peer):
    """Arguments: driver, channel, times the usual power, option=value ...; behind `begin`: when the scene began."""

    readings_a_call = 50

    def __init__(self, arguments: list[str]) -> None:
        driver, self._channel, factor, *words = arguments
        self._factor = float(factor)
        options: dict[str, str | int | float] = {}
        for word in words:
            name, _, value = word.partition("=")
            options[name] = float(value) if value.replace(".", "").isdigit() else value
        self._clock = SceneClock()
        rails = ((self._channel, self._channel),)
        self._driver, self._request = driver, MeterRequest("trial", options, rails=rails)
        self._meter = open_meter(driver, self._request, self._clock)
        self._info = self._meter.open()
        self._blocks: list[Block | None] = []
        self._error: BaseException | None = None

    def begin(self) -> None:
        if self.words == ("0",):
            self._for_cost()
            return
        self._clock.origin_ns = round(float(self.words[0]) * 1e9)
        self._thread = threading.Thread(target=self._record, daemon=True)
        self._thread.start()

    def _for_cost(self) -> None:
        """The same meter on a clock that does not wait."""
        self._meter.close()
        self._costed = JumpingClock()
        self._costed_meter = open_meter(self._driver, self._request, self._costed)
        self._costed_meter.open()
        self._costed_meter.start()
        self._period_ns = round(getattr(self._costed_meter, "poll_s", 0.01) * 1e9)

    def _record(self) -> None:
        end_ns = BEGIN_NS + round(SCENE.duration_s * 1e9)
        try:
            self._meter.start()
            while self._clock.now_ns() < end_ns:
                self._blocks.append(self._meter.step(min(end_ns, self._clock.now_ns() + 250_000_000)))
            self._blocks.append(self._meter.stop())
        except BaseException as error:  # noqa: BLE001  # it is raised again where it is asked for
            self._error = error

    def end(self) -> dict[str, Any]:
        self._thread.join()
        judged = judge(
            FaultTrial("ours", "peers", "as the peers", self._play, scale=SCENE.scale, load_factor=self._factor)
        )
        return {"judged": judged.to_json()}

    def _play(self, _scene: Scene) -> Recorded:
        if self._error is not None:
            raise self._error
        return Recorded(self._info, [block for block in self._blocks if block is not None], self._channel)

    def read(self) -> Any:
        """A block of readings, in a time that jumps from each to the next."""
        until_ns = self._costed.now_ns() + self.readings_a_call * self._period_ns
        return self._costed_meter.step(until_ns)


serve(Joulebench)
