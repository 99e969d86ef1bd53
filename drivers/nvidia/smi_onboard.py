"""nvidia-smi on a board: the agent's sampler runs it in its loop mode and stamps its lines, this decodes on the host.

One program for the whole run, since to start it costs the board up to half a second. A line of an unknown form, a GPU
without a row, a word instead of a number: all are gaps with their reason. What can never end in a figure is an error.
"""

from __future__ import annotations

import errno
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from drivers.nvidia import access, csv_lines, nvml_setup
from drivers.nvidia.csv_lines import FIELDS, Header, Lines, Refused, Row
from drivers.nvidia.description import Channel, beat_of, channels_of, describe, kernel_of, lead_first
from drivers.nvidia.gpus import Gpu, Machine, Visible, visible, wanted_channels
from drivers.nvidia.options import smi_options
from drivers.nvidia.readings import Missing, Readings
from drivers.nvidia.sensors import MS
from drivers.nvidia.smi_passes import Pass, Passes
from drivers.nvidia.timing import Timing
from drivers.nvidia.xml_log import NotALog, parse_log
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles, CheckItem, MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import Block, MeterInfo

LOG, HELP = "agent:nvidia_smi log ", "agent:nvidia_smi fields "
SHORTEST_MS = 20.0  # a query takes some milliseconds a GPU
RENEW_ON, RENEW_AFTER = "[Unknown Error]", 10  # its loop mode can get stuck in it while single queries work
HOPELESS_LINES = 12  # without a good pass among them: it will not come
PACE_PASSES = 20
SLOW, SEEN = 1.5, 0.9  # the median time between passes: of what was asked; of an update, so that none is missed
UNSTAMPED = "several queries came at once, so it is not known when they were made"


def open_on_board(request: MeterRequest) -> OnBoardSmi:
    """The host's half of nvidia-smi on a board; SpecError for wrong options. Touches nothing."""
    return OnBoardSmi(request)


class OnBoardSmi:
    """OnBoardMeter and SelfTesting over the lines of `nvidia-smi --query-gpu=... --format=csv -lms N`."""

    def __init__(self, request: MeterRequest) -> None:
        self._request = request
        self._options = smi_options(request.options)
        self._channels: tuple[Channel, ...] = ()
        self._chosen: tuple[Visible, ...] = ()

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]:
        """Two questions to the board. DeviceError without nvidia-smi, a GPU or the field that the bench binds."""
        machine = look(files, self._options.where)
        self._chosen = visible(machine, self._options.visible, self._options.cuda_order)
        wanted = wanted_channels(self._chosen, [channel for channel, _ in self._request.rails], tuple(FIELDS))
        self._channels = lead_first(channels_of(wanted, self._options))
        self._timing = beat_of(
            self._channels, self._options, driver="nvidia-smi", option="interval_ms", shortest_ms=SHORTEST_MS
        )  # fmt: skip
        by_bus = sorted((channel.gpu for channel in self._channels), key=lambda gpu: gpu.index)  # as rows come
        uuids = list(dict.fromkeys(gpu.uuid for gpu in by_bus))
        asked = list(dict.fromkeys(FIELDS[channel.field] for channel in self._channels))
        self._names = {gpu.uuid: gpu.label for gpu in machine.gpus}
        self._lines, self._passes = Lines(asked, bare_unit=self._options.unit), Passes(uuids)
        self._readings: Readings | None = None
        self._refused: list[Refused] = []  # before the first good pass
        self._good = False
        self._stamps: list[int] = []  # of the first passes
        self._last_ns: int | None = None
        self._end_ns = 0
        info = describe(
            "nvidia-smi", machine, self._chosen, self._channels, self._timing, clock=clock,
            simulated=self._request.simulated,
        )  # fmt: skip
        command = [self._options.where, f"--query-gpu={','.join(('timestamp', 'uuid', *asked))}", "--format=csv"]
        if len(uuids) < len(machine.gpus):
            command += ["-i", ",".join(uuids)]
        command += ["-lms", str(round(self._timing.poll_ns / MS))]
        return info, SamplerPlan(command=tuple(command), renew_on=RENEW_ON, renew_after=RENEW_AFTER)

    def self_test(self) -> Sequence[CheckItem]:
        """What is known of the sensors; the lines themselves are judged when they come."""
        self._prepared()
        found = []
        for channel in self._channels:
            sensor, kind = channel.sensor, kernel_of(channel, self._timing).kind
            if sensor is not None:
                words = f"{kind}: {sensor.window_ms:g} ms of every {sensor.update_ms:g} ms ({sensor.source})"
                mend = "" if sensor.known else "`joulebench meters characterise` finds window and period"
                found.append(CheckItem(f"sensor {channel.name}", sensor.known, words, mend))
        return found + nvml_setup.persistence(self._chosen)

    def decode(self, samples: RawSamples) -> Block | None:
        """Lines in order of arrival -> rows, gaps and counts. DeviceError if these lines can never be readings."""
        timing = self._prepared()
        arrived = samples.begin_ns.tolist()
        if self._readings is None:
            if not arrived:
                return None
            registers = [channel.register for channel in self._channels]
            self._readings = Readings(registers, timing, frozen_s=self._options.frozen_s, begin_ns=arrived[0])
        readings = self._readings
        for name, count in samples.counts.items():
            readings.count(name, count)
        if arrived:
            self._end_ns = int(samples.end_ns[-1])
        for t_ns, (entry,) in zip(arrived, samples.data, strict=True):
            if isinstance(entry, int):
                self._failed(readings, entry)
            else:
                self._line(readings, t_ns, entry)
        return readings.take()

    def finish(self) -> Block | None:
        """What was held back; an open gap ends with the last line."""
        return self._readings.finish(self._end_ns) if self._readings is not None else None

    # --- inside ---------------------------------------------------------------------------------------

    def _prepared(self) -> Timing:
        if not self._channels:
            raise DeviceError(f"nvidia-smi meter {self._request.name!r} is not prepared", hint="call prepare() first")
        return self._timing

    def _failed(self, readings: Readings, code: int) -> None:
        """A stretch without lines."""
        self._passes.broken()
        if code == errno.EPIPE:
            self._lines.restart()
            readings.lose("nvidia-smi ended and was started again")
            return
        readings.lose(errno.errorcode.get(code, str(code)))

    def _line(self, readings: Readings, t_ns: int, line: bytes) -> None:
        outcome = self._lines.read(line)
        if isinstance(outcome, Row):
            if not self._passes.wants(outcome.uuid):
                readings.count(csv_lines.OTHER)
                return
            for whole in self._passes.add(t_ns, outcome):
                self._pass(readings, whole)
        elif isinstance(outcome, Refused):
            self._passes.broken()
            readings.count(outcome.kind)
            readings.lose(outcome.why, gone="nvidia-smi" if outcome.gone else "")
            self._note(outcome)
        elif isinstance(outcome, Header):
            self._passes.broken()

    def _pass(self, readings: Readings, one: Pass) -> None:
        if one.absent:
            names = ", ".join(self._names.get(uuid, uuid) for uuid in one.absent)
            readings.count("vanished_rows", len(one.absent))
            readings.lose(f"{names} has no row", gone=names)
            return
        if self._last_ns is not None and one.t_ns <= self._last_ns:
            readings.count("unstamped_lines")
            readings.lose(UNSTAMPED)
            return
        self._last_ns = one.t_ns
        entries = [one.power_mw[c.gpu.uuid, FIELDS[c.field]] for c in self._channels]
        readings.add(one.t_ns, entries)
        missing = next((e for e in entries if isinstance(e, Missing)), None)
        if missing is None:
            self._good = True
        else:
            self._note(Refused("missing", f"{self._channels[entries.index(missing)].name}: {missing.why}"))
        self._keep_pace(one.t_ns)

    def _note(self, refused: Refused) -> None:
        """DeviceError if there was nothing but lines that cannot be read, or one says that there will be nothing."""
        if not refused.fatal:
            if self._good:
                return
            self._refused.append(refused)
            if len(self._refused) < HOPELESS_LINES:
                return
        raise DeviceError(
            f"{self._options.where} gives nothing to measure: {refused.why}",
            hint="set option unit if its rows have none on purpose"
            if "no unit" in refused.why
            else "look at `nvidia-smi` on the board by hand; bind other channels in the bench, or use the driver nvml",
        )

    def _keep_pace(self, t_ns: int) -> None:
        """DeviceError if queries come so slowly that updates are missed: a beat would look like power."""
        if len(self._stamps) > PACE_PASSES:
            return
        self._stamps.append(t_ns)
        if len(self._stamps) <= PACE_PASSES:
            return
        spacing_ns = statistics.median(b - a for a, b in zip(self._stamps, self._stamps[1:], strict=False))
        timing = self._timing
        most_ns = SEEN * timing.update_ns if timing.follows else SLOW * timing.poll_ns
        if spacing_ns > most_ns:
            slower_ms = round(1.2 * timing.update_ns / MS) if timing.follows else round(spacing_ns / MS)
            raise DeviceError(
                f"nvidia-smi was asked for a query every {timing.poll_ns / MS:g} ms and makes one every "
                f"{spacing_ns / MS:.0f} ms",
                hint=f"set option interval_ms to {slower_ms} or more, or use the driver nvml, which is much quicker",
            )


def look(files: BoardFiles, command: str) -> Machine:
    """The machine as `nvidia-smi -q -x` shows it, each GPU with the fields that can be asked for. DeviceError."""
    found = files.read([LOG + command, HELP + command])
    said = found.get(LOG + command, b"")
    try:
        log = parse_log(said)
    except NotALog as error:
        raise access.no_command(command, str(error) if said else "") from error
    if not log.machine.gpus:
        if log.machine.left_out:
            raise DeviceError(
                f"{command} cannot open a GPU: {log.machine.left_out}",
                hint="look at `sudo dmesg | grep -i -e nvrm -e xid` on the board; reset the GPU or reboot",
            )
        raise access.no_gpu(command)
    names = csv_lines.valid_fields(found.get(HELP + command, b"").decode("utf-8", "replace"))
    there = {field for field, name in FIELDS.items() if name in names}
    if not there:
        raise DeviceError(
            f"{command} --help-query-gpu names no field of power", hint="a driver that old cannot be used: update it"
        )
    gpus = tuple(_with_fields(gpu, there, log.power_mw[gpu.uuid]) for gpu in log.machine.gpus)
    return replace(log.machine, gpus=gpus)


def _with_fields(gpu: Gpu, there: set[str], shown: Mapping[str, int | Missing]) -> Gpu:
    """What can be asked of a GPU whose log shows this: not what it says N/A to, nor a module that it is no part of.

    A newer log has no node `power`, which is then one of the two that are there; an older one has that node alone.
    """
    refused = dict(gpu.refused)
    if {"average", "instant"} <= set(refused):
        refused.setdefault("power", refused["average"])
    for field in ("module", "module-average"):
        if field not in shown:
            refused.setdefault(field, "its log shows no power of a module")
    sure = {field for field, value in shown.items() if isinstance(value, int)}
    if sure & {"average", "instant"}:
        sure.add("power")
    fields = frozenset(there - set(refused))
    return replace(gpu, fields=fields, sure=frozenset(sure), refused=tuple(sorted(refused.items())))
