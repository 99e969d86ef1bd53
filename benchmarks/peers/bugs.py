"""Bugs that users of the peers have reported, on our simulators: each must come out here as it was reported.

That a fake makes somebody else's program fail in the way it is known to fail on real hardware is the best proof of the
fake that can be had without the hardware. `check` looks at the outcome of a run; nothing here is assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.peers import monsoon_trials, nvml_trials, powercap_trials
from benchmarks.peers import powercap_world as w
from benchmarks.peers.child import PeerSpec
from benchmarks.peers.nvml_trials import NvmlFault
from benchmarks.peers.outcome import Outcome
from benchmarks.peers.powercap_trials import PowercapFault


@dataclass(frozen=True)
class Bug:
    """`issue`: as repository#number; `version`: what is run here (an older one where it has been mended since)."""

    issue: str
    reported: str
    peer: PeerSpec
    fault: str
    check: Callable[[Outcome], bool]
    trials: str = "powercap"

    @property
    def key(self) -> str:
        return f"{self.issue} {self.peer.environment}"


def _negative(outcome: Outcome) -> bool:
    return outcome.energy_j is not None and outcome.energy_j < 0


def _zero(outcome: Outcome) -> bool:
    return outcome.energy_j is not None and outcome.high_j is not None and abs(outcome.energy_j) < 1e-3 * outcome.high_j


def _says(*words: str) -> Callable[[Outcome], bool]:
    return lambda outcome: all(word in outcome.detail + " ".join(outcome.words) for word in words)


def _short_by_a_sample(outcome: Outcome) -> bool:
    return "'0.0'" in outcome.detail or " 0.0" in outcome.detail


def _stamps_repeat(outcome: Outcome) -> bool:
    parts = dict(item.split(": ") for item in outcome.detail.strip("{}").replace("'", "").split(", "))
    return int(parts["distinct stamps"]) < int(parts["samples"])


def _of(name: str, environment: str, what: str, adapter: str | None = None) -> PeerSpec:
    return PeerSpec(name, environment, adapter or f"use_{name.lower()}.py", (what,))


EXTRA_POWERCAP: Sequence[PowercapFault] = (
    PowercapFault("wrap_of_one_of_two", "one of two sockets wraps", "wrap", w.TWO_WRAPPING),
)
EXTRA_NVML: Sequence[NvmlFault] = (
    NvmlFault("short_window", "a window shorter than the counter's update", "none", end_s=0.03),
)

BUGS: Sequence[Bug] = (
    Bug("powerapi-ng/pyJoules#16", "a large negative energy after a long measurement",
        _of("pyJoules", "pyjoules", "cpu"), "wrap", _negative),
    Bug("powerapi-ng/pyRAPL#19", "a large negative energy from one of two sockets",
        _of("pyRAPL", "pyrapl", "cpu"), "wrap_of_one_of_two", _negative),
    Bug("powerapi-ng/pyJoules#13", "PermissionError on energy_uj", _of("pyJoules", "pyjoules", "cpu"), "permission",
        _says("PermissionError", "energy_uj")),
    Bug("mlco2/codecarbon#1309", "negative energy at a wrap where max_energy_range_uj may not be read",
        _of("CodeCarbon", "codecarbon-3.2.6", "cpu"), "range_unreadable", _negative),
    Bug("mlco2/codecarbon#322", "after a wrap the counter is said to be lower than before, and nothing is counted",
        _of("CodeCarbon", "codecarbon-2.1.3", "cpu"), "wrap", _says("lower than previous value")),
    Bug("mlco2/codecarbon#244", "without permission a figure made of the processor's name stands in",
        _of("CodeCarbon", "codecarbon", "cpu"), "permission", _says("Permission denied")),
    Bug("mlco2/codecarbon#1316", "0 kWh on a GPU without an energy counter",
        _of("CodeCarbon", "codecarbon-3.2.6", "gpu"), "no_counter", _zero, "nvml"),
    Bug("mlco2/codecarbon#608", "NVMLError_NotSupported when the tracker is made on a GPU without an energy counter",
        _of("CodeCarbon", "codecarbon-2.3.0", "gpu"), "no_counter", _says("NVMLError_NotSupported"), "nvml"),
    Bug("saintslab/carbontracker#40", "PermissionError on energy_uj",
        _of("carbontracker", "carbontracker-1.1.6", "cpu"), "permission", _says("energy_uj")),
    Bug("ml-energy/zeus#109", "ValueError when CUDA_VISIBLE_DEVICES holds a MIG identifier",
        _of("Zeus", "zeus-0.9.1", "gpu"), "mig", _says("invalid literal for int"), "nvml"),
    Bug("ml-energy/zeus#32", "0 J for a window shorter than the counter's update",
        _of("Zeus", "zeus", "gpu"), "short_window", _zero, "nvml"),
    Bug("msoon/PyMonsoon#37", "one time stamp for several samples", monsoon_trials.PEERS[0], "none", _stamps_repeat,
        "monsoon"),
    Bug("msoon/PyMonsoon#24", "'NoneType' object has no attribute 'ctrl_transfer'", monsoon_trials.PEERS[0], "absent",
        _says("'NoneType' object has no attribute 'ctrl_transfer'"), "monsoon"),
)  # fmt: skip


def play(bug: Bug) -> Outcome:
    """Run the version that has it."""
    if bug.trials == "monsoon":
        fault = next(f for f in monsoon_trials.FAULTS if f.name == bug.fault)
        return monsoon_trials.play(fault, [bug.peer], {})[0]
    if bug.trials == "nvml":
        gpu = next(f for f in (*nvml_trials.FAULTS, *EXTRA_NVML) if f.name == bug.fault)
        return nvml_trials.play(gpu, [bug.peer], {})[0]
    cpu = next(f for f in (*powercap_trials.FAULTS, *EXTRA_POWERCAP) if f.name == bug.fault)
    return powercap_trials.play(cpu, [bug.peer], {}, ours=False)[0]
