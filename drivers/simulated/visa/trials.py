"""What can go wrong with a power analyser in the mains: each fault played in virtual time (`joulebench.faults`).

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from drivers.simulated.visa.bench import At, Bench, Setup, Supply, running_fast, scaled
from drivers.simulated.visa.instrument import Instrument
from drivers.simulated.visa.lines import Spoil
from harness.testing.faults import FaultTrial, Recorded, Scene

Play = Callable[[Scene], Recorded]
LOAD_FACTOR = 50  # the scene at 100 W and 250 W
MAINS = Supply(230.0, 50.0, power_factor=0.6)
WT310 = Setup("wt310", {"update_s": 0.1, "voltage_range": 300, "current_range": 2}, supply=MAINS)
WT5000 = Setup("wt5000", {"update_s": 0.05, "voltage_range": 300, "current_range": 2}, scale=0.25, supply=MAINS)
PA1000 = Setup(
    "pa1000",
    {"voltage_range": 500, "current_range": 10},
    resource="TCPIP0::bench.lab::5025::SOCKET",
    scale=2.0,
    supply=MAINS,
)
HMC8015 = Setup("hmc8015", {"voltage_range": 300, "current_range": 2}, supply=MAINS)
SLOW_NS = 200_000_000
LATE_NS = 3_500_000_000


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`."""
    return (*wt310_trials(), *wt5000_trials(), *pa1000_trials(), *hmc8015_trials())


AVERAGING = (":MEAS:AVER:TYPE EXP;COUN 64", ":MEAS:AVER:STAT ON")
SCALING = (":INP:SCAL:CT 20", ":INP:SCAL:STAT ON")


class Trials:
    """Trials of one instrument in one setup."""

    def __init__(self, setup: Setup, load_factor: float = LOAD_FACTOR) -> None:
        self.setup, self.load_factor = setup, load_factor

    def trial(self, fault: str, what: str, *, stall: tuple[float, float] | None = None, **bench: Any) -> FaultTrial:
        setup = bench.pop("setup", self.setup)
        judged = {name: bench.pop(name) for name in ("constant_scale", "within_stated") if name in bench}

        def play(scene: Scene) -> Recorded:
            given = {name: of_scene(scene) if name == "volts" else of_scene for name, of_scene in bench.items()}
            return Bench(scene, setup, **given).record(stall=stall)

        name = f"visa-{self.setup.instrument}"
        return FaultTrial(name, fault, what, play, scale=setup.scale, load_factor=self.load_factor, **judged)

    def of_the_line(self, without: Sequence[str] = ()) -> Sequence[FaultTrial]:
        """What any instrument's line does, but those `without`."""
        slow: At = [(0.3, _slowed(SLOW_NS)), (0.6, _slowed(0))]
        late: At = [(0.3, _slowed(LATE_NS)), (0.31, _slowed(0))]
        played = (
            self.trial("none", "nothing goes wrong"),
            self.trial("unplugged", "the line is cut during the work", gone_at=0.5),
            self.trial("silent", "it answers no more", events=[(0.4, _dies)]),
            self.trial("replies_lost", "one reply in 40 is lost", spoil=_lost(40)),
            self.trial(
                "reply_late", "a reply comes after the time-out; it could be taken for the next one", events=late
            ),
            self.trial("slow_replies", "for a while it takes 0.2 s to answer", events=slow),
            self.trial("cut_replies", "one reply in 50 is cut short", spoil=_cut(50)),
            self.trial("bit_flips", "one reply in 60 has a bit flipped", spoil=_flipped(60)),
            self.trial("host_stalls", "nobody reads for a third of the work", stall=(0.3, 0.65)),
            self.trial("another_instrument", "another instrument answers at the address", before=_another),
            self.trial("frozen", "it shows the same values for a third of the work", events=_frozen()),
            self.trial("droop", "the supply sags by 8 % while the board works", volts=self.droop),
            self.trial("clock_fast", "its clock runs 300 ppm fast", front=running_fast(300.0)),
            self.trial("wrong_scale", "it sees 8 % more current than flows", front=scaled(1.08), constant_scale=True),
        )
        return tuple(trial for trial in played if trial.fault not in without)

    def droop(self, scene: Scene) -> Callable[..., Any]:
        """Volts of the scene by time: 8 % less during the work."""
        begin, end = scene.edges_s
        return lambda t_s: np.where((t_s >= begin) & (t_s < end), 0.92, 1.0) * self.setup.supply.volts

    def panel(self, fault: str, what: str, *messages: str, at: float = 0.4, setup: Setup | None = None) -> FaultTrial:
        """Somebody at the instrument, or another program, sends it something during the work."""
        events: At = [(at, lambda bench: bench.front_panel(*messages))]
        return self.trial(fault, what, events=events, setup=setup or self.setup)


def wt310_trials() -> Sequence[FaultTrial]:
    """The analyser that says when its values are new, and integrates."""
    of = Trials(WT310)
    energy = replace(WT310, options={**WT310.options, "energy": 1}, channel="energy")
    small = replace(WT310, options={**WT310.options, "current_range": 0.5})
    small_e = replace(small, instrument="wt310", options={**small.options, "current_range": 0.2})
    hold: At = [(-0.2, _said(":HOLD ON")), (0.98, _said(":HOLD OFF"))]
    return (
        *of.of_the_line(),
        of.trial("integrator", "its integrator is read instead of its power", setup=energy),
        of.trial("old_errors", "its error queue is full of what another program did", before=_errors),
        of.trial("found_integrating", "another program was killed and left it integrating", before=_integrating),
        of.trial("old_grammar", "it was left in the command mode of the WT210", before=_heard(":SYST:COMM:COMM WT200")),
        of.trial("averaging_left_on", "somebody left averaging over 64 updates on", before=_heard(*AVERAGING)),
        of.trial("scaling_left_on", "somebody left it to multiply for a transformer", before=_heard(*SCALING)),
        of.trial("maximum_held", "somebody left maximum hold on", before=_heard(":MEAS:MHOL ON")),
        of.trial("reply_left", "a reply to another program lies in its queue", before=_heard(":INP:VOLT:RANG?")),
        of.panel("headers_on", "replies come with headers from the middle of the work on", ":COMM:HEAD ON"),
        of.panel("reset", "somebody resets it during the work", "*RST"),
        of.panel("range_changed", "somebody sets a larger range during the work", ":INP:CURR:RANG 20"),
        of.panel("range_too_small", "somebody sets a range that the work exceeds", ":INP:CURR:RANG 0.5"),
        of.panel("auto_range", "somebody switches auto range on", ":INP:CURR:AUTO ON;:INP:VOLT:AUTO ON"),
        of.panel("rate_changed", "somebody sets updates of 2 s", ":RATE 2S"),
        of.panel("items_changed", "another program asks for the apparent power", ":NUM:NORM:ITEM3 S,1"),
        of.panel("mode_changed", "somebody sets it to the rectified mean", ":INP:MODE VMEAN"),
        of.panel("binary", "another program sets the format to FLOAT", ":NUM:FORM FLOAT"),
        of.trial("held", "somebody presses HOLD during standby, and again at the end of the work", events=hold),
        of.trial("over_range", "the work is beyond the range that is fixed", setup=small),
        of.trial("far_over_range", "standby is beyond the range too", setup=small_e),
        of.panel("integrator_reset", "somebody begins the integral anew", ":INTEG:STOP;RES;STAR", setup=energy),
        of.panel("integrator_stopped", "somebody stops the integrator during the work", ":INTEG:STOP", setup=energy),
    )


def wt5000_trials() -> Sequence[FaultTrial]:
    """Updates of 50 ms, ranges by element."""
    of = Trials(WT5000)
    return (
        *of.of_the_line(),
        of.panel("headers_on", "replies come with headers from the middle of the work on", ":COMM:HEAD ON"),
        of.panel("range_changed", "somebody sets a larger range during the work", ":INP:CURR:RANG:ELEM1 20"),
        of.panel("range_too_small", "somebody sets a range that the work exceeds", ":INP:CURR:RANG:ELEM1 0.5"),
        of.panel("reset", "somebody resets it during the work", "*RST"),
    )


def pa1000_trials() -> Sequence[FaultTrial]:
    """Half a second an update, every command answered, no error queue."""
    of = Trials(PA1000)
    return (
        *of.of_the_line(),
        of.panel("zeroing", "auto zero is switched on and stops the results for a second", ":SYST:ZERO 1"),
        of.panel("range_too_small", "somebody sets a range that the work exceeds", ":RNG:AMP:FIX 2"),
        of.panel("results_changed", "another program selects other results", ":SEL:CLR", ":SEL:VLT", ":SEL:VAS"),
        of.panel("reset", "somebody resets it during the work", "*RST"),
    )


def hmc8015_trials() -> Sequence[FaultTrial]:
    """No word of when a value is new: a change says so."""
    of = Trials(HMC8015)
    return (
        *of.of_the_line(),
        of.panel("range_changed", "somebody sets a larger range during the work", "CHAN1:CURR:RANG 20"),
        of.panel("range_too_small", "somebody sets a range that the work exceeds", "CHAN1:CURR:RANG 0.5"),
        of.panel("items_changed", "another program asks for other items", "CHAN1:MEAS:FUNC IRMS,P,URMS"),
        of.panel("reset", "somebody resets it during the work", "*RST"),
    )


# --- what happens -------------------------------------------------------------------------------------


def _heard(*messages: str) -> Callable[[Instrument], None]:
    def act(instrument: Instrument) -> None:
        for message in messages:
            instrument.hear(message.encode(), instrument.now_ns)

    return act


_errors = _heard(*[":NO:SUCH:THING 1"] * 40)


def _integrating(instrument: Instrument) -> None:
    _heard(":INTEG:MODE NORMAL")(instrument)
    _heard(":INTEG:STAR")(instrument)


def _another(instrument: Instrument) -> None:
    instrument.says_it_is = "HEWLETT-PACKARD,34401A,0,11-5-2"


def _dies(bench: Bench) -> None:
    bench.instrument.dead = True


def _said(*messages: str) -> Callable[[Bench], None]:
    return lambda bench: bench.front_panel(*messages)


def _slowed(slow_ns: int) -> Callable[[Bench], None]:
    def act(bench: Bench) -> None:
        bench.instrument.slow_ns = slow_ns

    return act


def _frozen() -> At:
    def stick(*, stuck: bool) -> Callable[[Bench], None]:
        def act(bench: Bench) -> None:
            bench.instrument.updates.stuck = stuck  # type: ignore[attr-defined]

        return act

    return [(-0.1, stick(stuck=True)), (0.3, stick(stuck=False))]


def _lost(every: int) -> Callable[[Bench], Spoil]:
    return lambda bench: _Each(bench, every, lambda reply, k: None).spoil


def _cut(every: int) -> Callable[[Bench], Spoil]:
    return lambda bench: _Each(bench, every, lambda reply, k: reply[: len(reply) * (k % 7 + 1) // 9]).spoil


def _flipped(every: int) -> Callable[[Bench], Spoil]:
    def flip(reply: bytes, k: int) -> bytes:
        spoilt = bytearray(reply)
        if spoilt:
            spoilt[k * 7919 % len(spoilt)] ^= 1 << k * 31 % 7
        return bytes(spoilt)

    return lambda bench: _Each(bench, every, flip).spoil


class _Each:
    """Every so many replies during the recording one is spoilt."""

    def __init__(self, bench: Bench, every: int, change: Callable[[bytes, int], bytes | None]) -> None:
        self._bench, self._every, self._change = bench, every, change
        self._number = 0

    def spoil(self, reply: bytes) -> bytes | None:
        if self._bench.t_s < 0:
            return reply
        self._number += 1
        if self._number % self._every:
            return reply
        return self._change(reply, self._number // self._every)
