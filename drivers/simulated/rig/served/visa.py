"""A bench instrument behind a TCP socket: an analyser at the wall or the DC input, a supply or a multimeter there."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from drivers.simulated.rig.mains import DcInput, Wall
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.port import Kind, Touched
from drivers.simulated.visa import INSTRUMENTS, Front, TcpServer, simulator
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import MeterRequest
from harness.core.spec import MeterBinding

PLANES = {"wall": Wall, "dc_input": DcInput}


class ServedInstrument:
    """The instrument, what its terminals see, and its server; the port is told in a file."""

    def __init__(self, rig: Rig, binding: MeterBinding, folder: Path, touched: Touched) -> None:
        name = instrument_of(binding)
        if binding.plane not in PLANES:
            raise SpecError(
                f"meter {binding.name!r}: the simulated bench has no instrument at the plane {binding.plane!r}",
                hint=f"with --sim use {' or '.join(PLANES)}",
            )
        now_ns = time.monotonic_ns()
        self._source = PLANES[binding.plane](rig, now_ns)
        self.truth: dict[str, Any] = {"plane": binding.plane}
        if isinstance(self._source, Wall):
            self.truth |= {"efficiency": self._source.efficiency, "constant_w": self._source.constant_w}
        world, (_, sheet) = rig.world.meter(binding.name), INSTRUMENTS[name]
        front = Front(
            self._source,
            amps_gain=sheet.gain_rel * world.gain_over_spec,
            amps_zero=sheet.zero_a * world.zero_over_spec,
            noise_rel=sheet.noise_rel,
            clock_ppm=1e6 * world.clock_limit * world.clock_rate,
            seed=rig.world.seed,
        )
        self._server = TcpServer(simulator(name, self._source, begin_ns=now_ns, front=front), touched=touched)
        _port(binding, folder).write_text(f"{self._server.resource}\n", encoding="utf-8")

    def close(self) -> None:
        self._server.close()
        self._source.close()


def instrument_of(binding: MeterBinding) -> str:
    """The instrument that the bench names. SpecError if there is no simulated one."""
    name = str(dict(binding.options).get("instrument", ""))
    if name not in INSTRUMENTS:
        raise SpecError(
            f"meter {binding.name!r}: instrument {name!r} has no simulator on the simulated bench",
            hint=f"with --sim set option instrument to {', '.join(sorted(INSTRUMENTS))}",
        )
    return name


def _port(binding: MeterBinding, folder: Path) -> Path:
    return folder / f"visa-{binding.name}"


def _reach(binding: MeterBinding, folder: Path) -> MeterRequest:
    try:
        resource = _port(binding, folder).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise DeviceError(f"the simulated bench does not serve {binding.name!r}: {error}", hint="run again") from error
    options = {**dict(binding.options), "resource": resource, "backend": "@py"}
    return MeterRequest(name=binding.name, options=options, rails=binding.rails, simulated=True)


KIND = Kind(ServedInstrument, _reach)
