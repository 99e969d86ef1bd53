"""Packages onto a board: the right wheels for it, installed without a network, imported before they are believed."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from harness.boards import packages
from harness.boards.board_python import BoardPython, check_module, check_python, describe_python, require_python
from harness.boards.local import LocalTransport
from harness.core.errors import DeviceError, SpecError

PI = BoardPython("/usr/bin/python3", (3, 9, 2), "aarch64", ("glibc", "2.31"), "aarch64-linux-gnu")


def make_wheel(
    folder: Path, body: str = "__version__ = '1.2'\n", *, tag: str = "py3-none-any", needs: str = ""
) -> Path:
    """A wheel of one module, `tinything`."""
    info = "tinything-1.2.dist-info"
    files = {
        "tinything/__init__.py": body,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: tinything\nVersion: 1.2\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
    }

    def line(name: str, text: str) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
        return f"{name},sha256={digest},{len(text.encode())}\n"

    record = "".join(line(name, text) for name, text in files.items()) + f"{info}/RECORD,,\n"
    folder.mkdir(exist_ok=True)
    path = folder / f"tinything-1.2-{tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def install(tmp_path: Path, *wheels: Path) -> packages.Installed:
    return packages.install(
        LocalTransport(), str(tmp_path / "board"), [str(w) for w in wheels], board="mine", python=sys.executable
    )


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)


def test_a_wheel_is_installed_and_imported(tmp_path: Path) -> None:
    done = install(tmp_path, make_wheel(tmp_path / "wheels"))
    assert done.python == str(tmp_path / "board/venv/bin/python")
    assert done.modules == {"tinything": "1.2"} and done.wheels == ("tinything-1.2-py3-none-any.whl",)
    own = subprocess.run(
        [done.python, "-c", "import sys, tinything; print(tinything.__file__)"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert own.stdout.startswith(str(tmp_path / "board/venv"))
    kept = list((tmp_path / "board/files/wheels").rglob("tinything-*.whl"))
    assert [path.parent.name for path in kept] == [hashlib.sha256(kept[0].read_bytes()).hexdigest()[:16]]


def test_installing_again_keeps_the_environment_and_a_half_made_one_is_made_anew(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels")
    done = install(tmp_path, wheel)
    witness = tmp_path / "board/venv/witness"
    witness.write_text("here before")
    again = packages.install(
        LocalTransport(), str(tmp_path / "board"), [str(wheel)], board="mine", python=done.python
    )  # from the environment's own Python, as its board file now says
    assert again == done and witness.exists()
    (tmp_path / "board/venv/joulebench.json").unlink()
    assert install(tmp_path, wheel) == done and not witness.exists()


def test_what_cannot_be_imported_is_not_installed(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", "raise OSError('libfancy.so.3: cannot open shared object file')\n")
    with pytest.raises(DeviceError, match=r"tinything is installed but cannot be imported: .*libfancy\.so\.3"):
        install(tmp_path, wheel)


def test_a_wheel_for_another_board_is_refused_before_anything_is_sent(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", tag="cp36-cp36m-manylinux2014_ppc64")
    with pytest.raises(
        SpecError, match=r"no wheels of .* for board mine \(Python 3\.\d+, \w+, glibc .*not a supported"
    ):
        install(tmp_path, wheel)
    assert not (tmp_path / "board").exists()


def test_what_it_needs_and_nobody_has(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "wheels", needs="Requires-Dist: surely-not-there>=3\n")
    with pytest.raises(SpecError, match="surely-not-there") as caught:
        install(tmp_path, wheel)
    assert "another version" in caught.value.hint


def test_things_that_are_no_packages(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="'--user' is no package"):
        packages.fetch_wheels(["--user"], PI, tmp_path, board="pi")
    with pytest.raises(SpecError, match=r"there is no wheel nothing\.whl"):
        packages.fetch_wheels(["nothing.whl"], PI, tmp_path, board="pi")


def test_a_disk_that_is_too_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "GROWTH", 1 << 40)
    with pytest.raises(DeviceError, match=r"has \d+ MiB free, the packages need about \d+ MiB") as caught:
        install(tmp_path, make_wheel(tmp_path / "wheels"))
    assert "joulebench boards clean mine" in caught.value.hint


def test_the_wheels_that_a_board_can_use() -> None:
    tags = packages.platforms(PI)
    assert (
        tags[0] == "manylinux_2_31_aarch64"
        and "manylinux_2_17_aarch64" in tags
        and "manylinux_2_32_aarch64" not in tags
    )
    assert "manylinux2014_aarch64" in tags and tags[-1] == "linux_aarch64"
    assert packages.abis(PI) == ["cp39", "abi3", "none"]
    old = BoardPython("python3", (3, 6, 9), "armv7l", ("", ""), "arm-linux-musleabihf")
    assert packages.platforms(old) == ["musllinux_1_2_armv7l", "musllinux_1_1_armv7l", "linux_armv7l"]
    assert packages.abis(old) == ["cp36", "cp36m", "abi3", "none"]


def test_this_machine_describes_itself() -> None:
    about = describe_python(LocalTransport(), sys.executable, board="here")
    assert about.version == tuple(sys.version_info[:3])
    assert packages.platforms(about)[-1].startswith("linux_")


def script(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text, encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_a_board_without_python_or_with_an_old_one(tmp_path: Path) -> None:
    old = script(tmp_path / "python2", "echo 'joulebench-python 2.7.18'\n")
    broken = script(tmp_path / "broken", "echo 'libpython3.so: not found' >&2; exit 127\n")
    for python, says in (
        (str(tmp_path / "nothing"), "no .*nothing, and agents need Python >= 3.6"),
        (old, r"is Python 2\.7\.18, and agents need Python >= 3\.6"),
        (broken, "cannot be run, and agents need Python >= 3.6: libpython3.so: not found"),
    ):
        item = check_python(LocalTransport(), python)
        assert not item.ok and "sudo apt install python3" in item.mend
        with pytest.raises(DeviceError, match=says) as caught:
            require_python(LocalTransport(), python, board="mine")
        assert "sudo apt install python3" in caught.value.hint


def test_a_login_shell_that_prints_does_not_hide_the_version(tmp_path: Path) -> None:
    chatty = script(tmp_path / "chatty", f'echo "Welcome!"; exec "{sys.executable}" "$@"\n')
    assert require_python(LocalTransport(), chatty, board="mine") == tuple(sys.version_info[:3])
    assert check_module(LocalTransport(), chatty, "numpy", board="mine").ok


def test_a_missing_runtime_names_both_ways_to_get_it() -> None:
    item = check_module(LocalTransport(), sys.executable, "no_such_runtime", board="mine")
    assert not item.ok and "No module named 'no_such_runtime'" in item.found
    assert f"{sys.executable} -m pip install no_such_runtime" in item.mend
    assert "joulebench boards install mine no_such_runtime" in item.mend


def test_starting_an_agent_on_a_board_without_python_says_what_to_install(board, make_spec) -> None:
    spec = make_spec(python="/nonexistent/python3")
    with pytest.raises(DeviceError, match=r"no /nonexistent/python3, and agents need Python >= 3\.6") as caught:
        board.start_agent(spec, 0)
    assert "sudo apt install python3" in caught.value.hint
    items = {item.name: item for item in board.check(spec)}
    assert not items["python"].ok and "sudo apt install python3" in items["python"].mend
    assert not items["onnxruntime"].ok and "joulebench boards install local onnxruntime" in items["onnxruntime"].mend
