"""What a bench file may say to a streamer, checked before anything is opened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from drivers.chips.ina219 import (
    AVERAGES,
    BOTH_CONTINUOUS,
    INPUT_MAX_V,
    RANGES_MV,
    SHUNT_CONTINUOUS,
    Config,
    adc_code,
    config_word,
)
from harness.core.errors import SpecError
from harness.core.ports import MeterRequest

MODES = ("shunt", "both")
FORMATS = {"text": "a", "binary": "b"}
MARK_CALIBRATION = 0x1000  # nobody uses it, but a chip that lost its supply has 0: that is how it is found
BREAKOUT_OHM = 0.1


@dataclass(frozen=True)
class InaOptions:
    """What is measured and how.

    `mode`: "both" reads shunt and bus in turn, "shunt" the shunt without pause at a known voltage; `supply_v`: that
    voltage on the supply's side (None: measured when opened); `load_side`: the board's voltage, not the supply's;
    `averaging`, `bus_averaging`: samples of 12 bit; `bits`: of one sample when `averaging` is 1; `period_us`: 0 for
    every conversion.
    """

    port: str
    baud: int = 115200
    shunt_ohm: float = BREAKOUT_OHM
    shunt_tolerance_rel: float = 0.01
    mode: str = "both"
    range_mv: int = 320
    bus_range_v: int = 16
    bits: int = 12
    averaging: int = 8
    bus_averaging: int = 1
    period_us: int = 0
    format: str = "text"
    supply_v: float | None = None
    supply_tolerance_rel: float = 0.02
    load_side: bool = True
    grade: str = "A"

    @property
    def shunt_only(self) -> bool:
        return self.mode == "shunt"

    @property
    def config(self) -> Config:
        return Config.of(self.word())

    def word(self, *, both: bool = False) -> int:
        """The configuration word of these options; `both`: with bus conversions, whatever the mode."""
        return config_word(
            range_mv=self.range_mv,
            bus_range_v=self.bus_range_v,
            sadc=adc_code(bits=self.bits, averages=self.averaging),
            badc=adc_code(bits=self.bits, averages=self.bus_averaging),
            mode=SHUNT_CONTINUOUS if self.shunt_only and not both else BOTH_CONTINUOUS,
        )

    @classmethod
    def parse(cls, request: MeterRequest) -> InaOptions:
        """From the binding; SpecError for what is unknown, of the wrong type, out of bounds or contradictory."""
        given = Given(request.name, "ina219", request.options, tuple(cls.__dataclass_fields__))
        options = cls(
            port=given.text("port", ""),
            baud=given.whole("baud", 115200, 9600, 2_000_000),
            shunt_ohm=given.number("shunt_ohm", BREAKOUT_OHM, 1e-5, 1000.0),
            shunt_tolerance_rel=given.number("shunt_tolerance_rel", 0.01, 1e-6, 0.5),
            mode=given.one_of("mode", "both", MODES),
            range_mv=given.whole_of("range_mv", 320, RANGES_MV),
            bus_range_v=given.whole_of("bus_range_v", 16, (16, 32)),
            bits=given.whole_of("bits", 12, (9, 10, 11, 12)),
            averaging=given.whole_of("averaging", 1 if "bits" in request.options else 8, AVERAGES),
            bus_averaging=given.whole_of("bus_averaging", 1, AVERAGES),
            period_us=given.whole("period_us", 0, 0, 10_000_000),
            format=given.one_of("format", "text", tuple(FORMATS)),
            supply_v=given.number("supply_v", math.nan, 0.5, INPUT_MAX_V) if "supply_v" in request.options else None,
            supply_tolerance_rel=given.number("supply_tolerance_rel", 0.02, 1e-6, 0.5),
            load_side=bool(given.whole("load_side", 1, 0, 1)),
            grade=given.one_of("grade", "A", ("A", "B")),
        )
        given.must("port", options.port != "", "is missing", "give the serial port, such as /dev/ttyUSB0")
        alone = options.bits == 12 or (options.averaging == 1 and options.bus_averaging == 1)
        given.must(
            "bits", alone, f"{options.bits} cannot be averaged", "averaging is of 12-bit samples: leave bits away"
        )
        both = options.supply_v is None or options.shunt_only
        given.must(
            "supply_v", both, "contradicts mode: both", "in mode both the chip measures the voltage; leave it away"
        )
        fits = options.supply_v is None or options.supply_v > options.range_mv * 1e-3
        given.must("supply_v", fits, "is below the shunt's own range", "give the supply's voltage in volts")
        return options


class Given:
    """The options of one binding, taken out by type; every complaint names the meter and the option."""

    def __init__(
        self, meter: str, driver: str, options: Mapping[str, str | int | float], known: tuple[str, ...]
    ) -> None:
        self._meter, self._options = meter, options
        if unknown := sorted(set(options) - set(known)):
            raise SpecError(
                f"meter {meter!r}: {driver} has no option {unknown[0]!r}",
                hint=f"its options are {', '.join(sorted(known))}",
            )

    def must(self, option: str, true: object, what: str, hint: str) -> None:
        if not true:
            raise SpecError(f"meter {self._meter!r}: {option} {what}", hint=hint)

    def text(self, option: str, default: str) -> str:
        return str(self._options.get(option, default))

    def one_of(self, option: str, default: str, choices: tuple[str, ...]) -> str:
        value = self._options.get(option, default)
        self.must(option, value in choices, f"is {value!r}", f"use {' or '.join(choices)}")
        return str(value)

    def number(self, option: str, default: float, low: float, high: float) -> float:
        value = self._options.get(option, default)
        fine = not isinstance(value, str | bool) and math.isfinite(value) and low <= value <= high
        self.must(option, fine, f"is {value!r}", f"give a number of {low:g}-{high:g}")
        return float(value)

    def whole(self, option: str, default: int, low: int, high: int) -> int:
        value = self._options.get(option, default)
        fine = isinstance(value, int) and low <= value <= high
        self.must(option, fine, f"is {value!r}", f"give a whole number {low}-{high}")
        return int(value)

    def whole_of(self, option: str, default: int, choices: tuple[int, ...]) -> int:
        value = self._options.get(option, default)
        fine = isinstance(value, int) and value in choices
        self.must(option, fine, f"is {value!r}", f"use {', '.join(map(str, choices))}")
        return int(value)
