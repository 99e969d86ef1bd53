"""The runtime `command`: any program that prints start and stop lines, and what is said when it does not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from harness.core.errors import BenchError, DeviceError, SpecError
from harness.core.ports import LoadReport, Step
from harness.core.spec import RuntimeSpec
from harness.core.timeline import Phase, Timeline

GOOD = """
import sys, time
n, seconds, stamped = int(sys.argv[1]), float(sys.argv[2]), sys.argv[3] == "stamped"
with open("invocations", "a") as log:
    log.write(f"{n}\\n")
print("loading the engine", flush=True)
for k in range(n):
    begin = time.monotonic_ns()
    print(f"start {begin}" if stamped else "start", flush=not stamped)
    time.sleep(0.003)
    print(f"stop {time.monotonic_ns()}" if stamped else "stop", flush=not stamped)
"""

PROGRAM = (
    Step("marker", Phase.MARKER, bits="101", chip_s=0.005),
    Step("infer", Phase.LEAD_IN, seconds=0.05),
    Step("infer", Phase.MEASURED, count=20),
    Step("infer", Phase.LEAD_OUT, seconds=0.05),
    Step("marker", Phase.MARKER, bits="101", chip_s=0.005),
)

Run = Callable[..., tuple[LoadReport, Timeline]]


@pytest.fixture
def run(board, make_spec, tmp_path: Path) -> Run:
    def go(script: str, *arguments: str, program=PROGRAM, **runtime) -> tuple[LoadReport, Timeline]:
        path = tmp_path / "worker.py"
        path.write_text(script)
        (tmp_path / "engine.plan").write_bytes(b"not ONNX at all")
        command = (sys.executable, str(path), *arguments)
        spec = make_spec("engine.plan", runtime=RuntimeSpec("command", command=command, **runtime))
        session = board.start_agent(spec, 0)
        try:
            report = session.load(spec, 0)
            timeline = session.perform(program, 0, seed=1)
            assert session.outputs() == {}
            agent_dir = next((tmp_path / "board" / "agents").iterdir())
            assert len((agent_dir / "invocations").read_text().split()) == 2  # one to learn the pace, one to measure
        finally:
            session.close()
        return report, timeline

    return go


@pytest.mark.parametrize("how", ["stamped", "plain"])
def test_consecutive_steps_are_served_by_one_invocation(run: Run, how: str) -> None:
    report, timeline = run(GOOD, "{n}", "{seconds}", how)
    assert report.details["runtime"] == "command" and report.details["pauses"] is False
    phases = [s.phase for s in timeline.spans]
    assert phases == [Phase.MARKER, Phase.LOAD, Phase.LEAD_IN, Phase.MEASURED, Phase.LEAD_OUT, Phase.MARKER]
    assert timeline.n == 20
    begin, end = timeline.rows(Phase.MEASURED)
    assert np.median(end - begin) / 1e6 == pytest.approx(3.2, abs=0.6)
    lead_in = timeline.spans_of(Phase.LEAD_IN)[0]
    assert (lead_in.end_ns - lead_in.begin_ns) / 1e9 == pytest.approx(0.05, abs=0.01)
    assert begin[0] >= timeline.rows(Phase.LEAD_IN)[1][-1]
    start_up = timeline.spans_of(Phase.LOAD)[0]  # the process's own start is labelled: it is neither gap nor standby
    assert start_up.end_ns == timeline.rows(Phase.LEAD_IN)[0][0]


def test_a_probe_with_pauses_is_left_out_when_the_command_cannot_pause(run: Run) -> None:
    probe = Step("infer", Phase.PROBE, count=3, pause_min_s=0.01, pause_max_s=0.01)
    _, timeline = run(GOOD, "{n}", "{seconds}", "stamped", program=(*PROGRAM, probe))
    assert timeline.n == 20 and not timeline.spans_of(Phase.PROBE)


def test_dithered_gaps_need_a_command_that_can_pause(run: Run) -> None:
    step = Step("infer", Phase.MEASURED, count=3, pause_max_s=0.01)
    with pytest.raises(SpecError, match="cannot pause") as caught:
        run(GOOD, "{n}", "{seconds}", "stamped", program=(step,))
    assert "{pause_max_s}" in caught.value.hint


def test_other_words_than_start_and_stop(run: Run) -> None:
    script = GOOD.replace('"start"', '"[I] begin query"').replace('"stop"', '"[I] end query"')
    patterns = {"start_pattern": r"\bbegin query$", "stop_pattern": r"\bend query$"}
    _, timeline = run(script, "{n}", "{seconds}", "plain", **patterns)
    assert timeline.n == 20


@pytest.mark.parametrize(
    ("script", "says", "error"),
    [
        ("import sys; sys.exit('no CUDA device')", "ended with status 1 .*no CUDA device", DeviceError),
        ("import os; print('start', flush=True); os.kill(os.getpid(), 9)", "status -9 after 0 inferences", DeviceError),
        ("pass", "printed no line that matches start", DeviceError),
        ("print('hello')", "last words: 'hello'", DeviceError),
        ("print('stop')", "a stop line without a start line", DeviceError),
        ("print('start')\nprint('start')", "a start line while an inference was under way", DeviceError),
        ("print('start', flush=True)", "a start line without a stop", DeviceError),
        ("import os; os.write(1, b'start\\nstop\\n')", "in one lump", DeviceError),
        ("print('start 123456789')\nprint('stop 123456799')", "not of CLOCK_MONOTONIC", DeviceError),
        (
            "import time\nt=time.monotonic_ns()\nprint(f'start {t}\\nstop')",
            "lines with and lines without a time",
            DeviceError,
        ),
        ("import time\nt=time.monotonic_ns()\nprint(f'start {t}\\nstop {t-5}')", "run backwards", DeviceError),
    ],
)
def test_programs_that_break_the_contract(run: Run, script: str, says: str, error: type[BenchError]) -> None:
    with pytest.raises(error, match=says):
        run(script, "{n}")


def test_with_a_pin_the_lines_must_be_flushed_even_if_they_carry_times(board, make_spec, tmp_path) -> None:
    value = tmp_path / "value"
    value.write_text("0")
    (tmp_path / "engine.plan").write_bytes(b"x")
    lump = (
        "import os, time\n"
        "for _ in range(9):\n"
        "    t = time.monotonic_ns()\n"
        "    os.write(1, b'start %d\\nstop %d\\n' % (t, t + 5))\n"
        "    time.sleep(0.01)\n"
    )
    runtime = RuntimeSpec("command", command=(sys.executable, "-c", lump, "{n}"))
    spec = make_spec("engine.plan", runtime=runtime, marker_pin=str(value))
    session = board.start_agent(spec, 0)
    with pytest.raises(
        DeviceError, match="4 starts with their stop lines in one lump, so the marker pin cannot follow"
    ):
        session.load(spec, 0)
    session.close()
    assert value.read_text() == "0"


def test_too_few_inferences(run: Run) -> None:
    with pytest.raises(DeviceError, match="the command ran 3 inferences; nothing was left"):
        run(GOOD.replace("range(n)", "range(3)"), "{n}", "{seconds}", "stamped")


def test_a_program_that_is_not_there(board, make_spec, tmp_path) -> None:
    (tmp_path / "engine.plan").write_bytes(b"x")
    spec = make_spec("engine.plan", runtime=RuntimeSpec("command", command=("/nowhere/trtexec", "{n}")))
    session = board.start_agent(spec, 0)
    with pytest.raises(SpecError, match="'/nowhere/trtexec' cannot be started"):
        session.load(spec, 0)
    session.close()


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (("bench", "{n}", "{modle}"), r"unknown placeholder \{modle\}"),
        (("bench",), r"neither \{n\} nor \{seconds\}"),
        ((), "has no command"),
    ],
)
def test_templates_that_cannot_work(board, make_spec, tmp_path, command: tuple[str, ...], says: str) -> None:
    (tmp_path / "engine.plan").write_bytes(b"x")
    spec = make_spec("engine.plan", runtime=RuntimeSpec("command", command=command))
    session = board.start_agent(spec, 0)
    with pytest.raises(SpecError, match=says):
        session.load(spec, 0)
    session.close()
