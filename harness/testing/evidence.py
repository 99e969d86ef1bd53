"""What each driver that we ship was tested on that its own author did not make up: one place, held by a house test.

`files`: in this repository. `from_device`: bytes or text that a device (or its vendor's tool) gave; else examples of
datasheets and kernel documentation, or a stand-in that `words` owns up to.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """`words`: what it is, for the table."""

    words: str
    files: tuple[str, ...]
    from_device: bool = True


EVIDENCE = {
    "monsoon": Evidence(
        "simulated second, read alike by the vendor's own library",
        ("tests/drivers/monsoon/data/hvpm-1s.bin", "tests/drivers/monsoon/test_monsoon_official.py"),
        from_device=False,
    ),
    "rapl": Evidence(
        "powercap trees of an i5-13500 and of procfs's test fixtures",
        ("tests/drivers/rapl/data/powercap__i5-13500.txt", "tests/drivers/rapl/data/procfs_powercap.ttar"),
    ),
}
