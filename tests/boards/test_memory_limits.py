"""Models that do not fit: one clear error that names model, bytes and limit, never a silent death."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from harness.boards.agent import limits
from harness.boards.agent.basics import AgentError
from harness.core.errors import SpecError, TransientError
from harness.core.ports import Step
from harness.core.spec import RuntimeSpec
from harness.core.timeline import Phase


def refused(board, spec) -> SpecError:
    session = board.start_agent(spec, 0)
    try:
        with pytest.raises(SpecError) as caught:
            session.load(spec, 0)
        assert session.ping(1).shape == (1, 3)  # the agent lives on
    finally:
        session.close()
    return caught.value


def test_a_file_above_the_limit_is_not_even_loaded(board, make_spec) -> None:
    error = refused(board, make_spec("zoo:inception_v1", memory_limit_mib=20))
    assert "model inception_v1 is too large for memory_limit_mib 20: its file has 2" in error.message
    assert "memory_limit_mib" in error.hint


def test_a_model_that_does_not_fit_once_it_is_loaded(board, make_spec) -> None:
    """squeezenet has 5 MiB; a batch of 64 needs hundreds for its activations."""
    spec = make_spec("zoo:squeezenet", 64, memory_limit_mib=320)
    error = refused(board, spec)
    assert "model squeezenet is too large for memory_limit_mib 320" in error.message and "batch 64" in error.message


def test_a_model_within_the_limit_runs(board, make_spec) -> None:
    spec = make_spec("zoo:squeezenet", memory_limit_mib=600)
    session = board.start_agent(spec, 0)
    session.load(spec, 0)
    assert session.perform([Step("infer", Phase.MEASURED, count=3)], 0, seed=1).n == 3
    session.close()


def test_a_limit_below_what_the_runtime_takes_by_itself(board, make_spec) -> None:
    error = refused(board, make_spec("gen:lstm", memory_limit_mib=30))
    assert "memory_limit_mib 30 is too small: Python with the runtime onnxruntime takes" in error.message


def test_the_limit_holds_for_a_command_too(board, make_spec, tmp_path) -> None:
    script = "import sys\nx = bytearray(300 << 20)\n" + "print('start', flush=True)\nprint('stop', flush=True)\n"
    (tmp_path / "greedy.py").write_text(script)
    runtime = RuntimeSpec("command", command=("python3", str(tmp_path / "greedy.py"), "{n}"))
    spec = make_spec(runtime=runtime, memory_limit_mib=120)
    session = board.start_agent(spec, 0)
    with pytest.raises(Exception, match="MemoryError"):
        session.load(spec, 0)
    session.close()


def test_an_agent_that_is_killed_while_it_loads(board, make_spec, tmp_path) -> None:
    """As the kernel does it when memory runs out: no last words."""
    (tmp_path / "slow.sh").write_text("sleep 60\n")
    runtime = RuntimeSpec("command", command=("sh", str(tmp_path / "slow.sh"), "{n}"))
    spec = make_spec(runtime=runtime)
    session = board.start_agent(spec, 0)
    pid = int(session.hello()["pid"])
    killer = threading.Timer(0.5, os.kill, (pid, signal.SIGKILL))
    killer.start()
    with pytest.raises(TransientError, match="vanished while it loaded lstm, killed, perhaps out of memory") as caught:
        session.load(spec, 0)
    killer.join()
    assert "memory_limit_mib" in caught.value.hint
    session.close()


def test_a_model_larger_than_free_memory(monkeypatch: pytest.MonkeyPatch, tmp_path) -> None:
    (tmp_path / "net.onnx").write_bytes(bytes(3 << 20))
    job = {"model": str(tmp_path / "net.onnx"), "name": "net", "runtime": {"name": "onnxruntime"}}
    limits.check_size(job)
    monkeypatch.setattr(limits, "memory_available", lambda: 2 << 20)
    with pytest.raises(AgentError, match="net is too large for this board: its file alone has 3 MiB, 2 MiB of memory"):
        limits.check_size(job)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Exception during initialization: std::bad_alloc", True),
        (
            "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried to allocate 9",
            True,
        ),
        ("Failed to allocate memory for requested buffer of size 4194304", True),
        ("[ONNXRuntimeError] : 10 : INVALID_GRAPH : This is an invalid model", False),
    ],
)
def test_what_means_that_memory_ran_out(words: str, meant: bool) -> None:
    assert limits.out_of_memory(RuntimeError(words)) is meant
    assert limits.out_of_memory(MemoryError())
