"""The agent is one file that an old board can run: Python 3.6, standard library until a model is loaded."""

from __future__ import annotations

import ast
import dataclasses
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.boards.agent_file import PACKAGE, agent_bytes, agent_file
from harness.core.ports import Step
from harness.core.spec import RuntimeSpec
from harness.core.timeline import Phase


def test_the_file_is_the_same_for_the_same_sources() -> None:
    assert agent_bytes() == agent_bytes()
    assert agent_file().read_bytes() == agent_bytes()


def test_it_runs_alone_where_there_is_no_harness(tmp_path: Path) -> None:
    alone = tmp_path / "agent.pyz"
    alone.write_bytes(agent_bytes())
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(alone), "end", str(tmp_path)],
        cwd="/", capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    assert json.loads(done.stdout) == {"ended": [], "left": [], "others": [], "ok": True}


def test_only_the_standard_library_is_imported_before_a_model_is_loaded() -> None:
    for path in PACKAGE.glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        names = {a.name.split(".")[0] for node in tree.body if isinstance(node, ast.Import) for a in node.names}
        names |= {str(n.module) for n in tree.body if isinstance(n, ast.ImportFrom) and n.level == 0}
        assert names <= sys.stdlib_module_names, path


def python_36() -> str:
    found = shutil.which("python3.6") or str(Path.home() / ".pyenv/versions/3.6.15/bin/python3.6")
    try:
        done = subprocess.run([found, "-c", "import sys; print(sys.version_info[:2])"], capture_output=True, timeout=20)
    except OSError:
        done = None
    if done is None or done.returncode != 0:
        found = str(Path.home() / ".pyenv/versions/3.6.15/bin/python3.6")
    if not Path(found).exists():
        pytest.skip("python3.6 is not installed")
    return found


def test_a_real_python_36_runs_a_program(board, make_spec, tmp_path: Path) -> None:
    """Everything but ONNX Runtime, which an old board may lack: the command runtime needs the standard library only."""
    script = tmp_path / "worker.sh"
    script.write_text('i=0; while [ $i -lt "$1" ]; do echo start; sleep 0.004; echo stop; i=$((i+1)); done\n')
    runtime = RuntimeSpec("command", command=("sh", str(script), "{n}"))
    spec = make_spec(runtime=runtime)
    spec = dataclasses.replace(spec, board=dataclasses.replace(spec.board, python=python_36()))
    session = board.start_agent(spec, 0)
    assert str(session.hello()["python"]).startswith("3.6.")
    assert session.ping(3).shape == (3, 3)
    session.load(spec, 0)
    timeline = session.perform(
        [Step("marker", Phase.MARKER, bits="101", chip_s=0.01), Step("infer", Phase.MEASURED, count=5)], 0, seed=1
    )
    assert timeline.n == 5
    assert len(timeline.rows(Phase.MARKER)[0]) == 2
    session.close()


def test_a_board_without_the_runtime_says_what_to_install(board, make_spec) -> None:
    from harness.core.errors import DeviceError

    spec = make_spec()
    spec = dataclasses.replace(spec, board=dataclasses.replace(spec.board, python=python_36()))
    session = board.start_agent(spec, 0)
    with pytest.raises(DeviceError, match="onnxruntime") as caught:
        session.load(spec, 0)
    assert "-m pip install onnxruntime" in caught.value.hint
    session.close()


def test_a_real_python_36_answers_the_short_commands(tmp_path: Path) -> None:
    owner = json.dumps({"pid": 1, "identity": ["boot", 1], "pid_namespace": None})
    root = str(tmp_path / "board")
    reading = json.dumps({"read": ["/proc/sys/kernel/ostype", "agent:python", "agent:writable /proc/self/comm"]})
    keeping = json.dumps({"keep": root + "/restore.json", "data": "e30="})

    def ask(*argv: str) -> dict[str, object]:
        done = subprocess.run([python_36(), str(agent_file()), *argv], capture_output=True, text=True, timeout=60)
        return json.loads(done.stdout)  # type: ignore[no-any-return]

    files = ask("files", reading)["files"]
    assert isinstance(files, dict) and files["/proc/sys/kernel/ostype"] == "Linux\n"
    assert files["agent:python"].startswith("3.6.") and "/proc/self/comm" in files["agent:writable /proc/self/comm"]
    assert ask("files", keeping) == {"ok": True}
    assert ask("lease", "--take", "--seconds", "5", "--owner", owner)["taken"] is True
    assert ask("agents", root)["agents"] == []
    assert ask("end", root)["ended"] == []
    assert ask("clean", root, "--owner", owner)["kept"] == [root + "/restore.json"]
    assert ask("files", json.dumps({"write": "/nowhere", "data": ""}))["kind"] == "device"
