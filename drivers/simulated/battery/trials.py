"""Faults of a battery as a meter, played in virtual time on its files."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from drivers.battery.onboard import open_on_board
from drivers.simulated.battery import simulator
from drivers.simulated.battery.gauge import KINDS, Gauge
from harness.boards.state.files import LocalFiles
from harness.core.clock import HOST
from harness.core.ports import MeterRequest, RawSamples
from harness.core.trace import Block
from harness.testing.faults import BEGIN_NS, FaultTrial, Recorded, Scene

METER, SCALE = "battery", 30.0
NS = 1_000_000_000
UPDATE_S = 2.0
Values = dict[str, "bytes | int"]
Spoil = Callable[[Values, float, Scene], None]


def _nothing(values: Values, share: float, scene: Scene) -> None:
    """No fault."""


@dataclass(frozen=True)
class Play:
    """One recording. `spoil(values, share of the scene, scene)` changes what the files give in a pass (errno: a failed
    read); `stands`: shares between which the gauge is not renewed; `options` go to the driver."""

    kind: str = "energy"
    channel: str = "energy"
    spoil: Spoil = _nothing
    options: Mapping[str, str | int | float] = field(default_factory=dict)
    update_s: float = UPDATE_S
    gain: float = 1.0
    stands: tuple[float, float] = (2.0, 2.0)

    def __call__(self, scene: Scene) -> Recorded:
        gauge = Gauge(
            lambda t_s: float(_energy_j(scene, t_s)), KINDS[self.kind], update_s=self.update_s, gain=self.gain
        )
        with tempfile.TemporaryDirectory(prefix="joulebench-battery-") as folder:
            tree = simulator(Path(folder), self.kind)
            options = {"update_s": UPDATE_S, "period_s": 0.25, **self.options}
            request = MeterRequest(METER, options, ((self.channel, "battery"),), tree.root, simulated=True)
            meter = open_on_board(request)
            info, plan = meter.prepare(LocalFiles(), clock=HOST)
        names = [Path(path).name for path in plan.files]
        blocks: list[Block | None] = []
        rows: list[tuple[int, tuple[bytes | int, ...]]] = []
        for k in range(int(scene.duration_s / plan.period_s) + 8):
            t_s = k * plan.period_s
            rows.append((BEGIN_NS + round(t_s * NS), self._pass(gauge, names, t_s, scene)))
            if len(rows) == 64:
                blocks.append(meter.decode(_raw(rows)))
                rows = []
        blocks.append(meter.decode(_raw(rows)))
        blocks.append(meter.finish())
        return Recorded(info, [block for block in blocks if block is not None], self.channel)

    def _pass(self, gauge: Gauge, names: Sequence[str], t_s: float, scene: Scene) -> tuple[bytes | int, ...]:
        share = t_s / scene.duration_s
        begin, end = self.stands
        shown_s = begin * scene.duration_s if begin <= share < end else t_s
        values: Values = {name: b"%d\n" % value for name, value in gauge.fields(shown_s).items()}
        values["status"] = b"Discharging\n"
        self.spoil(values, share, scene)
        return tuple(values[name] for name in names)


def _energy_j(scene: Scene, t_s: float) -> float:
    return float(scene.energy_j(np.array([t_s]))[0])


def _raw(rows: Sequence[tuple[int, tuple[bytes | int, ...]]]) -> RawSamples:
    begin = np.array([t_ns for t_ns, _ in rows], np.int64)
    return RawSamples(begin, begin + 400_000, tuple(values for _, values in rows))


def _shifted(values: Values, name: str, by: int) -> None:
    text = values[name]
    assert isinstance(text, bytes)
    values[name] = b"%d\n" % (int(text) + by)


def _charger(values: Values, share: float, scene: Scene) -> None:
    """Somebody plugs the charger in during the work, for a twentieth of the scene; the battery gains energy."""
    if 0.5 <= share < 0.55:
        values["status"] = b"Charging\n"
    if share >= 0.5:
        _shifted(values, "energy_now", round(400_000 * min(share - 0.5, 0.05) / 0.05 // 10_000) * 10_000)


def _full(values: Values, share: float, scene: Scene) -> None:
    """On mains from the first to the last moment."""
    values["status"] = b"Not charging\n"
    values["power_now"] = b"0\n"


def _taken_out(values: Values, share: float, scene: Scene) -> None:
    """It is taken out and put in again; the gauge starts from what it remembers."""
    if 0.4 <= share < 0.45:
        values.update(dict.fromkeys(values, errno.ENODEV))
    elif share >= 0.45:
        _shifted(values, "energy_now", -3_000_000)


def _unreadable(values: Values, share: float, scene: Scene) -> None:
    if 0.4 <= share < 0.45:
        values["energy_now"] = errno.EIO


def _no_number(values: Values, share: float, scene: Scene) -> None:
    if int(share * 1000) % 5 == 0:
        values["power_now"] = b"\n"


def _corrected(values: Values, share: float, scene: Scene) -> None:
    """The gauge corrects itself in the middle of the work: 2 Wh less from one moment to the next."""
    if share >= 0.5:
        _shifted(values, "energy_now", -2_000_000)


def _risen(values: Values, share: float, scene: Scene) -> None:
    """The other way: 0.5 Wh more, though it discharges."""
    if share >= 0.5:
        _shifted(values, "energy_now", 500_000)


def _zero(values: Values, share: float, scene: Scene) -> None:
    if 0.4 <= share < 0.44:
        values["power_now"] = b"0\n"


def _sign(values: Values, share: float, scene: Scene) -> None:
    if 0.5 <= share < 0.54:
        text = values["current_now"]
        assert isinstance(text, bytes)
        values["current_now"] = b"%d\n" % -int(text)


def _coarse(values: Values, share: float, scene: Scene) -> None:
    """A gauge that counts in half watt-hours."""
    text = values["energy_now"]
    assert isinstance(text, bytes)
    values["energy_now"] = b"%d\n" % (int(text) // 500_000 * 500_000)


def trials() -> Sequence[FaultTrial]:
    """All named faults of a battery."""
    table: Sequence[tuple[str, str, Play]] = (
        ("none", "no fault, the energy counter", Play()),
        ("none_power", "no fault, the power", Play(channel="power")),
        ("none_charge", "no fault, charge times voltage", Play("charge")),
        ("negative_current", "a discharge is a negative current", Play("negative", "power")),
        ("charger", "the charger is plugged in", Play(spoil=_charger)),
        ("on_mains", "it never discharges", Play(channel="power", spoil=_full)),
        ("unplug_replug", "it is taken out and put in again", Play(spoil=_taken_out)),
        ("unreadable", "reads fail", Play(spoil=_unreadable)),
        ("no_number", "an empty file", Play(channel="power", spoil=_no_number)),
        ("corrected", "the gauge corrects itself downwards", Play(spoil=_corrected)),
        ("risen", "the gauge corrects itself upwards", Play(spoil=_risen)),
        ("zero_power", "power reads 0", Play(channel="power", spoil=_zero)),
        ("sign_flip", "the current changes its sign", Play("fine", "power", _sign)),
        ("stuck", "the gauge is not renewed", Play(channel="power", stands=(0.3, 0.5))),
        ("stuck_counter", "the counter is not renewed", Play(stands=(0.3, 0.5))),
        ("wrong_pace", "updates slower than declared", Play(channel="power", update_s=10.0)),
        ("coarse", "steps of half a watt-hour", Play(spoil=_coarse)),
    )
    made = [FaultTrial(METER, fault, what, play, SCALE) for fault, what, play in table]
    return [*made, FaultTrial(METER, "wrong_scale", "a gauge that reads 12 % high", Play(gain=1.12), SCALE, True)]
