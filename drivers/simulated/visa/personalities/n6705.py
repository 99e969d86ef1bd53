"""Keysight N6705 with an N6781A: the external data logger (Elog), a FIFO of 20 s whose period it rounds by itself.

From Keysight's N6700 programmer's reference (ELOG, FETCh, FORMat) and working scripts. A record holds average, minimum
and maximum of the current, then of the voltage, as far as they are enabled; REAL is a definite block of 32-bit floats.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from drivers.simulated.visa.electrical import Front
from drivers.simulated.visa.grammar import (
    OUT_OF_RANGE,
    ScpiError,
    block,
    boolean,
    channels,
    number,
)
from drivers.simulated.visa.instrument import Answer, Call, Instrument, Setting, command
from drivers.simulated.visa.personalities.standard import Standard, nr3
from harness.core.clock import FloatArray

STEP_S = {"RES20": 20.48e-6, "RES40": 40.96e-6}
LEAST_S = 102.4e-6  # of a record of one parameter at RES20
FIFO_S = 20.0
PARTS = 4  # of a period, in which extremes are looked for
AMPS = (100e-6, 10e-3, 0.1, 1.0, 3.0)
NOT_INITIATED = -213


@dataclass
class N6705(Standard):
    """Channel 1 of the mainframe; `front`: what it supplies."""

    identity: ClassVar[str] = "Agilent Technologies,N6705B,MY50001234,D.02.05"
    settings: ClassVar[dict[str, Setting]] = {
        "format": Setting(":FORMat[:DATA]", "choice", "ASCii", choices=("ASCii", "REAL")),
        "order": Setting(":FORMat:BORDer", "choice", "NORMal", choices=("NORMal", "SWAPped")),
        "resolution": Setting("[:SENSe]:SWEep:TINTerval:RESolution", "choice", "RES20", choices=tuple(STEP_S)),
    }
    front: Front = field(kw_only=True)
    fifo_s: float = FIFO_S

    @classmethod
    def of(cls, front: Front, *, begin_ns: int, **more: Any) -> Instrument:
        return cls(front=front, begin_ns=begin_ns, **more)

    def __post_init__(self) -> None:
        self._records: deque[FloatArray] = deque()  # arrays of whole records (K, parameters)
        super().__post_init__()

    def reset(self) -> None:
        super().reset()
        self._on = {"CURR": True, "VOLT": False}
        self._extremes = {"CURR": False, "VOLT": False}
        self._range = {"CURR": 3.0, "VOLT": 20.0}
        self._period_s = 0.1
        self._source, self._state, self._logged_ns, self._fetched_in = "BUS", "IDLE", 0.0, 0
        self._records.clear()

    @property
    def parameters(self) -> int:
        return sum((3 if self._extremes[name] else 1) for name, on in self._on.items() if on)

    def _rounded(self, wanted_s: float) -> float:
        """The period that it really takes."""
        step = STEP_S[self.value("resolution")]
        least = LEAST_S * max(1, self.parameters) * step / STEP_S["RES20"]
        return max(least, round(wanted_s / step) * step)

    def work(self, now_ns: int) -> None:
        if self._state != "RUNNING":
            return
        period_ns = self.front.period_ns(self._period_s * 1e9)
        count = int((now_ns - self._logged_ns) / period_ns)
        if count <= 0:
            return
        edges = self._logged_ns + np.arange(count * PARTS + 1) * (period_ns / PARTS)
        volts, amps = self.front.windows(edges)
        columns: list[FloatArray] = []
        for name, values in (("CURR", amps), ("VOLT", volts)):
            if self._on[name]:
                parts = np.where(np.abs(values) > 1.05 * self._range[name], np.nan, values).reshape(count, PARTS)
                columns.append(parts.mean(axis=1))
                if self._extremes[name]:
                    columns += [parts.min(axis=1), parts.max(axis=1)]
        self._records.append(np.stack(columns, axis=1))
        self._logged_ns += count * period_ns
        held, most = sum(len(rows) for rows in self._records), int(self.fifo_s / self._period_s)
        while held > most:
            lost = min(held - most, len(self._records[0]))
            self._records[0] = self._records[0][lost:]
            held -= lost
            if not len(self._records[0]):
                self._records.popleft()

    @command(":FETCh:ELOG?")
    def _fetch(self, call: Call) -> Answer:
        call.takes(2)
        wanted = round(number(call.args[0]))
        self._channel(call)
        if self._state == "IDLE":
            raise ScpiError(-230, "Data corrupt or stale")
        if not 1 <= wanted <= 16384:
            raise ScpiError(OUT_OF_RANGE)
        rows = [np.zeros((0, max(1, self.parameters)))]
        while self._records and wanted > 0:
            first = self._records.popleft()
            rows.append(first[:wanted])
            if len(first) > wanted:
                self._records.appendleft(first[wanted:])
            wanted -= len(rows[-1])
        values = np.concatenate(rows).ravel()
        if self.value("format") == "REAL":
            sent = np.where(np.isnan(values), 9.91e37, values)
            return block(sent.astype(">f4" if self.value("order") == "NORMal" else "<f4").tobytes())
        return ",".join(nr3(float(value)) for value in values)

    # --- setting up ---------------------------------------------------------------------------------

    def _channel(self, call: Call) -> None:
        channels(call.args[-1], 1)

    def _idle(self) -> None:
        if self._state != "IDLE":
            raise ScpiError(-221)

    @command("[:SENSe]:ELOG:FUNCtion:CURRent", "[:SENSe]:ELOG:FUNCtion:VOLTage")
    def _function(self, call: Call) -> Answer:
        call.takes(2)
        self._channel(call)
        self._idle()
        self._on[self._quantity] = boolean(call.args[0])
        self._period_s = self._rounded(self._period_s)
        return None

    @command("[:SENSe]:ELOG:FUNCtion:CURRent:MINMax", "[:SENSe]:ELOG:FUNCtion:VOLTage:MINMax")
    def _minmax(self, call: Call) -> Answer:
        call.takes(2)
        self._channel(call)
        self._idle()
        self._extremes[self._quantity] = boolean(call.args[0])
        self._period_s = self._rounded(self._period_s)
        return None

    @command("[:SENSe]:ELOG:FUNCtion:CURRent?", "[:SENSe]:ELOG:FUNCtion:VOLTage?")
    def _functions(self, call: Call) -> Answer:
        self._channel(call)
        return str(int(self._on[self._quantity]))

    @command("[:SENSe]:ELOG:CURRent[:DC]:RANGe[:UPPer]", "[:SENSe]:ELOG:VOLTage[:DC]:RANGe[:UPPer]")
    def _set_range(self, call: Call) -> Answer:
        call.takes(2)
        self._channel(call)
        self._idle()
        steps = AMPS if self._quantity == "CURR" else (1.0, 20.0)
        fits = [step for step in steps if step >= abs(number(call.args[0])) * (1 - 1e-9)]
        if not fits:
            raise ScpiError(OUT_OF_RANGE)
        self._range[self._quantity] = fits[0]
        return None

    @command("[:SENSe]:ELOG:CURRent[:DC]:RANGe[:UPPer]?", "[:SENSe]:ELOG:VOLTage[:DC]:RANGe[:UPPer]?")
    def _get_range(self, call: Call) -> Answer:
        self._channel(call)
        return nr3(self._range[self._quantity])

    def carry_out(self, unit: Any) -> Answer:
        self._quantity = "CURR" if ":CURR" in unit.header else "VOLT"
        return super().carry_out(unit)

    @command("[:SENSe]:ELOG:PERiod")
    def _set_period(self, call: Call) -> Answer:
        call.takes(2)
        self._channel(call)
        self._idle()
        wanted = number(call.args[0], "S")
        if not 0 < wanted <= 60:
            raise ScpiError(OUT_OF_RANGE)
        self._period_s = self._rounded(wanted)
        return None

    @command("[:SENSe]:ELOG:PERiod?")
    def _get_period(self, call: Call) -> Answer:
        self._channel(call)
        return nr3(self._period_s)

    @command(":TRIGger:ELOG:SOURce")
    def _set_source(self, call: Call) -> Answer:
        call.takes(2)
        if call.args[0].upper() not in ("BUS", "IMM", "IMMEDIATE"):
            raise ScpiError(-224)
        self._source = call.args[0].upper()[:3]
        return None

    @command(":INITiate[:IMMediate]:ELOG")
    def _init(self, call: Call) -> Answer:
        self._channel(call)
        if self._state != "IDLE":
            raise ScpiError(NOT_INITIATED, "Init ignored")
        self._records.clear()
        self._state = "WAITING"
        if self._source == "IMM":
            self._run()
        return None

    @command(":TRIGger:ELOG[:IMMediate]")
    def _trigger(self, call: Call) -> Answer:
        self._channel(call)
        if self._state != "WAITING":
            raise ScpiError(-211, "Trigger ignored")
        self._run()
        return None

    def _run(self) -> None:
        if not self.parameters:
            raise ScpiError(-221)
        self._state, self._logged_ns = "RUNNING", float(self.now_ns)

    @command(":ABORt:ELOG")
    def _abort(self, call: Call) -> Answer:
        self._channel(call)
        self._state = "IDLE"
        return None

    # --- slow readings ------------------------------------------------------------------------------

    @command(":MEASure[:SCALar]:CURRent[:DC]?", ":MEASure[:SCALar]:VOLTage[:DC]?")
    def _measure(self, call: Call) -> Answer:
        call.takes(1)
        self._channel(call)
        volts, amps = self.front.windows(np.array([self.now_ns - 21e6, float(self.now_ns)]))
        return nr3(float(amps[0] if self._quantity == "CURR" else volts[0]))

    @command(":MEASure[:SCALar]:POWer[:DC]?")
    def _power(self, call: Call) -> Answer:
        self._channel(call)
        volts, amps = self.front.windows(np.array([self.now_ns - 21e6, float(self.now_ns)]))
        return nr3(float(amps[0] * volts[0]))

    @command(":SYSTem:CHANnel[:COUNt]?")
    def _count(self, call: Call) -> Answer:
        return "1"

    @command(":SYSTem:CHANnel:MODel?")
    def _model(self, call: Call) -> Answer:
        self._channel(call)
        return '"N6781A"'
