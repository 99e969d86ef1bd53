"""Which kind of power sensor a GPU has: its class, from what NVML or nvidia-smi say of its architecture and name.

The architecture alone does not tell: GA100 (A100, A30) is an Ampere that measures as the generation before it did.
Where neither the words nor the name are known the class is UNKNOWN: nothing is guessed from what is newest.
"""

from __future__ import annotations

import re

UNKNOWN = "unknown"
GA100 = "ga100"
GP100 = "gp100"

BY_NUMBER = {
    2: "kepler", 3: "maxwell", 4: "pascal", 5: "volta", 6: "turing", 7: "ampere", 8: "ada", 9: "hopper",
    10: "blackwell",
}  # fmt: skip
"""NVML_DEVICE_ARCH_* of nvml.h."""

_WORDS = ("kepler", "maxwell", "pascal", "volta", "turing", "ampere", "hopper", "ada", "blackwell")
_GA100 = re.compile(r"\b(?:A100|A100X|A30|A30X|A800|PG50[69]|CMP 170HX|DRIVE-PG199)(?=\b|[-_ ])", re.I)
_GP100 = re.compile(r"\b(?:P100|GP100)\b", re.I)
_BY_NAME: tuple[tuple[str, str], ...] = (
    (r"\b(?:K\d+[a-z]?|GTX TITAN(?: Black| Z)?|GTX [67]\d\d)\b(?! X)", "kepler"),
    (r"\b(?:M\d+|GTX 9\d\d|GTX TITAN X|GTX 750)\b", "maxwell"),
    (r"\b(?:P\d+|GTX 10\d\d|TITAN Xp?|MX150)\b", "pascal"),
    (r"\b(?:V100|TITAN V|GV100)\b", "volta"),
    (r"\b(?:T4|T\d{3,4}|GTX 16\d\d|RTX 20\d\d|TITAN RTX|Quadro RTX \d+)\b", "turing"),
    (r"\b(?:RTX 30\d\d|A2|A10G?M?|A16|A40|RTX A\d+)\b", "ampere"),
    (r"\b(?:RTX 40\d\d|L4|L40S?|L20|RTX \d{4} Ada)\b", "ada"),
    (r"\b(?:H100|H200|H800|H20|GH200)\b", "hopper"),
    (r"\b(?:RTX 50\d\d|B100|B200|B300|GB200|GB300|RTX PRO \d{4} Blackwell)\b", "blackwell"),
)
_PATTERNS = tuple((re.compile(pattern, re.I), name) for pattern, name in _BY_NAME)


def gpu_class(name: str, architecture: str | int | None) -> str:
    """Class of a GPU called `name`; `architecture`: NVML's number, nvidia-smi's word, or None where it says neither."""
    found = _of_architecture(architecture)
    if found == UNKNOWN and architecture in (None, "", "N/A"):  # tools before 2021 do not say it
        found = next((kind for pattern, kind in _PATTERNS if pattern.search(name)), UNKNOWN)
        if _GA100.search(name):
            return GA100
    if found == "ampere" and _GA100.search(name):
        return GA100
    if found == "pascal" and _GP100.search(name):
        return GP100
    return found


def _of_architecture(architecture: str | int | None) -> str:
    if isinstance(architecture, int):
        return BY_NUMBER.get(architecture, UNKNOWN)
    words = (architecture or "").lower().split()
    return next((word for word in _WORDS if words[:1] == [word]), UNKNOWN)
