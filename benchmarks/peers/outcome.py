"""What came of a peer's measurement, in the words of our own fault matrix.

`right`: the figure holds the truth within LIMIT_REL, beside what the edges of its window may be worth.
`typed_error`: no figure, and an error that names the cause: one that the peer raises on purpose or that is of its own
class, one of NVML's binding, or the system's with its errno. `said`: no figure, or a wrong one, but a line was printed
that is not printed otherwise. `silent_wrong`, `silent_zero`: a wrong figure, or 0 J, without a word. `no_figure`:
nothing, without a word. `crash`: any other exception, or the process ended. `hang`: no answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

LIMIT_REL = 0.03
ZERO_REL = 1e-3
RIGHT, TYPED, SAID = "right", "typed_error", "said"
WRONG, ZERO, NOTHING, CRASH, HANG = "silent_wrong", "silent_zero", "no_figure", "crash", "hang"
OURS = {"recovered": RIGHT, "typed_error": TYPED, "silent_wrong": WRONG, "crashed": CRASH, "unobservable": WRONG}
KINDS_THAT_NAME = ("zeus.", "pyJoules.", "pyRAPL.", "codecarbon.", "carbontracker.", "Monsoon.", "harness.core.errors.",
                   "pynvml.NVMLError")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """One cell of the table. Energies in J; `low_j`, `high_j`: the truth by the edges of the peer's own window."""

    peer: str
    fault: str
    outcome: str
    energy_j: float | None = None
    low_j: float | None = None
    high_j: float | None = None
    detail: str = ""
    words: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "words": self.words[:3] + self.words[3:][-2:]}


def of_error(peer: str, fault: str, heard: dict[str, Any], words: Sequence[str]) -> Outcome:
    """An answer that is no result: raised, died, hang."""
    if heard["event"] == "hang":
        return Outcome(peer, fault, HANG, detail=f"no answer in {heard['after_s']:.0f} s", words=[*words])
    if heard["event"] == "died":
        told = any("CRITICAL" in line for line in words)
        detail = f"the process ended with {heard['exit']}" + (" after it said why" if told else "")
        return Outcome(peer, fault, TYPED if told else CRASH, detail=detail, words=[*words])
    kinds = heard["kinds"]
    names = any(kind.startswith(KINDS_THAT_NAME) for kind in kinds)
    names = names or heard["on_purpose"] or ("builtins.OSError" in kinds and heard["errno"] is not None)
    detail = f"{kinds[0].removeprefix('builtins.')} at {heard['stage']}: {heard['message']}"
    return Outcome(peer, fault, TYPED if names else CRASH, detail=detail)


def of_energy(
    peer: str, fault: str, energy_j: float | None, low_j: float, high_j: float, words: Sequence[str], detail: str = ""
) -> Outcome:
    """A figure against the truth. `words`: what was printed and is not printed when nothing goes wrong."""
    common: dict[str, Any] = {"low_j": low_j, "high_j": high_j, "detail": detail, "words": [*words]}
    if energy_j is None:
        return Outcome(peer, fault, SAID if words else NOTHING, **common)
    common["energy_j"] = energy_j
    if low_j * (1 - LIMIT_REL) <= energy_j <= high_j * (1 + LIMIT_REL):
        return Outcome(peer, fault, RIGHT, **common)
    if words:
        return Outcome(peer, fault, SAID, **common)
    return Outcome(peer, fault, ZERO if abs(energy_j) <= ZERO_REL * high_j else WRONG, **common)


def of_ours(peer: str, fault: str, judged: dict[str, Any]) -> Outcome:
    """What harness.testing.fault_matrix said."""
    return Outcome(peer, fault, OURS[judged["outcome"]], detail=judged["detail"])
