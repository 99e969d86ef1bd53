"""The Raspberry Pi 5's PMIC on a board: the sampler runs `vcgencmd pmic_read_adc` again and again, this decodes it.

A print gives all bound rails or nothing. A print in which no digit changed is the same look at the converter once more:
no new reading. What no regulator feeds (USB, HATs, the regulators' own losses) is not in any channel.
"""

from __future__ import annotations

import errno
import glob
from collections.abc import Sequence

from drivers.pmic import codec
from drivers.pmic.options import PmicOptions
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

MODEL, SERIAL, DEVICE = "/proc/device-tree/model", "/proc/device-tree/serial-number", "/dev/vcio"
PROGRAMS = ("/usr/bin/vcgencmd", "/opt/vc/bin/vcgencmd")
EXECUTABLE = "agent:executable "
MODELS = ("raspberry pi 5", "raspberry pi compute module 5", "raspberry pi 500")
HOPELESS_PRINTS = 5

BOARD = "board"
FIT_GAIN, FIT_OFFSET_W = 1.1451, 0.5879
ASSUMED = Accuracy(
    0.05, 0.02, source="assumed: nobody states an accuracy of this converter; override with a calibration of your own"
)
ASSUMED_FIT = Accuracy(
    0.10,
    0.6,
    source="assumed: a fit by users (1.1451 x sum + 0.5879 W) to their own boards without USB or HAT loads; "
    "override with a calibration of your own",
)
NOT_SEEN = "USB and HAT loads, the regulators' losses, all that hangs on the 5 V input without a regulator"
JOIN_VIDEO = "sudo usermod -aG video $USER, then log in anew"


def open_on_board(request: MeterRequest) -> OnBoardPmic:
    """The host's half of the PMIC on a board; SpecError for wrong options. Touches nothing."""
    return OnBoardPmic(request)


def find_on_board(files: BoardFiles, surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """The PMIC, if the board is a Raspberry Pi 5 or one of its kin."""
    model, _, programs = _look(files, surroundings)
    if not _is_pi5(model):
        return []
    return [
        FoundMeter(
            "pi5-pmic",
            programs[0] if programs else MODEL,
            {},
            model,
            codec.RAILS,
            usable=bool(programs),
            trouble="" if programs else "vcgencmd is not installed",
            mend="" if programs else "sudo apt install raspi-utils",
        )
    ]


class OnBoardPmic:
    """OnBoardMeter over the prints of `vcgencmd pmic_read_adc`; SelfTesting."""

    def __init__(self, request: MeterRequest) -> None:
        self._request = request
        self._options = PmicOptions.from_request(request.options)
        self._channels: tuple[str, ...] = ()
        self._rows: DecodedRows | None = None

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]:
        """DeviceError on a board that is no Raspberry Pi 5, or for a channel that the PMIC does not have."""
        self._model, serial, self._programs = _look(files, self._request)
        if not _is_pi5(self._model):
            raise DeviceError(
                f"{self._model or 'this board'} is no Raspberry Pi 5: only its PMIC measures currents",
                hint="on a Pi 4 and older there is none: use a meter in the supply (docs/meters/ina219.md)",
            )
        fitted = (BOARD,) if self._options.fit == "community" else ()
        bound = tuple(channel for channel, _ in self._request.rails)
        offered = (*codec.RAILS, *fitted)
        if wrong := sorted(set(bound) - set(offered)):
            raise DeviceError(
                f"the PMIC has no channel {wrong[0]!r}; it has {', '.join(offered)}",
                hint="set the option fit to community for the channel board"
                if wrong[0] == BOARD
                else "correct `rails` of this meter in the bench file",
            )
        self._channels = bound or offered
        self._needed = frozenset(codec.RAILS if BOARD in self._channels else self._channels)
        self._expected: frozenset[str] | None = None
        self._last: codec.Print | None = None
        self._refused: list[codec.Refused] = []
        self._end_ns = 0
        self._rows = DecodedRows([name for name, _ in self._columns()], self._calibration())
        info = self._describe(serial, clock)
        return info, SamplerPlan(command=(self._options.command, "pmic_read_adc"), repeat_s=self._options.period_s)

    def self_test(self) -> Sequence[CheckItem]:
        """What the board's files say; whether the converter may be read shows with the first print."""
        self._prepared()
        there = bool(self._programs) or "/" in self._options.command
        return [
            CheckItem("model", True, self._model),
            CheckItem(
                "program",
                there,
                ", ".join(self._programs) or "no vcgencmd in /usr/bin",
                "" if there else "sudo apt install raspi-utils",
            ),
            CheckItem("not seen", True, NOT_SEEN),
        ]

    def decode(self, samples: RawSamples) -> Block | None:
        """Runs in order -> rows, gaps and counts. DeviceError if these prints can never be readings."""
        rows = self._prepared()
        for name, count in samples.counts.items():
            rows.count(name, count)
        for (entry,), begin_ns, end_ns in zip(
            samples.data, samples.begin_ns.tolist(), samples.end_ns.tolist(), strict=True
        ):
            rows.begin(begin_ns)
            self._end_ns = end_ns
            if isinstance(entry, int):
                rows.count("failed_prints")
                rows.lose(
                    "vcgencmd did not end" if entry == errno.ETIMEDOUT else errno.errorcode.get(entry, str(entry))
                )
            elif end_ns - begin_ns > self._options.period_ns:
                rows.count("slow_prints")
                rows.lose(
                    f"vcgencmd took {(end_ns - begin_ns) * 1e-9:.2g} s, longer than a period: when it looked is open"
                )
            else:
                self._print((begin_ns + end_ns) // 2, entry)
        return rows.take()

    def finish(self) -> Block | None:
        """The rest; an open gap ends with the last run."""
        return self._rows.finish(self._end_ns) if self._rows is not None else None

    # --- inside ---------------------------------------------------------------------------------------

    def _prepared(self) -> DecodedRows:
        if self._rows is None:
            raise DeviceError(f"pi5-pmic meter {self._request.name!r} is not prepared", hint="call prepare() first")
        return self._rows

    def _print(self, t_ns: int, data: bytes) -> None:
        rows = self._prepared()
        found = codec.parse_print(data)
        if isinstance(found, codec.Print):
            found = self._drifted(found) or found
        if isinstance(found, codec.Refused):
            self._refuse(found)
            return
        if self._expected is None:
            self._expected = frozenset(found.amperes)
        elif not set(found.amperes) <= self._expected:
            rows.count("new_rails")
        if found == self._last:
            rows.count("repeated_prints")
            return
        self._last = found
        if not rows.add(t_ns, self._values(found)):
            rows.count("unordered_prints")

    def _drifted(self, found: codec.Print) -> codec.Refused | None:
        expected = self._needed if self._expected is None else self._expected
        missing = sorted(expected - set(found.amperes))
        return codec.Refused("header_drift", f"rail {missing[0]} is missing") if missing else None

    def _refuse(self, refused: codec.Refused) -> None:
        rows = self._prepared()
        rows.count(refused.kind)
        rows.lose(refused.why)
        if self._expected is not None:
            return
        self._refused.append(refused)
        if refused.kind == codec.DENIED:
            raise DeviceError(
                f"the PMIC may not be read ({refused.why})",
                hint=f"{DEVICE} belongs to the group video: {JOIN_VIDEO}",
            )
        if len(self._refused) >= HOPELESS_PRINTS:
            raise DeviceError(
                f"{len(self._refused)} prints of `vcgencmd pmic_read_adc`, and none can be read: {refused.why}",
                hint="run it on the board; firmware that does not know it is too old: sudo apt full-upgrade",
            )

    def _columns(self) -> list[tuple[str, str]]:
        """(name, unit): amperes and volts of each rail; the sum of products is one of its own."""
        pairs = [(f"{rail}:{what}", unit) for rail in self._channels if rail != BOARD for what, unit in _TWO]
        return [*pairs, (f"{BOARD}:sum", "W")] if BOARD in self._channels else pairs

    def _values(self, found: codec.Print) -> list[int]:
        values = [side[rail] for rail in self._channels if rail != BOARD for side in (found.amperes, found.volts)]
        if BOARD in self._channels:
            values.append(sum(found.amperes[rail] * found.volts[rail] for rail in codec.RAILS))
        return values

    def _calibration(self) -> list[CalibrationPiece]:
        pieces = [CalibrationPiece(0, name, 0, codec.SCALE, 0.0) for name, unit in self._columns() if unit != "W"]
        if BOARD in self._channels:
            scale = FIT_GAIN * codec.SCALE**2
            pieces.append(CalibrationPiece(0, f"{BOARD}:sum", 0, scale, -FIT_OFFSET_W / scale))
        return pieces

    def _describe(self, serial: str, clock: str) -> MeterInfo:
        reading = Reading(ReadingKind.POINT, self._options.period_ns, 0)
        details = {"not_seen": NOT_SEEN, "window": "unknown: rails are converted one after another while it prints"}
        details["total"] = "sum of " + " ".join(codec.RAILS)
        if BOARD in self._channels:
            details["fit"] = f"board = {FIT_GAIN} x sum of all rails + {FIT_OFFSET_W} W"
            details |= {f"part_of:{rail}": BOARD for rail in self._channels if rail != BOARD}
        return MeterInfo(
            driver="pi5-pmic",
            model=f"{self._model} PMIC",
            serial=serial or "unknown",
            firmware="unknown",
            clock=clock,
            columns=tuple(ColumnSpec(name, unit) for name, unit in self._columns()),
            channels=tuple(_channel(name, reading) for name in self._channels),
            simulated=self._request.simulated,
            details=details,
        )


_TWO = (("current", "A"), ("voltage", "V"))


def _channel(name: str, reading: Reading) -> ChannelSpec:
    if name == BOARD:
        return ChannelSpec(BOARD, "power_w", (f"{BOARD}:sum",), reading, ASSUMED_FIT)
    return ChannelSpec(name, "power_w", tuple(f"{name}:{what}" for what, _ in _TWO), reading, ASSUMED)


def _is_pi5(model: str) -> bool:
    return model.lower().startswith(MODELS)


def _look(files: BoardFiles, request: MeterRequest) -> tuple[str, str, tuple[str, ...]]:
    """(model, serial, where vcgencmd lies), in one question."""
    prefix = str(request.sysfs_root).rstrip("/")
    at = glob.escape(prefix)
    found = files.read([at + MODEL, at + SERIAL, *(EXECUTABLE + at + path for path in PROGRAMS)])

    def text(path: str) -> str:
        return found.get(prefix + path, b"").decode("utf-8", "replace").strip("\0 \n")

    programs = [line for path in PROGRAMS for line in found.get(EXECUTABLE + at + path, b"").decode().splitlines()]
    return text(MODEL), text(SERIAL), tuple(programs)
