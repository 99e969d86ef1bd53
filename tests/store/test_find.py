"""Runs are found by path, by the beginning of an id and as the last one; a lock names its holder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import harness
from harness.core.errors import SpecError
from harness.store.find import RunStatus, default_roots, find_run, list_runs
from harness.store.lock import campaign_lock
from harness.store.run_writer import RunWriter

ROOT = Path(__file__).parents[2]


@pytest.fixture
def runs(samples: SimpleNamespace, tmp_path: Path) -> Path:
    """A root with three finished runs, one of them one level down, a partial and an aborted one."""
    for age, (root, repetition) in enumerate(((tmp_path, 0), (tmp_path / "demo", 2), (tmp_path, 1))):
        root.mkdir(exist_ok=True)
        run = samples.run(root, repetition=repetition)
        os.utime(run / "manifest.json", (1000 + age, 1000 + age))
    RunWriter.create(tmp_path, samples.spec(repetition=7))
    RunWriter.create(tmp_path, samples.spec(repetition=8)).abort("DeviceError: it smoked")
    (tmp_path / "unrelated").mkdir()
    return tmp_path


def test_listing_knows_each_state(runs: Path, samples: SimpleNamespace) -> None:
    entries = list_runs(runs)
    finished = [e for e in entries if e.status is RunStatus.FINISHED]
    assert [e.run_id for e in finished] == [samples.spec(repetition=k).run_id for k in (0, 2, 1)]
    (partial,) = [e for e in entries if e.status is RunStatus.PARTIAL]
    (aborted,) = [e for e in entries if e.status is RunStatus.ABORTED]
    assert partial.run_id == samples.spec(repetition=7).run_id
    assert aborted.run_id == samples.spec(repetition=8).run_id
    assert aborted.reason == "DeviceError: it smoked"
    assert partial.reason is None
    assert list_runs(runs / "nowhere") == ()


def test_selectors(runs: Path, samples: SimpleNamespace) -> None:
    first, second = samples.spec(repetition=0).run_id, samples.spec(repetition=1).run_id
    assert find_run("last", [runs]).name == second
    assert find_run(first, [runs]) == runs / first
    assert find_run("squeezenet-b1-r0", [runs]).name == first
    assert find_run(first.rpartition("-")[2][:6], [runs]).name == first  # the hash alone, as in git
    assert find_run(str(runs / first), []) == runs / first
    assert find_run("squeezenet-b1-r2", [runs]).parent.name == "demo"


def test_ambiguous_unfinished_and_unknown(runs: Path) -> None:
    with pytest.raises(SpecError, match="beginning of 3 runs") as caught:
        find_run("squeezenet", [runs])
    assert str(caught.value).count("squeezenet-b1-r") == 3
    with pytest.raises(SpecError, match=r"not finished.*aborted \(DeviceError: it smoked\)"):
        find_run("squeezenet-b1-r8", [runs])
    with pytest.raises(SpecError, match="no run 'resnet'") as caught:
        find_run("resnet", [runs])
    assert "squeezenet-b1-r1" in caught.value.hint
    with pytest.raises(SpecError, match="no finished run"):
        find_run("last", [runs / "nowhere"])


def test_same_run_seen_from_two_roots_is_not_ambiguous(runs: Path) -> None:
    assert find_run("squeezenet-b1-r2", [runs, runs / "demo"]).parent.name == "demo"


def test_three_lines_in_a_notebook(runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (runs / "sub").mkdir()
    monkeypatch.chdir(runs)
    run = harness.load_run("last")
    assert run.trace("monsoon").power_w("main").shape == (150,)
    assert default_roots(runs) == (runs.resolve(),)
    (runs / "runs").mkdir()
    assert default_roots(runs / "sub") == (runs.resolve() / "sub", runs.resolve() / "runs")


def test_importing_harness_imports_nothing_heavy() -> None:
    code = "import sys, harness; sys.exit(any(m in sys.modules for m in ('numpy', 'pyarrow', 'pydantic')))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    me = rf"process {os.getpid()} on .* since \d{{4}}-"
    with campaign_lock(root), pytest.raises(SpecError, match=me), campaign_lock(root):
        pytest.fail("locked twice")
    code = f"""
import sys, pathlib
from harness.store.lock import campaign_lock
with campaign_lock(pathlib.Path({str(root)!r})):
    print("locked", flush=True)
    sys.stdin.read()
"""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, text=True, **pipes) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        with pytest.raises(SpecError, match=f"process {holder.pid} on"), campaign_lock(root):
            pass
        holder.kill()
    with campaign_lock(root):
        pass
