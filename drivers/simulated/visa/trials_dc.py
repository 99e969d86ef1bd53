"""What can go wrong with instruments that feed a board or measure its current: buffers, logs, slow read-backs.

Only how a fault is played stands here; harness.testing.fault_matrix judges what came of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drivers.simulated.visa.bench import At, Bench, Setup, Supply
from drivers.simulated.visa.instrument import Instrument
from drivers.simulated.visa.trials import Trials
from harness.testing.faults import FaultTrial

FIVE = Supply(5.0)
NGU = Setup("ngu", {"update_s": 0.001, "current_range": 10, "at_v": 5}, supply=FIVE)
N6705 = Setup("n6705", {"update_s": 0.002, "current_range": 3, "at_v": 5}, supply=FIVE)
DMM6500 = Setup("dmm6500", {"current_range": 3, "supply_v": 5, "supply_tolerance_rel": 0.001}, supply=FIVE)
K2281S = Setup("2281s", {"at_v": 5}, supply=FIVE)
DP800 = Setup("dp800", {"at_v": 5}, supply=FIVE, scale=2.0)
SPD3303X = Setup("spd3303x", {"at_v": 5}, resource="TCPIP0::bench.lab::5025::SOCKET", supply=FIVE, scale=2.0)
SDM3055 = Setup("sdm3055", {"current_range": 2, "supply_v": 5, "supply_tolerance_rel": 0.001}, supply=FIVE, scale=2.0)
NOT_HERE = ("frozen", "bit_flips", "droop")  # no updates that could stand still; blocks go over buses with checks


def trials() -> Sequence[FaultTrial]:
    """All of these instruments."""
    return (*ngu_trials(), *n6705_trials(), *dmm6500_trials(), *k2281s_trials(), *supply_trials(), *sdm3055_trials())


def ngu_trials() -> Sequence[FaultTrial]:
    """FastLog: what nobody fetches in time is lost."""
    of = Trials(NGU, load_factor=1)
    narrow = Setup(NGU.instrument, {**NGU.options, "current_range": 0.1}, supply=FIVE)
    return (
        *of.of_the_line(without=NOT_HERE),
        of.trial("found_logging", "another program was killed and left it logging", before=_heard(*LOGGING)),
        of.panel("log_stopped", "somebody stops the log", ":FLOG:STAT 0"),
        of.trial("fetched_by_another", "another program fetches chunks for a while", events=_often(":FLOG:DATA?", 100)),
        of.panel("reset", "somebody resets it during the work", "*RST"),
        of.trial("strict", "it keeps data for 20 ms after it offered them, no longer", before=_keeping(20)),
        of.trial("over_range", "the current is beyond the range that is fixed", setup=narrow),
        of.trial("droop", "the supply sags by 8 % while the board works", volts=of.droop),
    )


def n6705_trials() -> Sequence[FaultTrial]:
    """Elog: a FIFO that overwrites without a word, and a period that it rounds."""
    of = Trials(N6705, load_factor=1)
    narrow = Setup(N6705.instrument, {**N6705.options, "current_range": 0.1}, supply=FIVE)
    return (
        *of.of_the_line(without=NOT_HERE),
        of.trial(
            "fifo_overwritten", "nobody reads for longer than its FIFO lasts", before=_small_fifo, stall=(0.3, 0.6)
        ),
        of.trial("found_logging", "another program was killed and left it logging", before=_heard(*ELOG)),
        of.panel("log_stopped", "somebody ends the log", ":ABOR:ELOG (@1)"),
        of.panel("fetched_by_another", "another program fetches what is there", ":FETC:ELOG? 1000,(@1)"),
        of.trial(
            "fetched_by_another_for_long", "another program fetches for a while", events=_often(":FETC:ELOG? 1000,(@1)")
        ),
        of.panel("ascii", "another program sets the format to ASCII", ":FORM ASC"),
        of.panel("swapped", "another program swaps the order of bytes", ":FORM:BORD SWAP"),
        of.panel("reset", "somebody resets it during the work", "*RST"),
        of.trial("over_range", "the current is beyond the range that is fixed", setup=narrow),
        of.trial("droop", "the supply sags by 8 % while the board works", volts=of.droop),
    )


def dmm6500_trials() -> Sequence[FaultTrial]:
    """A buffer that fills, beside a voltage that was declared."""
    of = Trials(DMM6500, load_factor=1)
    short = Setup(DMM6500.instrument, {**DMM6500.options, "readings": 5000}, supply=FIVE)
    narrow = Setup(DMM6500.instrument, {**DMM6500.options, "current_range": 0.1}, supply=FIVE)
    return (
        *of.of_the_line(without=NOT_HERE),
        of.panel("buffer_cleared", "somebody clears the buffer", ':TRAC:CLE "defbuffer1"'),
        of.panel("stopped", "somebody ends the acquisition", ":ABOR"),
        of.panel("ascii", "another program sets the format to ASCII", ":FORM ASC"),
        of.panel("swapped", "another program swaps the order of bytes", ":FORM:BORD NORM"),
        of.panel("reset", "somebody resets it during the work", "*RST"),
        of.trial("buffer_full", "the buffer is full before the end", setup=short),
        of.trial("over_range", "the current is beyond the range that is fixed", setup=narrow),
    )


def k2281s_trials() -> Sequence[FaultTrial]:
    """A buffer of 2500 readings that gives each of them once."""
    of = Trials(K2281S, load_factor=1)
    return (
        *of.of_the_line(without=NOT_HERE),
        of.panel("fetched_by_another", "another program fetches what is new", ':TRAC:DATA? "READ"'),
        of.trial(
            "fetched_by_another_for_long", "another program fetches for a while", events=_often(':TRAC:DATA? "READ"')
        ),
        of.panel("buffer_cleared", "somebody clears the buffer", ":TRAC:CLE"),
        of.panel("stopped", "somebody ends the acquisition", ":INIT:CONT OFF"),
        of.panel("pace_changed", "somebody sets another integration time", ":SENS:NPLC 5"),
        of.panel("reset", "somebody resets it during the work", "*RST"),
        of.trial("droop", "the supply sags by 8 % while the board works", volts=of.droop),
    )


def supply_trials() -> Sequence[FaultTrial]:
    """Read-backs of supplies, a few a second."""
    of, other = Trials(DP800, load_factor=2), Trials(SPD3303X, load_factor=2)
    freeze: At = [(-0.1, _stuck(on=True)), (0.3, _stuck(on=False))]
    return (
        *of.of_the_line(without=NOT_HERE),
        of.trial("frozen", "it shows the same values for a third of the work", events=freeze),
        of.trial("text_for_numbers", "a firmware that answers `Command error`, now and then", spoil=_command_error),
        of.trial("droop", "the supply sags by 8 % while the board works", volts=of.droop),
        *other.of_the_line(without=NOT_HERE),
        other.trial("frozen", "it shows the same values for a third of the work", events=freeze),
        other.trial("deaf", "an old firmware loses what comes within 50 ms of the last command", deaf_ns=50_000_000),
    )


def sdm3055_trials() -> Sequence[FaultTrial]:
    """Readings on demand, current alone."""
    of = Trials(SDM3055, load_factor=1)
    narrow = Setup(SDM3055.instrument, {**SDM3055.options, "current_range": 0.2}, supply=FIVE)
    return (
        *of.of_the_line(without=NOT_HERE),
        of.panel("function_changed", "somebody turns it to volts", ":CONF:VOLT:DC"),
        of.panel("samples_changed", "another program asks for ten readings at once", ":SAMP:COUN 10"),
        of.trial("over_range", "the current is beyond the range that is fixed", setup=narrow),
    )


# --- what happens -------------------------------------------------------------------------------------

LOGGING = ("FLOG:SRAT S100", "FLOG:TARG SCPI", "FLOG:STAT 1")
ELOG = ("SENS:ELOG:FUNC:CURR ON,(@1)", "INIT:ELOG (@1)", "TRIG:ELOG (@1)")


def _often(message: str, times: int = 20) -> At:
    """So many times in a third of the work: some of them come when there is something."""
    return [(0.3 + k / (3 * times), lambda bench: bench.front_panel(message)) for k in range(times)]


def _heard(*messages: str) -> Any:
    def act(instrument: Instrument) -> None:
        for message in messages:
            instrument.hear(message.encode(), instrument.now_ns)

    return act


def _keeping(milliseconds: int) -> Any:
    def act(instrument: Instrument) -> None:
        instrument.keep_ns = milliseconds * 1_000_000  # type: ignore[attr-defined]

    return act


def _small_fifo(instrument: Instrument) -> None:
    instrument.fifo_s = 1.0  # type: ignore[attr-defined]


def _stuck(*, on: bool) -> Any:
    def act(bench: Bench) -> None:
        bench.instrument.stuck = on  # type: ignore[attr-defined]

    return act


def _command_error(bench: Bench) -> Any:
    count = iter(range(1_000_000_000))

    def spoil(reply: bytes) -> bytes:
        return b"Command error" if bench.t_s > 0 and next(count) % 40 == 20 else reply

    return spoil
