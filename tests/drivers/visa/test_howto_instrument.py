"""The how-to on describing an instrument: its example is the file that it shows, and works; its table is right."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drivers.visa.description import load_description, shipped_paths
from drivers.visa.meter import open_meter
from harness.core.errors import DeviceError, TransientError
from harness.core.ports import MeterRequest
from harness.core.trace import Trace, join_blocks
from harness.core.waiting import NS_PER_S, VirtualClock
from harness.io.visa_line import LineSettings, VisaLine

ROOT = Path(__file__).resolve().parents[3]
EXAMPLE = ROOT / "docs/examples/instrument"
PAGE = (ROOT / "docs/howto/describe-an-instrument.md").read_text("utf-8")


def stand_in() -> Any:
    spec = importlib.util.spec_from_file_location("stand_in", EXAMPLE / "stand_in.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.StandIn()


class Line:
    """The stand-in at the end of a line in virtual time; an answer takes 5 ms."""

    def __init__(self, device: Any, clock: VirtualClock) -> None:
        self._device, self._clock = device, clock
        self._waiting: list[str] = []

    def __call__(self, resource: str, settings: LineSettings) -> VisaLine:
        assert settings.read_end == b"\r\n" and settings.pause_s == 0.01
        return self

    def write(self, message: str) -> None:
        self._clock.sleep_until(self._clock.now_ns() + 5_000_000)
        answer = self._device.answer(message, self._clock.now_ns() / NS_PER_S)
        self._waiting += [] if answer is None else [answer]

    def read(self, timeout_s: float | None = None) -> bytes:
        if not self._waiting:
            raise TransientError("no answer")
        return self._waiting.pop(0).encode()

    def drain(self) -> int:
        self._waiting.clear()
        return 0

    def close(self) -> None:
        self._waiting.clear()


def read(seconds: float, **options: str | int | float) -> tuple[Trace, Any]:
    clock, device = VirtualClock(), stand_in()
    given = {"resource": "TCPIP0::x::9221::SOCKET", "description": str(EXAMPLE / "mx180tp.yaml")} | options
    meter = open_meter(MeterRequest("psu", given, visa=Line(device, clock), simulated=True), clock=clock)
    info = meter.open()
    meter.start()
    end_ns = clock.now_ns() + round(seconds * NS_PER_S)
    blocks = [meter.step(end_ns), meter.stop()]
    meter.close()
    return join_blocks(info, [block for block in blocks if block is not None]), device


def test_the_page_shows_the_file() -> None:
    (shown,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    assert shown == (EXAMPLE / "mx180tp.yaml").read_text("utf-8")
    count = len(shown.splitlines())
    assert f"), {count} lines; the project's tests run it" in PAGE
    assert f"is {round(len((EXAMPLE / 'stand_in.py').read_text('utf-8').splitlines()), -1)} lines" in PAGE


def test_the_example_reads_volts_times_amperes_once_for_each_renewal() -> None:
    trace, device = read(20.0)
    power = trace.power_w("power")
    expected = [12.003 * device.load_a(np.floor(t * 4) / 4) for t in (trace.t_ns / NS_PER_S + 0.03)]
    assert power == pytest.approx(np.array(expected), abs=12.003 * 6e-4)
    assert len(trace) in (79, 80) and not trace.gaps and not trace.counts


def test_another_output_is_asked_by_its_own_name() -> None:
    trace, _ = read(2.0, output=2)
    assert trace.info.details["option:output"] == "2"
    assert trace.power_w("power").tolist() == [0.0] * len(trace)  # it supplies nothing, and says so


def test_an_instrument_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    text = (EXAMPLE / "mx180tp.yaml").read_text("utf-8").replace("MX180TP?)", "QL355P)")
    (tmp_path / "other.yaml").write_text(text, "utf-8")
    with pytest.raises(DeviceError, match="answers 'THURLBY THANDAR, MX180TP"):
        read(1.0, description=str(tmp_path / "other.yaml"))


def test_the_table_counts_every_shipped_description() -> None:
    rows = dict(re.findall(r"^\| `([\w]+)` \| (\d+) \| (?:polled|buffered)", PAGE, re.MULTILINE))
    counted = {}
    for path in shipped_paths():
        load_description(path)
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip() and line.strip()[0] != "#"]
        counted[path.stem] = len(lines)
    assert rows.keys() == counted.keys()
    assert {name: int(said) for name, said in rows.items()} == pytest.approx(counted, abs=5)  # it says about
