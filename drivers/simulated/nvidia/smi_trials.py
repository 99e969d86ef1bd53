"""What can go wrong with nvidia-smi: what its lines suffer on the way from the GPUs to the sampler, in virtual time."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from typing import Any

from drivers.nvidia.smi_onboard import open_on_board
from drivers.simulated.nvidia.machine import NO_PERMISSION, NOT_SUPPORTED, UNKNOWN
from drivers.simulated.nvidia.smi.feed import Pace, ProgramFiles, Row, lines, samples
from drivers.simulated.nvidia.trials import LOAD, SCALE, SLOW, buildable, failing, frozen, lost
from drivers.simulated.nvidia.virtual import OTHERS, Bench, Gpu, on_the_board, pings
from harness.core.ports import MeterRequest
from harness.core.waiting import NS_PER_S
from harness.testing.faults import FaultTrial, Recorded, Scene

METER = "nvidia-smi"
Spoil = Callable[[list[Row], Bench], list[Row]]
Change = Callable[[bytes, int], bytes]
Play = Callable[[Scene], Recorded]
TWO = (Gpu(), Gpu("t4", share=OTHERS))


class SmiBench(Bench):
    """The shipped decoder on the lines of a simulated nvidia-smi."""

    def request(self, **more: Any) -> MeterRequest:
        options = {"command": str(self.machine.program), **self.options, **more}
        return MeterRequest("trial", options=options, rails=self.rails, simulated=True)

    def printed(self, *, pace: Pace | None = None, spoil: Spoil | None = None) -> Recorded:
        with self.cleared:
            meter = open_on_board(self.request())
            info, plan = meter.prepare(ProgramFiles(self.machine.shared), clock="board:trial")
            end_ns = self.end_ns + NS_PER_S
            rows = list(lines(self.machine.shared, plan.command, self.clock, end_ns=end_ns, pace=pace))
            here = [t for t, _ in rows]
            rows = spoil(rows, self) if spoil else rows
            blocks = [meter.decode(part) for part in samples(rows, on_the_board)]
            blocks.append(meter.finish())
            return Recorded(info, [b for b in blocks if b is not None], self.channel, pings(here))


def _on(*gpus: Gpu, pace: Pace | None = None, spoil: Spoil | None = None, **how: Any) -> Play:
    return lambda scene: SmiBench(scene, gpus or (Gpu(),), **how).printed(pace=pace, spoil=spoil)


def _changed(begin: float, end: float, change: Change, *gpus: Gpu) -> Play:
    """Lines that arrive between two shares of the work are changed; they are counted from 1."""

    def spoil(rows: list[Row], bench: Bench) -> list[Row]:
        first, last, out, count = bench.at_ns(begin), bench.at_ns(end), [], 0
        for t_ns, line in rows:
            if isinstance(line, bytes) and first <= t_ns < last:
                count += 1
                line = change(line, count)
            out.append((t_ns, line))
        return out

    return _on(*gpus, spoil=spoil)


# --- lines ------------------------------------------------------------------------------------------------


def _power(text: Callable[[float], str]) -> Change:
    """The last cell is another text, made of its watts."""

    def change(line: bytes, k: int) -> bytes:
        head, _, cell = line.rpartition(b", ")
        return head + b", " + text(float(cell.split()[0])).encode("ascii") if cell[:1].isdigit() else line

    return change


def _every(n: int, change: Change) -> Change:
    return lambda line, k: change(line, k) if k % n == 0 else line


def _half(line: bytes, k: int) -> bytes:
    return line[: len(line) - 1 - k % 9]


def _joined(rows: list[Row], bench: Bench) -> list[Row]:
    """Every tenth newline is lost."""
    out: list[Row] = []
    for k, (t_ns, line) in enumerate(rows):
        if k % 10 == 5 and isinstance(line, bytes) and out and isinstance(out[-1][1], bytes):
            out[-1] = (t_ns, out[-1][1] + line)
        else:
            out.append((t_ns, line))
    return out


def _noise(rows: list[Row], bench: Bench) -> list[Row]:
    """What the program says of another GPU, between the lines."""
    said = b"Unable to determine the device handle for GPU0000:02:00.0: Unknown Error"
    return [item for k, row in enumerate(rows) for item in ([(row[0] - 1000, said), row] if k % 20 == 7 else [row])]


def _gone(rows: list[Row], bench: Bench, *, again: bool) -> list[Row]:
    """The program ends; the sampler starts it again, 0.3 s later if it runs."""
    end, back = bench.at_ns(0.45), bench.at_ns(0.45) + 3 * NS_PER_S // 10
    kept: list[Row] = [row for row in rows if row[0] < end]
    failed: list[Row] = [
        (end, b"Failed to initialize NVML: Driver/library version mismatch"), (end + 1, errno.EPIPE)
    ]  # fmt: skip
    return (
        [*kept, *failed, (back - 1, rows[0][1]), *(row for row in rows if row[0] >= back)]
        if again
        else [*kept, *failed]
    )


def _restarted_otherwise(rows: list[Row], bench: Bench) -> list[Row]:
    """After its restart the program prints another order of columns, since the driver was updated."""
    moved = _gone(rows, bench, again=True)
    at = next(k for k, row in enumerate(moved) if row[1] == errno.EPIPE)

    def swap(line: bytes | int) -> bytes | int:
        return b", ".join(reversed(line.split(b", "))) if isinstance(line, bytes) else line

    return [row if k <= at else (row[0], swap(row[1])) for k, row in enumerate(moved)]


def _loop_defect(rows: list[Row], bench: Bench) -> list[Row]:
    """Once in the work its loop mode sticks in errors; after ten such lines the sampler starts it anew."""
    first = next(k for k, row in enumerate(rows) if row[0] >= bench.at_ns(0.4))
    stuck = [(t, line.rpartition(b", ")[0] + b", [Unknown Error]") for t, line in rows[first : first + 10]
             if isinstance(line, bytes)]  # fmt: skip
    back = stuck[-1][0] + 3 * NS_PER_S // 10
    again: list[Row] = [(stuck[-1][0] + 1, errno.EPIPE), (back - 1, rows[0][1])]
    return [*rows[:first], *stuck, *again, *(row for row in rows if row[0] >= back)]


def _stutter(rows: list[Row], bench: Bench) -> list[Row]:
    """For 0.8 s the reader is held up: the lines are then read at once."""
    begin = bench.at_ns(0.5)
    end = begin + 8 * NS_PER_S // 10
    return [(end if begin <= t_ns < end else t_ns, line) for t_ns, line in rows]


def _blocks_of(size: int) -> Spoil:
    def spoil(rows: list[Row], bench: Bench) -> list[Row]:
        return [(rows[min(k - k % size + size, len(rows)) - 1][0], line) for k, (_, line) in enumerate(rows)]

    return spoil


def _memory_full(rows: list[Row], bench: Bench) -> list[Row]:
    begin = bench.at_ns(0.4)
    end = begin + 6 * NS_PER_S // 10
    return [*(r for r in rows if r[0] < begin), (begin, errno.ENOBUFS), *(r for r in rows if r[0] > end)]


def _dated_back(line: bytes, k: int) -> bytes:
    return b"2019/01/01" + line[10:]


def _without_header(rows: list[Row], bench: Bench) -> list[Row]:
    return rows[1:]


def _header(change: Callable[[bytes], bytes]) -> Spoil:
    def spoil(rows: list[Row], bench: Bench) -> list[Row]:
        head = rows[0][1]
        assert isinstance(head, bytes)
        return [(rows[0][0], change(head)), *rows[1:]]

    return spoil


def _row_vanishes(begin: float, end: float) -> Spoil:
    """The first GPU's rows are missing; the other's go on."""

    def spoil(rows: list[Row], bench: Bench) -> list[Row]:
        first, last, uuid = bench.at_ns(begin), bench.at_ns(end), bench.machine.gpus[0].uuid.encode("ascii")
        return [(t, x) for t, x in rows if not (first <= t < last and isinstance(x, bytes) and uuid in x)]

    return spoil


def _twice(rows: list[Row], bench: Bench) -> list[Row]:
    return [(t_ns + shift, line) for t_ns, line in rows for shift in (0, 40_000)]


def _empty_machine(scene: Scene) -> Recorded:
    bench = SmiBench(scene)
    bench.machine.gpus[0].vanish()
    return bench.printed()


def trials() -> Sequence[FaultTrial]:
    """The entry point `joulebench.faults`."""

    def trial(fault: str, what: str, play: Play, **more: Any) -> FaultTrial:
        return FaultTrial(METER, fault, what, buildable(play), **({"scale": SCALE, "load_factor": LOAD} | more))

    return (
        trial("none", "nothing goes wrong; a quarter of the time is seen", _on()),
        trial("none_instant", "nothing goes wrong; windows that touch", _on(Gpu("rtx3090"), channel="gpu0/instant")),
        trial("none_second", "nothing goes wrong; an average of a second", _on(Gpu("rtx3090")), scale=SLOW),
        trial("none_two", "nothing goes wrong; two GPUs in one stream", _on(*TWO, also=("gpu1/power",))),
        trial("none_old", "nothing goes wrong; a driver of 2019", _on(Gpu("rtx2080ti"), driver="418.43")),
        # --- words for no value
        trial("unknown_error", "[Unknown Error] for 0.6 s", _on(events=failing("power", UNKNOWN, 0.4, 0.5))),
        trial("unknown_error_at_times", "every seventh line says [Unknown Error]",
              _on(events=failing("power", UNKNOWN, -1.0, every=7))),
        trial("not_available", "[N/A] from the middle of the work on",
              _on(events=failing("power", NOT_SUPPORTED, 0.5))),
        trial("permission", "[Insufficient Permissions] for 0.6 s",
              _on(events=failing("power", NO_PERMISSION, 0.4, 0.5))),
        trial("lost", "[GPU is lost] from the middle of the work on", _on(events=lost(0.5, None))),
        trial("lost_and_back", "[GPU is lost] for 0.6 s", _on(events=lost(0.4, 0.5))),
        trial("err", "ERR! as in the table", _changed(0.4, 0.5, _power(lambda w: "ERR!"))),
        trial("never_any", "a GPU without power management", _on(Gpu("gtx745"))),
        trial("requires_reset", "[GPU requires reset] to the end", _on(events=failing("power", 16, 0.5))),
        # --- lines
        trial("half_line", "every fourth line is cut by some characters", _changed(-1.0, 2.0, _every(4, _half))),
        trial("garbage", "bytes of something else", _changed(0.4, 0.6, _every(5, lambda line, k: b"\xff\x00\x07"))),
        trial("joined_lines", "newlines get lost", _on(spoil=_joined)),
        trial("noise_lines", "messages about another GPU in between", _on(spoil=_noise)),
        trial("twice", "every line comes twice", _on(spoil=_twice)),
        trial("comma", "a locale's decimal comma",
              _changed(0.5, 3.0, _power(lambda w: f"{w:.2f} W".replace(".", ",")))),
        # --- units and columns
        trial("milliwatt", "milliwatts, and it says so", _changed(0.4, 3.0, _power(lambda w: f"{w * 1000:.0f} mW"))),
        trial("no_unit", "the unit vanishes from the values", _changed(0.4, 3.0, _power(lambda w: f"{w * 1000:.0f}"))),
        trial("kilowatt", "watts that are thousands under the same header",
              _changed(0.4, 3.0, _power(lambda w: f"{w * 1000:.2f} W"))),
        trial("no_header", "the stream begins without its header", _on(spoil=_without_header)),
        trial("header_unit", "the header says another unit than the values",
              _on(spoil=_header(lambda h: h.replace(b"[W]", b"[mW]")))),
        trial("header_renamed", "the field has another name in this driver",
              _on(spoil=_header(lambda h: h.replace(b"power.draw", b"board.power")))),
        trial("columns_move", "after a restart the columns stand in another order", _on(spoil=_restarted_otherwise)),
        # --- GPUs
        trial("row_vanishes", "a GPU's rows are missing for 0.6 s, the other's go on",
              _on(*TWO, also=("gpu1/power",), spoil=_row_vanishes(0.4, 0.5))),
        trial("other_fails", "the other GPU says [Unknown Error] for 0.6 s",
              _on(*TWO, also=("gpu1/power",), events=failing("power", UNKNOWN, 0.4, 0.5, gpu=1))),
        trial("index_moves", "the GPU before it is gone: what was row 2 is row 1",
              _on(Gpu("t4", share=OTHERS), Gpu(), channel="gpu1/power",
                  events=[(0.5, lambda b: b.machine.gpus[0].vanish())])),
        trial("another_stays", "it is gone and the other's rows go on to the end",
              _on(*TWO, also=("gpu1/power",), events=[(0.5, lambda b: b.machine.gpus[0].vanish())])),
        trial("no_gpu", "there is no GPU", _empty_machine),
        # --- the program
        trial("restart", "it ends in the middle of the work and is started again",
              _on(spoil=lambda rows, b: _gone(rows, b, again=True))),
        trial("ends", "it ends in the middle of the work for good",
              _on(spoil=lambda rows, b: _gone(rows, b, again=False))),
        trial("hangs", "it prints nothing more from the middle of the work on, and does not end",
              _on(spoil=lambda rows, b: [row for row in rows if row[0] < b.at_ns(0.5)])),
        trial("mute", "it prints its header and nothing more", _on(spoil=lambda rows, b: rows[:1])),
        trial("loop_defect", "its loop mode sticks in errors until it is started again", _on(spoil=_loop_defect)),
        trial("loop_defect_always", "its loop mode gives one good row only", _on(pace=Pace(good=1))),
        trial("lumped", "lines held up for 0.8 s", _on(spoil=_stutter)),
        trial("block_buffered", "its output is not flushed", _on(spoil=_blocks_of(20))),
        trial("slow", "a pass takes it 70 ms", _on(pace=Pace(pass_s=0.07))),
        trial("memory_full", "the sampler's memory is full for 0.6 s", _on(spoil=_memory_full)),
        trial("clock_step", "its clock falls back by years", _changed(0.5, 3.0, _dated_back)),
        # --- the sensor
        trial("frozen", "the power is written no more from the middle of the work on",
              _on(events=frozen(0.5, None, "power")), scale=1.0),
        trial("zero", "it reads 0 W for 0.6 s", _changed(0.4, 0.5, _power(lambda w: "0.00 W"))),
        trial("unknown_gpu", "a GPU of an architecture that nobody knows", _on(Gpu("new"))),
    )  # fmt: skip
