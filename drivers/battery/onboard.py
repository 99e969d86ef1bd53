"""A battery as a meter of the machine that it feeds: the sampler reads its files, this decodes what came.

It says something only while it discharges. Its files are renewed every few seconds at most, so they are read more often
than that and a reading is a moment at which any of them had changed; what repeats is no reading.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence

import numpy as np

from drivers.battery import codec
from drivers.battery.options import BatteryOptions
from drivers.battery.supplies import Supply, batteries, chosen
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles, CheckItem, FoundMeter, MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import (
    Accuracy,
    Block,
    CalibrationPiece,
    ChannelSpec,
    ColumnSpec,
    MeterInfo,
    Reading,
    ReadingKind,
)
from harness.io.decoded_rows import DecodedRows

GONE = (errno.ENODEV, errno.ENOENT, errno.EBADF)
RESET = "reset: "
UPDATES, PACE = 12, 1.5  # after so many updates their usual distance is at most this factor off update_s
ASSUMED = Accuracy(
    0.05,
    0.2,
    source="assumed: no maker states an accuracy of a battery's gauge; override with a calibration of your own",
)
UNPLUG = "pull the plug of the power supply"


def open_on_board(request: MeterRequest) -> OnBoardBattery:
    """The host's half of a battery; SpecError for wrong options. Touches nothing."""
    return OnBoardBattery(request)


def find_on_board(files: BoardFiles, surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """Every battery of the machine."""
    found = []
    for supply in batteries(files, surroundings.sysfs_root):
        status = supply.about.get(codec.STATUS, "unknown")
        channels = tuple(codec.offers(supply.fields))
        trouble = "" if status == codec.DISCHARGING else f"it is not discharging ({status})"
        trouble = trouble if channels else "it shows neither energy nor power"
        found.append(
            FoundMeter(
                "battery",
                supply.folder,
                {"supply": supply.name},
                supply.model,
                channels,
                usable=not trouble,
                trouble=trouble,
                mend=UNPLUG if trouble and channels else "",
            )
        )
    return found


class OnBoardBattery:
    """OnBoardMeter over the files of one battery; SelfTesting."""

    def __init__(self, request: MeterRequest) -> None:
        self._request = request
        self._options = BatteryOptions.from_request(request.options)
        self._supply: Supply | None = None

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]:
        """DeviceError without a battery, or without what the bound channels are made from."""
        supply = chosen(batteries(files, self._request.sysfs_root), self._options.supply)
        offered = codec.offers(supply.fields)
        bound = tuple(channel for channel, _ in self._request.rails) or tuple(offered)
        if wrong := [channel for channel in bound if channel not in offered]:
            raise DeviceError(
                f"battery {supply.name} has no channel {wrong[0]!r}; it has {', '.join(offered) or 'none'}, made from "
                f"{', '.join(supply.fields) or 'nothing'}",
                hint="correct `rails` of this meter in the bench file",
            )
        if not offered:
            raise DeviceError(
                f"battery {supply.name} shows neither energy_now or charge_now nor power_now or current_now",
                hint="this machine's battery cannot be used as a meter",
            )
        self._supply = supply
        self._offers = [offered[channel] for channel in bound]
        self._drawn = codec.Drawn(offered[codec.ENERGY]) if codec.ENERGY in bound else None
        self._fields = tuple(name for name in codec.FIELDS if name in supply.fields)
        self._seen: tuple[bytes | int, ...] | None = None  # the fields as they were, while discharging
        self._sign = 0
        self._updates: list[int] = []
        self._moved_ns = 0  # when the energy had last moved
        self._end_ns = 0
        self._rows = DecodedRows([name for offer in self._offers for name, _ in offer.columns], self._calibration(1))
        paths = tuple(f"{supply.folder}/{name}" for name in (codec.STATUS, *self._fields))
        return self._describe(supply, clock), SamplerPlan(files=paths, period_s=self._options.period_s)

    def self_test(self) -> Sequence[CheckItem]:
        """Whether it discharges, and what it has."""
        supply = self._prepared()
        status = supply.about.get(codec.STATUS, "unknown")
        discharging = status == codec.DISCHARGING
        return [
            CheckItem("status", discharging, status, "" if discharging else UNPLUG),
            CheckItem("fields", True, ", ".join(supply.fields)),
            CheckItem("channels", True, ", ".join(offer.channel for offer in self._offers)),
        ]

    def decode(self, samples: RawSamples) -> Block | None:
        """Passes in order -> rows at updates, gaps and counts. DeviceError if update_s is not what is seen."""
        self._prepared()
        for name, count in samples.counts.items():
            self._rows.count(name, count)
        middle_ns = samples.begin_ns + (samples.end_ns - samples.begin_ns) // 2
        for t_ns, entries in zip(middle_ns.tolist(), samples.data, strict=True):
            self._rows.begin(t_ns)
            self._end_ns = t_ns
            self._pass(t_ns, entries)
        return self._rows.take()

    def finish(self) -> Block | None:
        """The rest; an open gap ends with the last pass."""
        return self._rows.finish(self._end_ns) if self._supply is not None else None

    # --- inside ---------------------------------------------------------------------------------------

    def _prepared(self) -> Supply:
        if self._supply is None:
            raise DeviceError(f"battery meter {self._request.name!r} is not prepared", hint="call prepare() first")
        return self._supply

    def _pass(self, t_ns: int, entries: Sequence[bytes | int]) -> None:
        for name, entry in zip((codec.STATUS, *self._fields), entries, strict=True):
            if isinstance(entry, int):
                why = f"{name}: {errno.errorcode.get(entry, str(entry))}"
                self._missing(RESET + why if entry in GONE else why, again=entry in GONE)
                return
        status = bytes(entries[0]).strip().decode("ascii", "replace")
        if status != codec.DISCHARGING:
            self._missing(f"{RESET}the battery is not discharging: its status is {status[:40]!r}", again=True)
            return
        fields = tuple(entries[1:])
        if fields == self._seen:
            self._rows.count("repeated_passes")
            return
        try:
            numbers = [codec.number(name, bytes(e)) for name, e in zip(self._fields, fields, strict=True)]
        except ValueError as error:
            self._missing(str(error))
            return
        first, self._seen = self._seen is None, fields
        values = dict(zip(self._fields, numbers, strict=True))
        if first:  # of unknown age: the next change is the first reading
            if self._drawn is not None:
                self._drawn.next(values)
            self._moved_ns = t_ns
            return
        self._update(t_ns, values)

    def _missing(self, why: str, *, again: bool = False) -> None:
        """`again`: what it showed before is no longer what the next change is measured from."""
        self._rows.count("failed_passes")
        self._rows.lose(why)
        if again:
            self._seen = None
            self._updates.clear()

    def _update(self, t_ns: int, values: dict[str, int]) -> None:
        row: list[int] = []
        refused = self._refused(values)
        if self._drawn is not None:
            drawn, gained_j = self._drawn.next(values)
            if jump := self._jump(t_ns, gained_j):
                self._rows.lose(f"{RESET}{jump}", 0)
                self._rows.count("jumps")
            if gained_j:
                self._moved_ns = t_ns
        if refused:
            self._rows.count("failed_passes")
            self._rows.lose(refused)
            return
        for offer in self._offers:
            row += [drawn] if offer.channel == codec.ENERGY else [values[name] for name in offer.fields]
        self._rows.add(t_ns, row)
        self._keep_pace(t_ns)

    def _refused(self, values: dict[str, int]) -> str:
        """Why the power is no reading, or an empty text. The first one settles which sign a discharge has."""
        offer = next((o for o in self._offers if o.channel == codec.POWER), None)
        if offer is None:
            return ""
        name = offer.fields[0]
        value = values[name]
        if value == 0 or values.get("voltage_now", 1) <= 0:
            return f"{name} is {value} while the battery discharges: not measured"
        sign = 1 if value > 0 else -1
        if self._sign == 0:
            self._sign = sign
            if sign < 0:
                self._rows.calibrate(self._calibration(-1, name))
        if sign != self._sign:
            return f"{name} changed its sign while the battery discharges"
        return ""

    def _jump(self, t_ns: int, gained_j: float) -> str:
        """Why a step of the energy is none that was drawn."""
        if gained_j < 0:
            return f"the battery says it gained {-gained_j:.3g} J while it discharges"
        elapsed_s = (t_ns - self._moved_ns) * 1e-9 + self._options.update_s
        if gained_j > self._options.max_power_w * elapsed_s:
            return f"{gained_j:.3g} J in {elapsed_s:.3g} s, more than max_power_w allows"
        return ""

    def _keep_pace(self, t_ns: int) -> None:
        """DeviceError if updates come at another pace than declared: a power would be taken for another time."""
        if len(self._updates) > UPDATES or all(offer.channel != codec.POWER for offer in self._offers):
            return
        self._updates.append(t_ns)
        if len(self._updates) <= UPDATES:
            return
        # Renewals at which no figure changed are not seen: the shorter distances tell.
        pace_s = float(np.quantile(np.diff(self._updates), 0.25)) * 1e-9
        if not 1 / PACE <= pace_s / self._options.update_s <= PACE:
            raise DeviceError(
                f"the battery renews its figures every {pace_s:.3g} s, but update_s is {self._options.update_s:g} s",
                hint=f"set the option update_s to {pace_s:.2g}",
            )

    def _calibration(self, sign: int, only: str = "") -> list[CalibrationPiece]:
        pieces = []
        for offer in self._offers:
            for (column, _), name in zip(offer.columns, offer.fields, strict=False):
                scale = self._drawn.scale if offer.channel == codec.ENERGY and self._drawn else codec.W_PER_UW
                if only in ("", name) and (not only or offer.channel == codec.POWER):
                    pieces.append(CalibrationPiece(0, column, 0, sign * scale, 0.0))
        return pieces

    def _describe(self, supply: Supply, clock: str) -> MeterInfo:
        details = {f"made_from:{offer.channel}": " x ".join(offer.fields) for offer in self._offers}
        details["window"] = "unknown: gauges filter; a reading is a moment at which the files had changed"
        if len(self._offers) > 1:
            details[f"part_of:{codec.POWER}"] = codec.ENERGY  # two views of one flow: never to be added
        return MeterInfo(
            driver="battery",
            model=supply.model,
            serial=supply.about.get("serial_number") or supply.name,
            firmware="unknown",
            clock=clock,
            columns=tuple(ColumnSpec(*column) for offer in self._offers for column in offer.columns),
            channels=tuple(self._channel(offer) for offer in self._offers),
            simulated=self._request.simulated,
            details=details,
        )

    def _channel(self, offer: codec.Offer) -> ChannelSpec:
        update_ns = round(self._options.update_s * 1e9)
        counter = offer.channel == codec.ENERGY and self._drawn is not None
        return ChannelSpec(
            offer.channel,
            "energy_j" if counter else "power_w",
            tuple(name for name, _ in offer.columns),
            Reading(ReadingKind.COUNTER if counter else ReadingKind.POINT, update_ns, update_ns if counter else 0),
            ASSUMED,
            modulus_raw=self._drawn.modulus if counter and self._drawn else None,
            max_power_w=self._options.max_power_w,
        )
