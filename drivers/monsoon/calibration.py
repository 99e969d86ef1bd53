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


@dataclass(frozen=True)
class RangeScales:
    """EEPROM words by channel: reference level (fine uA, coarse mA) and zero offset (counts)."""

    scale: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict(FACTORY_SCALE))
    zero: Mapping[str, tuple[int, int]] = field(default_factory=lambda: dict(FACTORY_ZERO))


@dataclass
class _Ring:
    zero: deque[int] = field(default_factory=lambda: deque(maxlen=RING))
    reference: deque[int] = field(default_factory=lambda: deque(maxlen=RING))

    @property
    def full(self) -> bool:
        return len(self.zero) == RING and len(self.reference) == RING


class Calibration:
    """Rings of the chosen channels; `piece` gives what they say at this moment."""

    def __init__(self, channels: Sequence[str], scales: RangeScales) -> None:
        self._channels = tuple(channels)
        self._scales = scales
        self._rings = {(name, code): _Ring() for name in channels for code in (FINE, COARSE)}

    def add(self, kind: SampleType, codes: Mapping[str, Sequence[int]]) -> set[str]:
        """One calibration sample: channel -> (fine, coarse) codes. A code of 0 is no reading and is ignored.

        Returns the channels whose calibration this changed, among those that are complete.
        """
        changed = set()
        for name in self._channels:
            for code in (FINE, COARSE):
                ring = self._rings[name, code]
                if codes[name][code]:
                    (ring.zero if kind == SampleType.ZERO_CAL else ring.reference).append(codes[name][code])
                    changed.add(name)
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
        offset = self._scales.zero[channel][code] + sum(ring.zero) / RING
        span = sum(ring.reference) / RING - offset
        scale = self._scales.scale[channel][code]
        if span <= 0 or scale <= 0:
            raise DeviceError(
                f"calibration of channel {channel} ({RANGE_NAMES[code]}) is not usable: reference minus zero is "
                f"{span:.1f} counts (must be > 0), EEPROM scale {scale} (must be > 0)",
                hint="power-cycle the meter; if it stays so, the unit needs service",
            )
        return CalibrationPiece(first_row, f"{channel}_current_raw", code, scale * RANGE_UNIT_A[code] / span, offset)
