"""The simulated GPUs: what they are, and how each of their power figures comes about.

The figures' periods and windows are a simulator's choice after what has been published ("Part-time Power Measurements",
arXiv 2312.02741, and the help text of nvidia-smi); some were never verified. They are no source for a driver.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GIB = 1 << 30
KEPLER, MAXWELL, PASCAL, VOLTA, TURING, AMPERE, ADA, HOPPER, BLACKWELL = range(2, 11)


@dataclass(frozen=True)
class Figure:
    """A power figure renewed every `period_s` with the mean of the last `window_s`; `tau_s`: then low-passed."""

    period_s: float
    window_s: float
    tau_s: float = 0.0


@dataclass(frozen=True)
class Product:
    """`power`: what nvmlDeviceGetPowerUsage shows; a figure that is None is not supported; `energy_s`: the period at
    which the energy counter is renewed, None without one; `clocks`: graphics, SM, memory, video, MHz at most;
    `limits_w`: default, least, most; None: no power management; `app_clocks`: whether they can be set."""

    name: str
    architecture: int
    compute: tuple[int, int]
    memory_bytes: int
    cores: int
    pci_device_id: int
    limits_w: tuple[float, float, float] | None
    clocks: tuple[int, int, int, int]
    power: Figure | None
    average: Figure | None = None
    instant: Figure | None = None
    module: Figure | None = None
    memory: Figure | None = None
    energy_s: float | None = 0.1
    brand: int = 2
    board: str = "Tesla"
    mig: bool = False
    fan: bool = False
    app_clocks: bool = True
    ecc: bool = True


_SECOND = Figure(0.1, 1.0)
_WHOLE = Figure(0.1, 0.1)
_QUARTER = Figure(0.1, 0.025)
_HALF = Figure(0.02, 0.01)
_SLOW = Figure(0.0667, 0.0667, tau_s=0.8)

PRODUCTS: Mapping[str, Product] = {
    "k40": Product(
        "Tesla K40m", KEPLER, (3, 5), 11441 << 20, 2880, 0x102310DE, (235, 150, 235), (875, 875, 3004, 540),
        _SLOW, instant=_SLOW, energy_s=None,
    ),
    "gtx1080": Product(
        "NVIDIA GeForce GTX 1080", PASCAL, (6, 1), 8 * GIB, 2560, 0x1B8010DE, (180, 90, 216), (1911, 1911, 5005, 1708),
        _HALF, instant=_HALF, energy_s=None, brand=5, board="GeForce", fan=True, app_clocks=False, ecc=False,
    ),
    "gtx745": Product(
        "NVIDIA GeForce GTX 745", MAXWELL, (5, 0), 4 * GIB, 384, 0x138210DE, None, (1033, 1033, 900, 929),
        None, energy_s=None, brand=5, board="GeForce", fan=True, app_clocks=False, ecc=False,
    ),
    "v100": Product(
        "Tesla V100-SXM2-16GB", VOLTA, (7, 0), 16 * GIB, 5120, 0x1DB110DE, (300, 150, 300), (1530, 1530, 877, 1372),
        _HALF, instant=_HALF, energy_s=0.02,
    ),
    "t4": Product(
        "Tesla T4", TURING, (7, 5), 15360 << 20, 2560, 0x1EB810DE, (70, 60, 70), (1590, 1590, 5001, 1470), _WHOLE,
        instant=_WHOLE,
    ),
    "rtx2080ti": Product(
        "NVIDIA GeForce RTX 2080 Ti", TURING, (7, 5), 11264 << 20, 4352, 0x1E0710DE, (250, 100, 280),
        (2100, 2100, 7000, 1950), _WHOLE, instant=_WHOLE, brand=5, board="GeForce", fan=True,
        app_clocks=False, ecc=False,
    ),
    "a100": Product(
        "NVIDIA A100-SXM4-40GB", AMPERE, (8, 0), 40 * GIB, 6912, 0x20B010DE, (400, 100, 400), (1410, 1410, 1215, 1290),
        _QUARTER, instant=_QUARTER, mig=True,
    ),
    "rtx3090": Product(
        "NVIDIA GeForce RTX 3090", AMPERE, (8, 6), 24 * GIB, 10496, 0x220410DE, (350, 100, 366),
        (2100, 2100, 9751, 1950), _SECOND, average=_SECOND, instant=_WHOLE, brand=5, board="GeForce", fan=True,
        app_clocks=False, ecc=False,
    ),
    "a10": Product(
        "NVIDIA A10", AMPERE, (8, 6), 24 * GIB, 9216, 0x223610DE, (150, 100, 150), (1695, 1695, 6251, 1575),
        _SECOND, average=_SECOND, instant=_WHOLE,
    ),
    "l4": Product(
        "NVIDIA L4", ADA, (8, 9), 24 * GIB, 7424, 0x27B810DE, (72, 40, 72), (2040, 2040, 6251, 1770),
        _SECOND, average=_SECOND, instant=_WHOLE,
    ),
    "rtx4090": Product(
        "NVIDIA GeForce RTX 4090", ADA, (8, 9), 24 * GIB, 16384, 0x268410DE, (450, 150, 600), (3105, 3105, 10501, 2415),
        _SECOND, average=_SECOND, instant=_WHOLE, brand=5, board="GeForce", fan=True, app_clocks=False, ecc=False,
    ),
    "h100": Product(
        "NVIDIA H100 80GB HBM3", HOPPER, (9, 0), 80 * GIB, 16896, 0x233010DE, (700, 200, 700), (1980, 1980, 2619, 1545),
        _SECOND, average=_SECOND, instant=_QUARTER, mig=True, memory=_SECOND,
    ),
    "gh200": Product(
        "NVIDIA GH200 480GB", HOPPER, (9, 0), 96 * GIB, 16896, 0x234210DE, (900, 100, 900), (1980, 1980, 2619, 1545),
        _SECOND, average=_SECOND, instant=_QUARTER, module=_SECOND, memory=_SECOND, mig=True,
    ),
    "b200": Product(
        "NVIDIA B200", BLACKWELL, (10, 0), 180 * GIB, 18944, 0x290110DE, (1000, 200, 1000), (1965, 1965, 3996, 1680),
        _SECOND, average=_SECOND, instant=_WHOLE, memory=_SECOND, mig=True,
    ),
    "new": Product(
        "NVIDIA R9000 Engineering Sample", 13, (12, 9), 128 * GIB, 20000, 0x3F0110DE, (1200, 200, 1200),
        (2500, 2500, 5000, 2000), Figure(0.05, 0.02), instant=Figure(0.05, 0.02),
    ),
}  # fmt: skip
