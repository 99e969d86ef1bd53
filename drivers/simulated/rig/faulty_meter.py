"""A meter in virtual time with a fault of its own, whatever it is: what its blocks carry is changed on their way.

*stuck*: readings repeat the last one before for a while; a counter stands still and then goes on from there, so what it
missed stays missing. *lost*: readings are missing, with or without a word from the meter. *scale*: everything is off by
one factor (a wrong shunt, a wrong unit), which nothing in the trace can tell.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from harness.core.ports import StreamingMeter
from harness.core.trace import Block, CalibrationPiece, Gap, IntColumn, MeterInfo, ReadingKind

NS = 1_000_000_000


@dataclass(frozen=True)
class MeterFault:
    """`kind`: stuck, lost, lost_silently or scale; begin and length (s, of the meter's clock, from its first reading);
    `factor`: of a scale."""

    kind: str
    after_s: float = 0.0
    for_s: float = 0.0
    factor: float = 1.0


class FaultyMeter:
    """Implements StreamingMeter around another one."""

    def __init__(self, inner: StreamingMeter, fault: MeterFault) -> None:
        self._inner, self._fault = inner, fault
        self._first_ns: int | None = None
        self._kept_ns: int | None = None  # of the last row handed on
        self._held: dict[str, int] = {}  # raw values of the last row before the fault
        self._missed: dict[str, int] = {}  # of a counter that stood still
        self._column = ""
        self._modulus: dict[str, int] = {}

    @property
    def buffer_s(self) -> float:
        return self._inner.buffer_s

    @property
    def recovered(self) -> bool:
        return self._inner.recovered

    def open(self) -> MeterInfo:
        info = self._inner.open()
        channel = info.channels[0]
        self._column = channel.columns[0]
        if channel.reading.kind is ReadingKind.COUNTER and channel.modulus_raw is not None:
            self._modulus[self._column] = channel.modulus_raw
        return info

    def start(self) -> None:
        self._inner.start()

    def step(self, until_ns: int) -> Block | None:
        return self._changed(self._inner.step(until_ns))

    def stop(self) -> Block | None:
        return self._changed(self._inner.stop())

    def close(self) -> None:
        self._inner.close()

    def _changed(self, block: Block | None) -> Block | None:
        if block is None:
            return None
        if self._fault.kind == "scale":
            return dataclasses.replace(block, calibration=self._scaled(block.calibration))
        if len(block) == 0:
            return block
        if self._first_ns is None:
            self._first_ns = int(block.t_ns[0])
        begin = self._first_ns + round(self._fault.after_s * NS)
        within = (block.t_ns >= begin) & (block.t_ns < begin + round(self._fault.for_s * NS))
        if self._fault.kind == "stuck":
            columns = {name: self._stuck(name, values, within) for name, values in block.columns.items()}
            return dataclasses.replace(block, columns=columns)
        return self._without(block, within)

    def _scaled(self, pieces: Sequence[CalibrationPiece]) -> tuple[CalibrationPiece, ...]:
        return tuple(
            dataclasses.replace(p, scale=p.scale * self._fault.factor) if p.column == self._column else p
            for p in pieces
        )

    def _stuck(self, name: str, values: IntColumn, within: npt.NDArray[np.bool_]) -> IntColumn:
        """Raw values (N,) with those within the fault held at the last one before."""
        rows = np.flatnonzero(within)
        if len(rows) == 0:
            self._held[name] = int(values[-1])
        elif rows[0] > 0 or name not in self._held:
            self._held[name] = int(values[max(rows[0] - 1, 0)])
        out: IntColumn = values.copy()
        out[rows] = self._held[name]
        modulus = self._modulus.get(name)
        if modulus is None:
            return out
        if len(rows):
            self._missed[name] = (int(values[rows[-1]]) - self._held[name]) % modulus
            after = slice(int(rows[-1]) + 1, None)
        else:
            after = slice(0, None)
        out[after] = (values[after] - self._missed.get(name, 0)) % modulus
        return out

    def _without(self, block: Block, within: npt.NDArray[np.bool_]) -> Block:
        """The block without the rows of the fault."""
        gaps = list(block.gaps)
        rows = np.flatnonzero(within)
        if len(rows):
            before_ns = int(block.t_ns[rows[0] - 1]) if rows[0] > 0 else self._kept_ns
            if self._fault.kind == "lost" and before_ns is not None:
                gaps = [g for g in gaps if not before_ns <= g.begin_ns < int(block.t_ns[rows[-1]])]
                gaps.append(Gap(before_ns, int(block.t_ns[rows[-1]]), len(rows), "lost on the way"))
        self._kept_ns = int(block.t_ns[-1])
        pieces = [dataclasses.replace(p, first_row=int((~within[: p.first_row]).sum())) for p in block.calibration]
        columns = {name: values[~within] for name, values in block.columns.items()}
        return dataclasses.replace(block, t_ns=block.t_ns[~within], columns=columns, calibration=pieces, gaps=gaps)
