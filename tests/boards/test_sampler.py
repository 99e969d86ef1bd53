"""The agent's second role as a real process: what it reads, what it loses, how it ends."""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from harness.boards.local import LocalBoard
from harness.boards.sampling import AgentSampler
from harness.core.errors import DeviceError, SpecError, TransientError
from harness.core.ports import RawSamples, SamplerPlan

MS = 1_000_000
LEASE_S = 30.0

Start = Callable[[SamplerPlan], AgentSampler]


@pytest.fixture
def start(board: LocalBoard) -> Iterator[Start]:
    started: list[AgentSampler] = []

    def make(plan: SamplerPlan) -> AgentSampler:
        sampler = board.agents.start_sampler(plan, lease_s=LEASE_S)
        started.append(sampler)
        return sampler

    yield make
    for sampler in started:
        sampler.close()


def pid_of(sampler: AgentSampler) -> int:
    return int(sampler.hello()["pid"])


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()[0] != b"Z"
    except OSError:
        return False


def wait_for(true: Callable[[], bool], seconds: float = 5.0) -> bool:
    until = time.monotonic() + seconds
    while not true() and time.monotonic() < until:
        time.sleep(0.01)
    return true()


def joined(parts: list[RawSamples]) -> RawSamples:
    counts: dict[str, int] = {}
    for part in parts:
        for name, count in part.counts.items():
            counts[name] = counts.get(name, 0) + count
    return RawSamples(
        np.concatenate([p.begin_ns for p in parts]),
        np.concatenate([p.end_ns for p in parts]),
        tuple(row for p in parts for row in p.data),
        counts,
    )


def test_all_files_are_read_in_order_on_a_fixed_grid(start: Start, tmp_path: Path) -> None:
    binary = bytes(range(256))
    (tmp_path / "a").write_bytes(binary)
    (tmp_path / "b").write_bytes(b"")
    before_ns = time.monotonic_ns()
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"), str(tmp_path / "b")), period_s=0.01))
    time.sleep(0.5)
    samples = sampler.stop()
    after_ns = time.monotonic_ns()
    assert len(samples.data) > 25
    assert set(samples.data) == {(binary, b"")}
    assert before_ns < samples.begin_ns[0] and samples.end_ns[-1] < after_ns
    assert np.all(samples.begin_ns <= samples.end_ns)
    beats = (samples.begin_ns - samples.begin_ns[0]) / (10 * MS)
    assert np.median(np.abs(beats - np.rint(beats))) < 0.2  # on the grid, not one period after the last pass
    missed = np.rint(np.diff(beats)).sum() - len(beats) + 1
    assert missed == pytest.approx(samples.counts.get("late_passes", 0), abs=2)


def test_what_changes_between_passes_is_seen(start: Start, tmp_path: Path) -> None:
    path = tmp_path / "counter"
    path.write_bytes(b"1")
    sampler = start(SamplerPlan(files=(str(path),), period_s=0.005))
    first = sampler.take()
    path.write_bytes(b"2")
    time.sleep(0.1)
    second = sampler.take()
    assert set(first.data) <= {(b"1",)}
    assert second.data[-1] == (b"2",)
    assert second.begin_ns[0] > (first.begin_ns[-1] if len(first.begin_ns) else 0)


def test_a_failed_read_keeps_its_errno_and_a_file_that_comes_back_is_opened_anew(start: Start, tmp_path: Path) -> None:
    late, gone = tmp_path / "late", tmp_path / "gone"
    gone.write_bytes(b"here")
    child = os.spawnlp(os.P_NOWAIT, "sleep", "sleep", "30")
    files = (str(late), "/proc/self/mem", str(gone), f"/proc/{child}/stat")
    sampler = start(SamplerPlan(files=files, period_s=0.005))
    time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    late.write_bytes(b"now")
    time.sleep(0.1)
    samples = sampler.stop()
    assert samples.data[0][:3] == (errno.ENOENT, errno.EIO, b"here")
    assert samples.data[-1] == (b"now", errno.EIO, b"here", errno.ENOENT)  # the device went: its file is sought again
    assert errno.ESRCH in {row[3] for row in samples.data}
    assert samples.counts["reopened"] >= 1


def test_a_sampler_that_was_held_up_counts_its_missed_beats_and_does_not_catch_up(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),), period_s=0.02))
    pid = pid_of(sampler)
    time.sleep(0.1)
    os.kill(pid, signal.SIGSTOP)
    time.sleep(0.5)
    os.kill(pid, signal.SIGCONT)
    time.sleep(0.2)
    samples = sampler.stop()
    assert samples.counts["late_passes"] >= 22
    after = samples.begin_ns[np.argmax(np.diff(samples.begin_ns)) + 1 :]
    assert after[-1] - after[0] > (len(after) - 2.5) * 20 * MS


def test_a_link_that_is_cut_loses_nothing(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 2000)
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),), period_s=0.001))
    parts = []
    for _ in range(4):
        time.sleep(0.1)
        stream = sampler._link._stream
        stream._process.kill()  # type: ignore[union-attr]
        parts.append(sampler.take())
    parts.append(sampler.stop())
    samples = joined(parts)
    assert np.all(np.diff(samples.begin_ns) > 0)  # nothing twice
    assert len(samples.data) == sampler._link.request("cost")["rows"]  # nothing lost
    assert sampler._link.outages >= 4


def test_a_chunk_is_given_again_until_the_next_one_is_asked_for(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 4000)
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),), period_s=0.001))
    time.sleep(0.5)
    ask = sampler._link.request
    last = ask("take", after=0, seal=True)["last"]
    assert last > 3
    assert ask("take", after=1, seal=False)["data"] == ask("take", after=1, seal=False)["data"]
    assert ask("take", after=last, seal=False)["number"] is None


def test_a_full_buffer_counts_what_it_loses_and_says_where(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 4096)
    plan = SamplerPlan(files=(str(tmp_path / "a"),), period_s=0.0005, keep_bytes=1 << 20)
    sampler = start(plan)
    time.sleep(1.2)
    first = sampler.take()
    time.sleep(0.1)
    samples = joined([first, sampler.stop()])
    lost = samples.counts["lost_passes"]
    places = [k for k, row in enumerate(samples.data) if row == (errno.ENOBUFS,)]
    assert lost > 0 and places
    missing_s = sum(samples.end_ns[k] - samples.begin_ns[k] for k in places) * 1e-9
    beats = np.rint((samples.begin_ns[-1] - samples.begin_ns[0]) / (0.5 * MS)) + 1
    kept = len(samples.data) - len(places)
    assert missing_s > 0.05
    assert kept + lost + samples.counts.get("late_passes", 0) == pytest.approx(beats, abs=4)


def test_it_says_what_it_costs(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),), period_s=0.01))
    before = sampler.cost()
    time.sleep(0.5)
    after = sampler.cost()
    share = (after["cpu_s"] - before["cpu_s"]) / (after["wall_s"] - before["wall_s"])
    assert 0.0 < share < 0.2
    assert after["command_cpu_s"] == 0.0


def test_pings_are_of_the_clock_that_stamps(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    pings = start(SamplerPlan(files=(str(tmp_path / "a"),))).ping(5)
    assert np.all(pings[:, 0] <= pings[:, 1]) and np.all(pings[:, 1] <= pings[:, 2])


def test_closing_ends_the_process_and_removes_its_directory(start: Start, board: LocalBoard, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),)))
    pid = pid_of(sampler)
    assert list((tmp_path / "board/agents").glob("sampler-*"))
    sampler.close()
    sampler.close()
    assert not alive(pid)
    assert not list((tmp_path / "board/agents").glob("sampler-*"))


def test_an_orphan_is_found_and_ended(start: Start, board: LocalBoard, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),)))
    pid = pid_of(sampler)
    assert pid in board.end_orphans()
    assert not alive(pid)
    with pytest.raises(TransientError, match="gone"):
        sampler.take()


def test_it_ends_by_itself_when_nobody_speaks_to_it(board: LocalBoard, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    sampler = board.agents.start_sampler(SamplerPlan(files=(str(tmp_path / "a"),)), lease_s=0.5)
    pid = pid_of(sampler)
    assert wait_for(lambda: not alive(pid))
    sampler.close()


@pytest.mark.parametrize(
    ("plan", "error", "words"),
    [
        (SamplerPlan(), SpecError, "either files or the lines"),
        (SamplerPlan(files=("/x",), command=("true",)), SpecError, "either files or the lines"),
        (SamplerPlan(command=("/nowhere/tegrastats",)), SpecError, "cannot be run"),
        (SamplerPlan(files=("/x",), cpus=(4096,)), SpecError, "cannot use cpus"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_is_refused(
    board: LocalBoard, plan: SamplerPlan, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        board.agents.start_sampler(plan, lease_s=LEASE_S)


def test_cpus_and_urgency_are_those_of_the_plan(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    cpu = sorted(os.sched_getaffinity(0))[-1]
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),), cpus=(cpu,), nice=5))
    pid = pid_of(sampler)
    assert os.sched_getaffinity(pid) == {cpu}
    assert os.getpriority(os.PRIO_PROCESS, pid) == os.getpriority(os.PRIO_PROCESS, 0) + 5


def test_damaged_bytes_are_never_taken_for_readings(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),)))
    time.sleep(0.05)
    reply = sampler._link.request("take", after=0, seal=True)
    for damaged in ({"data": reply["data"][:-8]}, {"size": reply["size"] + 1}, {"rows": reply["rows"] + 1}):
        with pytest.raises(DeviceError, match="damaged"):
            sampler._unpack({**reply, **damaged})


# --- lines ------------------------------------------------------------------------------------------

TALKER = """
import sys, time
for k in range(int(sys.argv[1])):
    print("RAM 1/2 VDD_IN", time.monotonic_ns(), flush=True)
    time.sleep(0.01)
print("half a line", end="", flush=True)
time.sleep(float(sys.argv[2]))
"""


def talker(lines: int, then_s: float) -> tuple[str, ...]:
    return (sys.executable, "-c", TALKER, str(lines), str(then_s))


def test_lines_are_stamped_when_they_arrive(start: Start) -> None:
    sampler = start(SamplerPlan(command=talker(30, 60)))
    assert wait_for(lambda: len(sampler._link.request("take", after=0, seal=True).get("data", "")) > 0)
    time.sleep(0.8)
    samples = sampler.stop()
    assert len(samples.data) == 30
    printed_ns = np.array([int(line.split()[-1]) for (line,) in samples.data if isinstance(line, bytes)])
    assert np.all(samples.begin_ns >= printed_ns)
    assert np.median(samples.begin_ns - printed_ns) < 5 * MS
    assert np.array_equal(samples.begin_ns, samples.end_ns)


def test_a_command_that_ends_is_started_again_and_its_absence_is_a_row(start: Start) -> None:
    sampler = start(SamplerPlan(command=talker(3, 0)))
    time.sleep(1.0)
    samples = sampler.stop()
    absences = [k for k, row in enumerate(samples.data) if row == (errno.EPIPE,)]
    assert samples.counts["restarts"] == len(absences) >= 1
    first = absences[0]
    assert samples.end_ns[first] - samples.begin_ns[first] >= 90 * MS
    assert samples.begin_ns[first] >= samples.begin_ns[first - 1]
    assert b"half a line" not in {row[0] for row in samples.data}


def test_lumps_are_counted(start: Start) -> None:
    sampler = start(SamplerPlan(command=("sh", "-c", "printf 'a\\nb\\nc\\n'; sleep 30")))
    assert wait_for(lambda: sampler._link.request("status")["counts"]["lumped_lines"] == 2)
    assert sampler.stop().data == ((b"a",), (b"b",), (b"c",))


@pytest.mark.parametrize("how", ["close", "halt", "kill", "end"])
def test_a_command_dies_with_its_sampler(start: Start, board: LocalBoard, tmp_path: Path, how: str) -> None:
    note = tmp_path / "pid"
    sampler = start(SamplerPlan(command=("sh", "-c", f"echo $$ > {note}; exec sleep 60")))
    assert wait_for(lambda: note.exists() and note.read_text().strip() != "")
    command = int(note.read_text())
    if how == "close":
        sampler.close()
    elif how == "halt":
        assert sampler.stop().data == ()
    elif how == "kill":
        os.kill(pid_of(sampler), signal.SIGKILL)
    else:
        board.end_orphans()
    assert wait_for(lambda: not alive(command))


def test_what_a_killed_samplers_command_left_is_ended_too(start: Start, board: LocalBoard, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    sampler = start(SamplerPlan(command=("sh", "-c", f"sleep 60 & echo $! > {note}; wait")))
    assert wait_for(lambda: note.exists() and note.read_text().strip() != "")
    os.kill(pid_of(sampler), signal.SIGKILL)
    left = int(note.read_text())
    board.end_orphans()
    assert wait_for(lambda: not alive(left))


def test_a_sampler_that_sends_the_wrong_chunk_is_found_out(start: Start, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    sampler = start(SamplerPlan(files=(str(tmp_path / "a"),), period_s=0.005))
    for _ in range(2):
        time.sleep(0.05)
        sampler.take()
    sampler._taken = 0
    with pytest.raises(DeviceError, match="chunk 1 was asked for"):
        sampler.take()


def test_the_cpu_time_of_a_command_is_part_of_the_cost(start: Start) -> None:
    sampler = start(SamplerPlan(command=(sys.executable, "-c", "while True: pass")))
    time.sleep(0.6)
    cost = sampler.cost()
    assert 0.1 < cost["command_cpu_s"] <= cost["cpu_s"]


# --- a command that prints once ----------------------------------------------------------------------


def test_a_command_that_prints_once_is_run_anew_on_a_fixed_grid(start: Start) -> None:
    sampler = start(SamplerPlan(command=("sh", "-c", "echo out; echo err >&2; exit 3"), repeat_s=0.05))
    time.sleep(1.0)
    samples = sampler.stop()
    assert len(samples.data) >= 8
    assert set(samples.data) == {(b"out\nerr\n",)}  # one sample a run, both outputs, nothing else
    assert samples.counts["failed_runs"] >= len(samples.data)
    assert np.all(samples.begin_ns < samples.end_ns) and np.all(samples.begin_ns[1:] > samples.end_ns[:-1])
    beats = (samples.begin_ns - samples.begin_ns[0]) / (50 * MS)
    assert np.median(np.abs(beats - np.rint(beats))) < 0.2
    assert sampler.cost()["command_cpu_s"] > 0


def test_a_run_that_hangs_is_ended_and_says_so(start: Start, tmp_path: Path) -> None:
    mark = tmp_path / "hang"
    script = f"test -e {mark} && {{ echo $$ > {tmp_path}/pid; sleep 60; }}; echo fine"
    sampler = start(SamplerPlan(command=("sh", "-c", script), repeat_s=0.05))
    time.sleep(0.3)
    mark.touch()
    assert wait_for(lambda: sampler._link.request("status")["counts"]["killed_runs"] == 1, 8.0)
    mark.unlink()
    hung = int((tmp_path / "pid").read_text())
    assert wait_for(lambda: not alive(hung))
    time.sleep(0.3)
    rows = [row for (row,) in sampler.stop().data]
    assert rows[0] == rows[-1] == b"fine\n" and errno.ETIMEDOUT in rows


def test_a_run_under_way_ends_with_its_sampler(start: Start, tmp_path: Path) -> None:
    note = tmp_path / "pid"
    script = f"test -e {tmp_path}/second && {{ echo $$ > {note}; exec sleep 60; }}; touch {tmp_path}/second"
    sampler = start(SamplerPlan(command=("sh", "-c", script), repeat_s=0.05))
    assert wait_for(lambda: note.exists() and note.read_text().strip() != "")
    sampler.stop()
    assert wait_for(lambda: not alive(int(note.read_text())))


def test_a_program_that_cannot_be_run_again_and_again_is_refused(board: LocalBoard) -> None:
    with pytest.raises(SpecError, match="cannot be run"):
        board.agents.start_sampler(SamplerPlan(command=("/nowhere/vcgencmd",), repeat_s=0.1), lease_s=LEASE_S)
