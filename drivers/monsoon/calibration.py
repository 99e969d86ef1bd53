"""The unit's own calibration: rings of its zero and reference readings become slope and zero of each range.

The unit interleaves calibration samples with measurements. They are kept here per channel and range, the
last five of each kind, and averaged; the EEPROM scale says what current the reference stands for.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from drivers.monsoon.fields import (
    COARSE,
    FACTORY_SCALE,
    FACTORY_ZERO,
    FINE,
    RANGE_NAMES,
    RANGE_UNIT_A,
    SampleType,
)
from harness.core.errors import DeviceError
from harness.core.trace import CalibrationPiece

RING = 5
STRAY = 256  # counts: a calibration sample this far from the middle of its ring is damage on the way ...
STRAYS_THAT_COUNT = 3  # ... unless so many in a row agree


@dataclass(frozen=True)
class RangeScales:
    """Of the EEPROM, by channel: reference level (fine uA, coarse mA) and zero offset (counts)."""

    scale: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(FACTORY_SCALE))
    zero: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict(FACTORY_ZERO))


class _Codes:
    """The last RING codes of one kind; one that strays far from them is put aside until others say the same."""

    def __init__(self) -> None:
        self.kept: deque[int] = deque(maxlen=RING)
        self._strays: list[int] = []

    def add(self, code: int) -> bool:
        """Whether the code was believed."""
        if len(self.kept) < RING or abs(code - sorted(self.kept)[RING // 2]) <= STRAY:
            self._strays.clear()
            self.kept.append(code)
            return True
        self._strays = [stray for stray in self._strays if abs(stray - code) <= STRAY]
        self._strays.append(code)
        if len(self._strays) < STRAYS_THAT_COUNT:
            return False
        self.kept.clear()
        self.kept.extend([*self._strays, *[code] * (RING - len(self._strays))])
        self._strays.clear()
        return True

    @property
    def full(self) -> bool:
        return len(self.kept) == RING

    @property
    def mean(self) -> float:
        return sum(self.kept) / RING


@dataclass
class _Ring:
    zero: _Codes = field(default_factory=_Codes)
    reference: _Codes = field(default_factory=_Codes)

    @property
    def full(self) -> bool:
        return self.zero.full and self.reference.full


class Calibration:
    """Rings of the chosen channels; `piece` gives what they say at this moment."""

    def __init__(self, channels: Sequence[str], scales: RangeScales) -> None:
        self._channels = tuple(channels)
        self._scales = scales
        self._rings = {(name, code): _Ring() for name in channels for code in (FINE, COARSE)}
        self.strays = 0  # calibration codes that were not believed

    def add(self, kind: SampleType, codes: Mapping[str, Sequence[int]]) -> set[str]:
        """One calibration sample: channel -> (fine, coarse) codes. A code of 0 is no reading and is ignored, one far
        from those before it is not believed.

        Returns the channels whose calibration this changed, among those that are complete.
        """
        changed = set()
        for name in self._channels:
            for code in (FINE, COARSE):
                ring = self._rings[name, code]
                if not codes[name][code]:
                    continue
                if (ring.zero if kind == SampleType.ZERO_CAL else ring.reference).add(codes[name][code]):
                    changed.add(name)
                else:
                    self.strays += 1
        return {name for name in changed if self.complete(name)}

    def missing(self) -> tuple[str, ...]:
        """Ranges that still lack calibration samples, as "main fine"."""
        return tuple(f"{name} {RANGE_NAMES[code]}" for (name, code), ring in self._rings.items() if not ring.full)

    def complete(self, channel: str) -> bool:
        return all(self._rings[channel, code].full for code in (FINE, COARSE))

    def pieces(self, channel: str, first_row: int) -> tuple[CalibrationPiece, CalibrationPiece]:
        """Fine and coarse piece of a complete channel: zero = Z + mean(zero), scale = S/(mean(ref) - zero).

        Raises DeviceError when reference and zero coincide: the current would read 0 (or infinity).
        """
        fine, coarse = (self._piece(channel, code, first_row) for code in (FINE, COARSE))
        return fine, coarse

    def _piece(self, channel: str, code: int, first_row: int) -> CalibrationPiece:
        ring = self._rings[channel, code]
        offset = self._scales.zero[channel][code] + ring.zero.mean
        span = ring.reference.mean - offset
        scale = self._scales.scale[channel][code]
        if span <= 0 or scale <= 0:
            raise DeviceError(
                f"calibration of channel {channel} ({RANGE_NAMES[code]}) is not usable: reference minus zero is "
                f"{span:.1f} counts (must be > 0), EEPROM scale {scale:g} (must be > 0)",
                hint="power-cycle the meter; if it stays so, the unit needs service",
            )
        return CalibrationPiece(first_row, f"{channel}_current_raw", code, scale * RANGE_UNIT_A[code] / span, offset)
