"""The shipped driver over pyvisa, real sockets and a pseudo-terminal: blocks with ends in them, in real time."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np
import pytest

from drivers.simulated.ina219.ports import PtyServer
from drivers.simulated.visa import Instrument, TcpServer, Wire, constant, simulator
from drivers.visa.meter import open_meter
from harness.core.errors import DeviceError
from harness.core.ports import MeterRequest
from harness.core.trace import MeterInfo, Trace, join_blocks
from harness.core.waiting import NS_PER_S

pytestmark = pytest.mark.realtime
pytest.importorskip("pyvisa_py", reason="the extra `visa` is not installed")

OPTIONS: dict[str, dict[str, str | int | float]] = {
    "ngu": {"current_range": 1},  # definite blocks of 20 kB
    "n6705": {"current_range": 3, "update_s": 0.0005},
    "dmm6500": {"current_range": 1, "update_s": 0.0005},  # indefinite blocks
    "sdm3055": {"current_range": 2, "update_s": 0.05, "aperture_s": 0.02},
    "2281s": {},
    "dp800": {},
}


@contextlib.contextmanager
def on_wire(name: str, kind: str) -> Iterator[tuple[Instrument, str, object]]:
    begin_ns = time.monotonic_ns()
    sim = simulator(name, constant(2.0, 5.0, begin_ns=begin_ns), begin_ns=begin_ns, seed=2)
    server = TcpServer(sim) if kind == "tcp" else PtyServer(Wire(sim))
    try:
        yield sim, server.resource if isinstance(server, TcpServer) else f"ASRL{server.path}::INSTR", server
    finally:
        server.close()


def read(name: str, resource: str, seconds: float) -> tuple[MeterInfo, Trace]:
    request = MeterRequest("m", {"resource": resource, "instrument": name} | OPTIONS[name], simulated=True)
    meter = open_meter(request)
    try:
        info = meter.open()
        meter.start()
        blocks = [meter.step(time.monotonic_ns() + round(seconds * NS_PER_S)), meter.stop()]
    finally:
        meter.close()
    return info, join_blocks(info, [block for block in blocks if block is not None])


@pytest.mark.parametrize(
    ("name", "kind"),
    [("ngu", "tcp"), ("n6705", "tcp"), ("dmm6500", "tcp"), ("sdm3055", "tcp"), ("2281s", "pty"), ("dp800", "pty")],
)
def test_readings_come_whole_over_a_real_line(name: str, kind: str) -> None:
    with on_wire(name, kind) as (_, resource, _server):
        info, trace = read(name, resource, 1.2)
    (channel,) = info.channels
    assert info.details["backend"] == "@py" and info.details["resource"] == resource
    assert channel.accuracy is not None
    limit_w = channel.accuracy.gain_rel * 2.0 + channel.accuracy.offset_w
    assert np.mean(trace.power_w("power")) == pytest.approx(2.0, abs=limit_w)
    assert not trace.gaps and "damaged_answers" not in trace.counts
    assert len(trace) > 0.5 / (channel.reading.period_ns * 1e-9)


def test_a_cable_that_is_pulled_is_a_device_that_is_gone() -> None:
    with on_wire("n6705", "tcp") as (_, resource, server):
        meter = open_meter(
            MeterRequest("m", {"resource": resource, "instrument": "n6705"} | OPTIONS["n6705"], simulated=True)
        )
        meter.open()
        meter.start()
        meter.step(time.monotonic_ns() + NS_PER_S // 5)
        assert isinstance(server, TcpServer)
        server.cut()
        with pytest.raises(DeviceError, match="is lost"):
            for _ in range(3):
                meter.step(time.monotonic_ns() + NS_PER_S // 5)
        meter.close()
