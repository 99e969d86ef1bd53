"""EEMBC EnergyRunner traces (MLPerf Tiny): energy per sample, with the marks between which the tool integrates.

Binary (v0.5 to v1.2): one byte 0xF1, little-endian float32 sample rate in Hz, then little-endian float32 energy of each
sample in microjoule. JSON (v1.3): a list of trials; `power.samples` in joule, `power.timestamps` [[id, sample index]].
Sample i is the energy from i/rate to (i+1)/rate. The tool's score is the energy between the GPIO marks that bound a
measured block, and neither the whole trace nor the stretches between blocks, in which inputs are loaded.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from harness.core.clock import FloatArray, meter_clock
from harness.core.errors import SpecError
from harness.core.trace import Gap, Reading, ReadingKind
from harness.imports.foreign import ForeignRun, imported_protocol
from harness.imports.marks import Window, counts_of, pairs_of, windows_timeline
from harness.imports.meter import Declared, Readings, foreign_meter, run_name
from harness.imports.source import Source, identity

FORMAT = "energyrunner"
MAGIC = 0xF1
HEAD = 5
JSON_RATE_HZ = 1000.0
FLOAT32 = 6e-8
BETWEEN_NS = 1_000_000_000
CLOCK = meter_clock("energyrunner")


@dataclass(frozen=True)
class Trial:
    """Energy of consecutive samples (in the file's unit), and, if the file says so, the measured block in samples and
    its inferences."""

    samples: FloatArray
    block: tuple[int, int] | None = None
    inferences: int | None = None


@dataclass(frozen=True)
class EnergyTrace:
    """`rate_hz` and trials of one file, energies in `unit_j`, known to `rel`; `notes`: what was left out and why."""

    rate_hz: float
    trials: tuple[Trial, ...]
    notes: tuple[str, ...] = ()
    unit_j: float = 1.0
    rel: float = 1e-12


def parse_binary(source: Source) -> EnergyTrace:
    """The binary format. SpecError naming the byte offset; samples after a broken end are left out, with a note."""
    data = source.data
    if data[0] != MAGIC:
        raise source.wrong(
            f"byte 0 is 0x{data[0]:02X}; an EnergyRunner trace begins with 0x{MAGIC:02X}",
            hint="give <trace>-energy.bin, packed or not; a v1.3 results.json begins with '['",
        )
    if len(data) < HEAD + 4:
        raise source.wrong(f"{len(data)} bytes; rate and one sample need {HEAD + 4}", hint="the file is cut off")
    (rate,) = struct.unpack_from("<f", data, 1)
    if not 0 < rate < 1e7:
        raise source.wrong(f"bytes 1-4 give a sample rate of {rate:g} Hz", hint="expected a float32 between 0 and 1e7")
    whole = (len(data) - HEAD) // 4
    rest = (len(data) - HEAD) % 4
    micro = np.frombuffer(data, "<f4", whole, HEAD).astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(micro))
    if len(bad):
        raise source.wrong(f"sample {bad[0]} (byte {HEAD + 4 * bad[0]}) is {micro[bad[0]]}, not an energy")
    notes = _cut_notes(source, f"{rest} bytes behind sample {whole - 1} are no sample" if rest else "")
    return EnergyTrace(float(rate), (Trial(micro),), notes, 1e-6, FLOAT32)


def parse_json(source: Source, *, rate_hz: float = JSON_RATE_HZ) -> EnergyTrace:
    """The v1.3 format. The measured block is bounded by the last two marks: the first trial of some boards has an
    earlier third one. The file does not state the rate; the tool's is 1 kHz."""
    found = source.json()
    if not isinstance(found, list) or not found:
        raise source.wrong("expected a JSON list of trials", hint="give results.json of an energy run")
    trials = []
    for k, entry in enumerate(found):
        power = entry.get("power") if isinstance(entry, dict) else None
        if not isinstance(power, dict) or not power.get("samples"):
            raise source.wrong(f"trial {k} has no power.samples", hint="results.json of a performance run has none")
        marks = power.get("timestamps") or []
        if len(marks) < 2:
            raise source.wrong(f"trial {k} has {len(marks)} power.timestamps; a measured block needs two")
        energy = np.asarray(power["samples"], np.float64)
        first, last = (int(mark[1]) for mark in marks[-2:])
        if not 0 <= first < last <= len(energy):
            raise source.wrong(f"trial {k}: marks {first} and {last} bound no block of its {len(energy)} samples")
        count = (entry.get("infer") or {}).get("iterations")
        trials.append(Trial(energy, (first, last), int(count) if count else None))
    return EnergyTrace(rate_hz, tuple(trials), _cut_notes(source, ""))


def _cut_notes(source: Source, more: str) -> tuple[str, ...]:
    cut = "the packed file breaks off; what came before is kept" if source.truncated else ""
    return tuple(note for note in (cut, more) if note)


def parse(source: Source) -> EnergyTrace:
    """Either format, told apart by the first byte."""
    return parse_json(source) if source.data.lstrip()[:1] in (b"[", b"{") else parse_binary(source)


def mark_pairs(marks: Sequence[float]) -> list[tuple[float, float]]:
    """Windows (s) of a list of marks. An even number is pairs as given. An odd number is the tool's own list, whose
    first mark (the GPIO's state when the trace begins) bounds nothing: windows are marks 1-2, 3-4, ..."""
    return pairs_of(marks[1:] if len(marks) % 2 and len(marks) > 2 else marks)


def build(source: Source, marks: Sequence[float] | None, inferences: str | None, declared: Declared) -> ForeignRun:
    """The run of one trace. `marks`: seconds from the trace's start; not for v1.3, whose marks are in the file."""
    trace = parse(source)
    offsets, t_ns, gaps = [], [], []
    begin_ns = 0
    for k, trial in enumerate(trace.trials):
        stamps = begin_ns + np.rint(np.arange(1, len(trial.samples) + 1) * (1e9 / trace.rate_hz)).astype(np.int64)
        if k:
            gaps.append(Gap(begin_ns - BETWEEN_NS, begin_ns, -1, "between trials"))
        offsets.append(begin_ns)
        t_ns.append(stamps)
        begin_ns = int(stamps[-1]) + BETWEEN_NS
    windows = _windows(source, trace, marks, inferences, offsets, int(t_ns[-1][-1]))
    timeline, told = windows_timeline(CLOCK, windows)
    period = round(1e9 / trace.rate_hz)
    energy = np.concatenate([t.samples for t in trace.trials])
    readings = Readings(
        t_ns=np.concatenate(t_ns), columns={"power": ("W", energy, trace.rate_hz * trace.unit_j)},
        channels={"main": ("power",)},
        reading=Reading(ReadingKind.MEAN, period, period), clock=CLOCK, gaps=gaps, rel=trace.rel,
    )  # fmt: skip
    meter = foreign_meter(
        "meter", readings, driver=FORMAT, model=declared.meter_model or "unknown meter of EnergyRunner",
        plane=declared.plane or "dc_input", accuracy=declared.accuracy(),
        details={"sample_rate_hz": repr(trace.rate_hz)},
    )  # fmt: skip
    told |= {"notes": list(trace.notes), "sample_rate_hz": trace.rate_hz, "file": source.path.name,
             "windows_s": [[w.begin_ns * 1e-9, w.end_ns * 1e-9] for w in windows]}  # fmt: skip
    told["flags"] = [*told["flags"], *declared.flags(), *(["file_truncated"] if trace.notes else [])]
    asked = [[w.begin_ns, w.end_ns, w.inferences] for w in windows]
    return ForeignRun(
        FORMAT, run_name(declared.name or source.stem.removesuffix(".energy")),
        identity([source], [asked, declared.to_json()]),
        declared.origin or f"EnergyRunner trace {source.path.name}", (meter,), timeline,
        imported_protocol(alignment_u_s=declared.alignment_u_s or 0.0), declared.board, declared.batch,
        documents={"import": told},
    )  # fmt: skip


def _windows(
    source: Source, trace: EnergyTrace, marks: Sequence[float] | None, inferences: str | None,
    offsets: Sequence[int], end_ns: int,
) -> list[Window]:  # fmt: skip
    if trace.trials[0].block is not None:
        if marks is not None:
            raise SpecError("--marks with a v1.3 results.json", hint="leave it out: the marks are in the file")
        blocks = [t.block for t in trace.trials if t.block is not None]
        told = [t.inferences for t in trace.trials]
        counts = told if inferences is None else counts_of(inferences, len(blocks))
        sample = 1e9 / trace.rate_hz
        return [
            Window(at + round(a * sample), at + round(b * sample), n)
            for at, (a, b), n in zip(offsets, blocks, counts, strict=True)
        ]
    if marks is None:
        raise SpecError(
            f"{source.path.name} has no marks in it",
            hint="give the GPIO marks: --marks T0,T1,... in seconds, or the tool's trace1-timestamps.json",
        )
    pairs = mark_pairs(marks)
    if pairs[-1][1] * 1e9 > end_ns + 1e9 / trace.rate_hz:
        raise SpecError(
            f"mark {pairs[-1][1]:g} s lies behind the trace, which is {end_ns * 1e-9:g} s long", file=source.path,
            hint="marks are seconds from the start of the trace" + ("; the file breaks off" if trace.notes else ""),
        )  # fmt: skip
    counts = counts_of(inferences, len(pairs))
    return [Window(round(a * 1e9), round(b * 1e9), n) for (a, b), n in zip(pairs, counts, strict=True)]
