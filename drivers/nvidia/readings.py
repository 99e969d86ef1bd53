"""What counts as a reading of a GPU's registers, what is the same update read again, and what becomes a gap.

A power that has not changed within one update is no new sample. A counter that went back, or whose GPU was lost
meanwhile, began anew: the reason of that gap begins with `reset:` and nothing is taken across it. A register that
stands still for longer than chance allows is not written any more, and a live GPU never draws 0 W: gaps, never values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from drivers.nvidia.timing import Timing
from harness.core.trace import Block, CalibrationPiece
from harness.core.waiting import NS_PER_S
from harness.io.decoded_rows import DecodedRows

MIN_SPACING = 0.5  # of an update: it is never written twice so soon
MAX_SPACING = 1.5  # of a period: readings further apart have a gap between them
SI_PER_MILLI = 1e-3  # NVML counts in mW and mJ; nvidia-smi's two decimals are whole multiples of 10 mW
RESET = "reset: "


@dataclass(frozen=True)
class Register:
    """A channel's register in mW, or in mJ (`counts`). `max_w`: more than it can draw; `update_ns`: of a counter."""

    channel: str
    counts: bool
    max_w: float
    update_ns: int = 0

    @property
    def column(self) -> str:
        """Raw column, int64."""
        return f"{self.channel}:{'energy_mj' if self.counts else 'power_mw'}"

    @property
    def unit(self) -> str:
        return "J" if self.counts else "W"


@dataclass(frozen=True)
class Missing:
    """A register that gave no value: why, and whether its GPU was gone, so that its counter may have begun anew."""

    why: str
    gone: bool = False


class Readings:
    """Passes over `registers` in order of time turned into blocks; all registers of a pass, or nothing of it.

    `begin_ns`: when acquisition began; what is missing before the first reading is a gap from there.
    """

    def __init__(self, registers: Sequence[Register], timing: Timing, *, frozen_s: float, begin_ns: int) -> None:
        self._registers, self._timing = tuple(registers), timing
        self._frozen_ns = round(frozen_s * NS_PER_S)
        powers = [k for k, r in enumerate(registers) if not r.counts]
        self._lead = powers[:1]  # its changes tell when there is something new; others keep their phase to it
        self._edge_ns = begin_ns  # the last row that was made, held ones too
        self._pass_ns = begin_ns
        self._last: list[int] | None = None  # of that row
        self._before: tuple[int, list[int]] | None = None  # as well; kept while one stands still
        self._seen: list[int] = []  # of the last pass, and when each register changed
        self._moved_ns = [begin_ns] * len(self._registers)
        self._gone = ""
        self._lost, self._why = 0, ""
        self._held: list[tuple[int, list[int]]] = []
        self._still = ""  # the channel that stands still
        calibration = [CalibrationPiece(0, r.column, 0, SI_PER_MILLI, 0.0) for r in self._registers]
        self._decoded = DecodedRows([r.column for r in self._registers], calibration)
        self._decoded.begin(begin_ns)
        self.count, self.take = self._decoded.count, self._decoded.take

    def add(self, t_ns: int, entries: Sequence[int | Missing]) -> None:
        """A pass at `t_ns`, one entry a register: a new row, the same again, or a failure."""
        before_ns, self._pass_ns = self._pass_ns, max(self._pass_ns, t_ns)
        values: list[int] = []
        for register, entry in zip(self._registers, entries, strict=True):
            if isinstance(entry, Missing):
                self.lose(f"{register.channel}: {entry.why}", gone=register.channel if entry.gone else "")
                return
            if why := _absurd(register, entry):
                self.count(f"refused:{register.channel}")
                self.lose(f"{register.channel}: {why}")
                return
            values.append(entry)
        if t_ns <= before_ns and self._last is not None:
            return  # asked twice at one time: nothing new
        self._note_movement(t_ns, values)
        if not self._stands_still(t_ns):
            self._judge(t_ns, before_ns, values)

    def lose(self, why: str, lost: int = 1, *, gone: str = "") -> None:
        """A pass that failed, and why; `gone`: the channel whose GPU went away."""
        if not self._lost:
            self._why = why
        self._lost += lost
        self._gone = gone or self._gone
        self.count("failed_passes", lost)

    def finish(self, end_ns: int) -> Block | None:
        """What was held back; a gap that is still open ends at `end_ns`."""
        self._release(end_ns)
        if self._lost:
            self._decoded.lose(self._why, self._lost)
            self._lost = 0
        return self._decoded.finish(end_ns)

    # --- inside ---------------------------------------------------------------------------------------

    def _note_movement(self, t_ns: int, values: list[int]) -> None:
        first = not self._seen
        for k, value in enumerate(values):
            if first or value != self._seen[k]:
                self._moved_ns[k] = t_ns
        self._seen = values

    def _stands_still(self, t_ns: int) -> bool:
        """Rows since a register's last change wait; they are dropped once it has stood still for too long."""
        slowest = min(range(len(self._moved_ns)), key=self._moved_ns.__getitem__)
        if t_ns - self._moved_ns[slowest] < self._frozen_ns:
            self._still = ""
            return False
        register = self._registers[slowest]
        why = f"{register.channel} stood still for more than {self._frozen_ns / NS_PER_S:g} s"
        if register.counts:
            why = RESET + why
        if not self._still:
            self._release(self._moved_ns[slowest])
            self.count(f"frozen:{register.channel}", len(self._held))
            self._decoded.lose(why, len(self._held))
            self._held = []
        else:
            self._decoded.lose(why, 1)
        self._still = register.channel
        self._edge_ns, self._last = t_ns, None
        self._lost, self._why = 0, ""
        return True

    def _judge(self, t_ns: int, before_ns: int, values: list[int]) -> None:
        age_ns, asked_ns = t_ns - self._edge_ns, t_ns
        if self._last is not None and self._timing.follows:
            changed = any(values[k] != self._last[k] for k in self._lead)
            soonest_ns = MIN_SPACING * self._timing.update_ns
            if not (age_ns >= self._timing.longest_ns or (changed and age_ns >= soonest_ns)):
                self.count("repeated")
                self._release(min(self._moved_ns))
                return
            just = before_ns > self._edge_ns and t_ns - before_ns < 2 * self._timing.poll_ns and not self._lost
            if changed and just:
                t_ns = before_ns + (t_ns - before_ns) // 2  # the update fell between the two passes
            elif not changed and age_ns < 2 * self._timing.update_ns:
                t_ns = self._edge_ns + self._timing.update_ns  # it was written again with the same number, on the beat
        why = self._untrusted(asked_ns, values) or self._gap(t_ns - self._edge_ns)
        if why:
            self._release(t_ns)
            self._decoded.lose(why, self._lost)
        self._lost, self._gone = 0, ""
        self._edge_ns, self._last, self._before = t_ns, values, (t_ns, values)
        self._held.append((t_ns, values))
        self._release(min(self._moved_ns))

    def _gap(self, age_ns: int) -> str:
        """Why something is missing before this reading, or an empty text if it comes as soon as it may."""
        if self._last is None:
            return self._why if self._lost else ""
        if age_ns <= MAX_SPACING * self._timing.period_ns and not (self._lost and not self._timing.follows):
            return ""
        return self._why if self._lost else f"not read for {age_ns / NS_PER_S:.3f} s"

    def _untrusted(self, t_ns: int, values: list[int]) -> str:
        """Why a counter's difference to the last row is not the energy used since, or an empty text."""
        if self._before is None or not any(r.counts for r in self._registers):
            return ""
        before_ns, before = self._before
        if self._gone:
            return f"{RESET}{self._gone} was gone and may have begun anew: {self._why}"
        for register, value, last in zip(self._registers, values, before, strict=True):
            if not register.counts:
                continue
            if value < last:
                self.count(f"resets:{register.channel}")
                return f"{RESET}{register.channel} went back from {last} to {value} mJ: the driver was loaded anew"
            most = register.max_w * 1000 * (t_ns - before_ns + 2 * register.update_ns) / NS_PER_S
            if value - last > most:
                self.count(f"jumps:{register.channel}")
                return f"{RESET}{register.channel} went from {last} to {value} mJ, more than can have been drawn"
        return ""

    def _release(self, until_ns: int) -> None:
        """Rows up to the time until which every register is known to have been alive are readings."""
        ready = 0
        for t_ns, values in self._held:
            if t_ns > until_ns:
                break
            self._decoded.add(t_ns, values, window_ns=self._timing.period_ns)
            ready += 1
        del self._held[:ready]


def _absurd(register: Register, value: int) -> str:
    """Why a value cannot be true, or an empty text."""
    if register.counts:
        return "" if value >= 0 else f"reads {value} mJ"
    if value == 0:
        return "reads 0 W, which no live GPU draws: not measured"
    if value < 0 or value > register.max_w * 1000:
        return f"reads {value / 1000:g} W, beyond what it can draw ({register.max_w:g} W)"
    return ""
