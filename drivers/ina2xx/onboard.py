"""INA monitors of a board: the agent's sampler reads the kernel's files there, this decodes them here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from drivers.ina2xx import health, tree
from drivers.ina2xx.description import describe
from drivers.ina2xx.kernel import Generation, generation_of
from drivers.ina2xx.options import InaOptions
from drivers.ina2xx.rails import Rail, rail_of, spots
from drivers.ina2xx.readings import Readings
from drivers.ina2xx.timing import Timing, timing_of, update_of
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles, CheckItem, MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import Block, MeterInfo
from harness.io.sysfs import Sysfs, reason

COUNT_NAMES = {"late_passes": "late_polls"}


def open_on_board(request: MeterRequest) -> OnBoardIna:
    """The host's half of INA monitors on a board; SpecError for wrong options. Touches nothing."""
    return OnBoardIna(request)


class OnBoardIna:
    """OnBoardMeter (and SelfTesting) over the INA chips below `request.sysfs_root` of the board.

    Reads the channels that `request.rails` names, or all there are. A pass in which any file failed is no reading.
    """

    def __init__(self, request: MeterRequest) -> None:
        self._request = request
        self._options = InaOptions.from_request(request.options)
        self._rails: list[Rail] = []
        self._timing: Timing | None = None
        self._readings: Readings | None = None
        self._checks: Sequence[CheckItem] = ()
        self._end_ns = 0

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]:
        """Looks through the board's tree in one question. DeviceError (none, refuses) or SpecError (which shunt?)."""
        sysfs = tree.look(files, self._request.sysfs_root)
        release = tree.release(sysfs)
        generation = self._options.kernel_driver or generation_of(release)
        rails, left_out = self._find(sysfs, generation)
        updates = [update_of(sysfs, rail.chip) for rail in rails]
        self._timing = timing_of(rails, updates, self._options.poll_s)
        self._rails, self._readings = rails, None
        self._checks = health.checks(rails, updates, self._timing)
        info = describe(
            rails, updates, self._timing, self._options, clock=clock, release=release, generation=generation,
            left_out=left_out, simulated=self._request.simulated,
        )  # fmt: skip
        paths = tuple(str(sysfs.path(item.path)) for rail in rails for item in rail.items)
        return info, SamplerPlan(files=paths, period_s=self._timing.poll_s)

    def decode(self, samples: RawSamples) -> Block | None:
        """Passes in order -> rows, gaps and counts; None while there is no row."""
        readings = self._started(samples)
        if readings is None:
            return None
        for name, count in samples.counts.items():
            readings.count(COUNT_NAMES.get(name, name), count)
        begin, end = samples.begin_ns.tolist(), samples.end_ns.tolist()
        for begin_ns, end_ns, entries in zip(begin, end, samples.data, strict=True):
            readings.add(begin_ns, end_ns, entries)
        if end:
            self._end_ns = end[-1]
        return readings.take()

    def finish(self) -> Block | None:
        """What waited for a row that never came; an open gap ends with the last pass."""
        return self._readings.finish(self._end_ns) if self._readings is not None else None

    def self_test(self) -> Sequence[CheckItem]:
        """Shunts, calibration, bus voltage, headroom and update interval as they were found."""
        return self._checks

    def _started(self, samples: RawSamples) -> Readings | None:
        if self._timing is None:
            raise DeviceError(f"ina2xx meter {self._request.name!r} is not prepared", hint="call prepare() first")
        if self._readings is None and len(samples.begin_ns):
            self._readings = Readings(self._rails, self._timing, begin_ns=int(samples.begin_ns[0]))
        return self._readings

    def _find(self, sysfs: Sysfs, generation: Generation) -> tuple[list[Rail], Mapping[str, str]]:
        wanted = {channel for channel, _ in self._request.rails}
        found = tree.chips(sysfs)
        chosen = [chip for chip in found if self._options.chip in (None, chip.place)]
        if not chosen:
            raise _nothing(sysfs, [chip.name for chip in found], self._options.chip)
        here = spots(sysfs, chosen)
        channels = [spot.channel for spot in here]
        if missing := sorted(wanted - set(channels)):
            raise DeviceError(
                f"there is no INA channel {missing[0]!r}; there are {channels}",
                hint="correct `rails` of this meter in the bench file, or pick one chip with option chip",
            )
        rails: list[Rail] = []
        left_out: dict[str, str] = {}
        for spot in here:
            if wanted and spot.channel not in wanted:
                continue
            try:
                rails.append(
                    rail_of(
                        sysfs, spot, generation,
                        declared_ohm=self._options.shunt_of(spot.channel), kernel_ohm=self._options.kernel_shunt_ohm,
                    )
                )  # fmt: skip
            except (OSError, ValueError) as error:
                refused = _refuses(spot.channel, error)
                if wanted:
                    raise refused from error
                left_out[spot.channel] = refused.message
        if not rails:
            raise DeviceError(
                f"no channel of {', '.join(chip.name for chip in chosen)} can be read: {left_out or 'all disabled'}",
                hint="look at them with `grep . /sys/bus/i2c/devices/*/hwmon/*/in*_input` and at `dmesg | grep ina`",
            )
        return rails, left_out


def _refuses(channel: str, error: OSError | ValueError) -> DeviceError:
    if isinstance(error, OSError):
        where = f"{error.filename} " if error.filename else ""
        why = f"{where}cannot be read ({reason(error)})"
    else:
        why = str(error)
    return DeviceError(
        f"INA channel {channel!r}: {why}",
        hint="try `cat` on it as the same user, and `dmesg | grep -i ina`; or leave the channel out of `rails`",
    )


def _nothing(sysfs: Sysfs, names: Sequence[str], wanted: str | None) -> DeviceError:
    if wanted is not None and names:
        return DeviceError(f"there is no INA chip at {wanted!r}; there are {list(names)}", hint="correct option chip")
    return DeviceError(
        f"no INA219, INA226, INA260 or INA3221 is served by the kernel below {sysfs.path('sys/bus/i2c/devices')}",
        hint="load the driver and name the chip: `sudo modprobe ina2xx` and "
        "`echo ina219 0x40 | sudo tee /sys/bus/i2c/devices/i2c-1/new_device`",
    )
