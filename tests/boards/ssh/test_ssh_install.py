"""A package onto a board behind a real sshd, without a network there and without pip."""

from __future__ import annotations

import base64
import hashlib
import sys
import zipfile
from pathlib import Path

import pytest

from drivers.simulated.ssh_board import SshBoard
from harness.boards import packages
from harness.boards.ssh.transport import SshTransport
from harness.core.errors import DeviceError


def make_wheel(folder: Path) -> Path:
    """A wheel of one module, `carried`."""
    info = "carried-3.1.dist-info"
    files = {
        "carried.py": "__version__ = '3.1'\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: carried\nVersion: 3.1\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    digests = {n: base64.urlsafe_b64encode(hashlib.sha256(t.encode()).digest()).rstrip(b"=") for n, t in files.items()}
    record = "".join(f"{n},sha256={digests[n].decode()},{len(t)}\n" for n, t in files.items()) + f"{info}/RECORD,,\n"
    path = folder / "carried-3.1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return path


def test_a_wheel_goes_over_and_is_imported_there(
    pi: SshTransport, board: SshBoard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    root = board.home / "joulebench place"
    said: list[str] = []
    done = packages.install(
        pi, str(root), [str(make_wheel(tmp_path))], board="pi", python=sys.executable, say=said.append
    )
    assert done.modules == {"carried": "3.1"} and done.python == f"{root}/venv/bin/python"
    assert said[0].startswith("board pi: Python 3.") and any("carried-3.1" in line for line in said)
    assert (root / "venv/joulebench.json").is_file()
    with pytest.raises(DeviceError, match=r"no /nowhere/python3, and agents need Python >= 3\.6") as caught:
        packages.install(pi, str(root), ["carried"], board="pi", python="/nowhere/python3")
    assert "sudo apt install python3" in caught.value.hint
