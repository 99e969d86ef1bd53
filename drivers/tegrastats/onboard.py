"""tegrastats on a board: the agent's sampler runs it and stamps its lines, this decodes them on the host.

A line gives all bound rails or nothing. What is refused is part of a gap with its reason; a tool that prints no power,
other rails than bound, or at another pace than asked is an error, since a run on it could end in no figure.
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from drivers.tegrastats import codec
from drivers.tegrastats.description import Board, channels_of, column_name, describe, look, reading_of
from drivers.tegrastats.options import TegrastatsOptions
from drivers.tegrastats.rails import MODULES
from harness.core.errors import DeviceError
from harness.core.ports import BoardFiles, CheckItem, FoundMeter, MeterRequest, RawSamples, SamplerPlan
from harness.core.trace import Block, CalibrationPiece, MeterInfo
from harness.io.decoded_rows import DecodedRows

W_PER_MW = 1e-3
HOPELESS_LINES = 5  # without a good one among them: it will not come
PACE_LINES = 20
PACE = 1.5  # the median time between lines is at most this factor off what was asked for
FROZEN_LINES = 30  # equal lines, and the option frozen_s of them: the chips are not read any more
UNSTAMPED = "several lines came at once, so it is not known when they were printed"

USE_FILES = "read the INA3221 itself with the driver ina2xx, which does not need tegrastats (docs/meters/ina2xx.md)"


def open_on_board(request: MeterRequest) -> OnBoardTegrastats:
    """The host's half of tegrastats on a board; SpecError for wrong options. Touches nothing."""
    return OnBoardTegrastats(request)


def find_on_board(files: BoardFiles, surroundings: MeterRequest) -> Sequence[FoundMeter]:
    """tegrastats, if the board has it."""
    options = TegrastatsOptions()
    board = look(files, surroundings.sysfs_root, options)
    if not board.programs:
        return []
    found: dict[str, str | int | float] = {} if "/usr/bin/" in board.programs[0] else {"command": board.programs[0]}
    known = board.module in MODULES
    return [
        FoundMeter(
            "tegrastats",
            board.programs[0],
            found,
            board.model or "unknown board",
            MODULES[board.module].rails if known else (),
            usable=known,
            trouble="" if known else "the module is not known, so its rails are not",
            mend="" if known else f"run {board.programs[0]}, then name its rails in the bench file",
        )
    ]


class OnBoardTegrastats:
    """OnBoardMeter over the lines of `tegrastats --interval N`; SelfTesting."""

    def __init__(self, request: MeterRequest) -> None:
        self._request = request
        self._options = TegrastatsOptions.from_request(request.options)
        self._board: Board | None = None
        self._channels: tuple[str, ...] = ()

    def prepare(self, files: BoardFiles, *, clock: str) -> tuple[MeterInfo, SamplerPlan]:
        """DeviceError if neither the bench nor the module says which rails there are."""
        self._board = look(files, Path(self._request.sysfs_root), self._options)
        self._channels = channels_of(self._board, self._request.rails)
        module = MODULES.get(self._board.module)
        self._total = module.total if module and module.total in self._channels else ""
        simulated = self._request.simulated
        info = describe(self._board, self._channels, self._options, clock=clock, simulated=simulated)
        names = [column_name(name) for name in self._channels]
        self._rows = DecodedRows(names, [CalibrationPiece(0, name, 0, W_PER_MW, 0.0) for name in names])
        self._header = codec.Header(self._channels)
        self._refused: list[codec.Refused] = []  # before the first good line
        self._arrivals: list[int] = []
        self._held: list[tuple[int, tuple[int, ...]]] = []  # equal readings that may turn out to be no readings
        self._key: tuple[int, ...] = ()  # all rails of the last line
        self._frozen = False
        self._end_ns = 0
        return info, SamplerPlan(command=self._options.argv)

    def self_test(self) -> Sequence[CheckItem]:
        """What the board's files say about it; the lines themselves are judged when they come."""
        board = self._prepared()
        lies = self._options.command in board.programs or self._options.command == "tegrastats"
        module = MODULES.get(board.module)
        total = (module.total or "sum of " + " ".join(module.summed)) if module else "unknown"
        _, window = reading_of(board, self._options)
        return [
            CheckItem(
                "program",
                bool(board.programs) and lies,
                ", ".join(board.programs) or "no tegrastats in /usr/bin or a home",
                "" if board.programs and lies else "set the option command to its path on the board",
            ),
            CheckItem(
                "module",
                module is not None,
                f"{board.model or 'unknown board'}: {board.module or 'not in the table'}",
                "" if module else f"set the option module to one of {', '.join(MODULES)}",
            ),
            CheckItem("total", module is not None, total, "" if module else "declare `total` in the bench file"),
            CheckItem("window", bool(board.round_ms), window, "" if board.round_ms else USE_FILES),
        ]

    def decode(self, samples: RawSamples) -> Block | None:
        """Lines in order of arrival -> rows, gaps and counts. DeviceError if these lines can never be readings."""
        self._prepared()
        for name, count in samples.counts.items():
            self._rows.count(name, count)
        arrived = samples.begin_ns.tolist()
        if arrived:
            self._rows.begin(arrived[0])
            self._end_ns = int(samples.end_ns[-1])
        for k, ((entry,), t_ns) in enumerate(zip(samples.data, arrived, strict=True)):
            if isinstance(entry, int):
                self._failed(entry)
                continue
            followed = k + 1 < len(arrived) and arrived[k + 1] == t_ns and isinstance(samples.data[k + 1][0], bytes)
            self._line(t_ns, entry, followed=followed)
        return self._rows.take()

    def finish(self) -> Block | None:
        """What was held back; an open gap ends with the last line."""
        if self._board is None:
            return None
        self._release()
        return self._rows.finish(self._end_ns)

    # --- inside ---------------------------------------------------------------------------------------

    def _prepared(self) -> Board:
        if self._board is None:
            raise DeviceError(f"tegrastats meter {self._request.name!r} is not prepared", hint="call prepare() first")
        return self._board

    def _failed(self, code: int) -> None:
        """A stretch without lines."""
        self._release()
        if code == errno.EPIPE:
            self._rows.lose("tegrastats ended and was started again")
            return
        self._rows.lose(errno.errorcode.get(code, str(code)))

    def _line(self, t_ns: int, line: bytes, *, followed: bool) -> None:
        outcome = codec.parse_line(line)
        if outcome is None:
            return
        if isinstance(outcome, codec.Rails):
            outcome = self._header.judge(outcome) or outcome
        if isinstance(outcome, codec.Rails) and self._total and outcome.rails_mw[self._total] == 0:
            outcome = codec.Refused("zero_totals", f"{self._total} reads 0, but the board is at work: not measured")
        if isinstance(outcome, codec.Refused):
            self._refuse(outcome)
            return
        if self._header.new(outcome):
            self._rows.count(codec.NEW_RAILS)
        if followed:
            self._release()
            self._rows.count("unstamped_lines")
            self._rows.lose(UNSTAMPED)
            return
        self._keep_pace(t_ns)
        self._hold(t_ns, tuple(outcome.rails_mw[name] for name in self._channels), tuple(outcome.rails_mw.values()))

    def _hold(self, t_ns: int, values: tuple[int, ...], key: tuple[int, ...]) -> None:
        """Equal readings wait: a few are what a coarse converter gives, many mean that nobody reads the chips."""
        if key != self._key:
            self._release()
            self._key, self._frozen = key, False
        if self._frozen:
            self._rows.count("frozen_lines")
            self._rows.lose("all rails stood still")
            return
        self._held.append((t_ns, values))
        stood_s = (t_ns - self._held[0][0]) * 1e-9
        if len(self._held) < FROZEN_LINES or stood_s < self._options.frozen_s:
            return
        self._frozen = True
        still = len(self._held) - 1
        del self._held[1:]
        self._release()  # the first of them was new
        self._rows.count("frozen_lines", still)
        self._rows.lose("all rails stood still", still)

    def _release(self) -> None:
        """What was held back were readings after all."""
        for t_ns, values in self._held:
            if not self._rows.add(t_ns, values):
                self._rows.count("unstamped_lines")
                self._rows.lose(UNSTAMPED)
        self._held = []

    def _refuse(self, refused: codec.Refused) -> None:
        self._release()
        self._rows.count(refused.kind)
        self._rows.lose(refused.why)
        if self._header.known:
            return
        self._refused.append(refused)
        if len(self._refused) >= HOPELESS_LINES:
            raise self._hopeless()

    def _hopeless(self) -> DeviceError:
        kinds = [refused.kind for refused in self._refused]
        last = self._refused[-1].why
        if kinds.count(codec.NO_POWER) == len(kinds):
            return DeviceError(
                f"tegrastats of this JetPack prints no power ({last})",
                hint=USE_FILES,
            )
        if codec.DRIFT in kinds:
            return DeviceError(
                f"tegrastats prints the rails {', '.join(self._header.seen)}; the bench binds "
                f"{', '.join(self._channels)}",
                hint="correct `rails` of this meter in the bench file",
            )
        return DeviceError(
            f"{len(kinds)} lines of tegrastats, and none can be read: {last}",
            hint=f"run `{' '.join(self._options.argv)}` on the board; a new format is a bug of ours: send the line",
        )

    def _keep_pace(self, t_ns: int) -> None:
        """DeviceError if lines come at another pace than asked for: the period of a reading would be a wrong one."""
        if len(self._arrivals) > PACE_LINES:
            return
        self._arrivals.append(t_ns)
        if len(self._arrivals) <= PACE_LINES:
            return
        pace_ns = float(np.median(np.diff(self._arrivals)))
        if not 1 / PACE <= pace_ns / self._options.interval_ns <= PACE:
            raise DeviceError(
                f"tegrastats was asked for a line every {self._options.interval_ms} ms "
                f"and prints one every {pace_ns * 1e-6:.0f} ms",
                hint=f"set the option interval_ms to {round(pace_ns * 1e-6)}"
                if pace_ns > self._options.interval_ns
                else "something prints its lines more often than it should: look at the command by hand",
            )
