"""ElmorLabs PMD-USB recordings: an external meter of a graphics card's cables and slot, beside nvidia-smi.

18 bytes a sample, nine little-endian 16-bit words: the device's tick, then four pairs of voltage and current. A value
is the signed word shifted right by four; 2934.5 ticks are a millisecond; the tick wraps after 22 ms, so a longer hole
cannot be seen. Source of scales and tick: github.com/JimZeyuYang/GPU_Power_Benchmark (SC'24, arXiv 2312.02741).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from harness.core.clock import FloatArray, Int64Array, meter_clock
from harness.core.errors import SpecError
from harness.core.trace import Reading, ReadingKind
from harness.imports.foreign import ForeignMeter
from harness.imports.meter import Readings, foreign_meter
from harness.imports.source import Source

SAMPLE = 18
CHANNELS = ("1", "2", "3", "4")
EPS = "3"  # the processor's cable, not part of the card
CARD = ("1", "2", "4")
VOLT = {"1": 0.007568, "2": 0.007568, "3": 0.0075, "4": 0.007568}
AMPERE = 0.0488
TICKS_PER_MS = 2934.5
WRAP = 1 << 16
EARLY_NS = 50_000_000  # the first sample lies this long before the start stamp
CLOCK = meter_clock("pmd-usb")


def parse(source: Source) -> tuple[Int64Array, FloatArray, int]:
    """(time since the first sample ns, values (N, 8) in codes, bytes left over behind the last whole sample)."""
    whole = len(source.data) // SAMPLE
    if whole < 2:
        raise source.wrong(f"{len(source.data)} bytes hold {whole} samples of {SAMPLE} bytes", hint="give PMD_data.bin")
    words = np.frombuffer(source.data, "<u2", whole * SAMPLE // 2).reshape(whole, SAMPLE // 2)
    step = np.mod(np.diff(words[:, 0].astype(np.int64)), WRAP)
    ticks = np.r_[0, np.cumsum(step)]
    if not step.min() > 0:
        raise source.wrong(
            f"sample {int(np.argmin(step)) + 1} (byte {(int(np.argmin(step)) + 1) * SAMPLE}): the tick stands still",
            hint="an 18-byte sample begins with a 16-bit tick; is this PMD_data.bin?",
        )
    values = (words[:, 1:].astype("<u2").view("<i2") >> 4).astype(np.float64)
    return np.rint(ticks * (1e6 / TICKS_PER_MS)).astype(np.int64), values, len(source.data) % SAMPLE


def start_ns(text: str, source: Source | None) -> int:
    """The start stamp in microseconds since 1970, typed or from PMD_start_ts.txt, as ns."""
    found = text if source is None else source.data.decode("utf-8", "replace").strip()
    if not found.isdigit() or not 1e15 < int(found) < 1e16:
        raise SpecError(
            f"start of the PMD-USB recording is {found[:40]!r}, not microseconds since 1970",
            hint="give --pmd-start PMD_start_ts.txt",
        )
    return int(found) * 1000


def pmd_meter(
    source: Source, begin_unix_ns: int, origin: int, rails: Sequence[str]
) -> tuple[ForeignMeter, tuple[str, ...]]:
    """(the meter, notes). `rails`: channels whose sum is the card. Its clock is tied to the host by one stamp only, so
    its rate is as uncertain as that of any meter that says nothing (`analysis.timing.clocks`)."""
    if not rails or not set(rails) <= set(CHANNELS):
        raise SpecError(f"--pmd-rails {','.join(rails)!r}", hint=f"channels are {', '.join(CHANNELS)}")
    t_ns, values, rest = parse(source)
    period = int(np.median(np.diff(t_ns)))
    columns = {}
    for k, name in enumerate(CHANNELS):
        columns[f"voltage_{name}"] = ("V", values[:, 2 * k], VOLT[name])
        columns[f"current_{name}"] = ("A", values[:, 2 * k + 1], AMPERE)
    readings = Readings(
        t_ns=t_ns, columns=columns, channels={n: (f"voltage_{n}", f"current_{n}") for n in CHANNELS},
        reading=Reading(ReadingKind.POINT, period, 0), clock=CLOCK,
        anchors=np.array([[0, begin_unix_ns - EARLY_NS - origin]], np.int64),
    )  # fmt: skip
    notes = (f"{rest} bytes behind the last sample of {source.path.name} are no sample",) if rest else ()
    meter = foreign_meter(
        "pmd", readings, driver="pmd-usb", model="ElmorLabs PMD-USB", plane="cables and slot", accuracy=None,
        total=tuple(rails),
    )  # fmt: skip
    return meter, notes
