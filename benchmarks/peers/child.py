"""One peer at work: an adapter in the peer's environment, told when to begin and when to end, and what it said."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ENVIRONMENTS = HERE.parents[1] / ".venv-peers"
UNPRIVILEGED = ("setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search")
"""Root, but bound by the modes of files like anybody else: so a counter of another user with mode 0400 gives EACCES."""

OVER = ("raised", "died", "hang")  # answers after which there is none


@dataclass(frozen=True)
class PeerSpec:
    """`environment`: folder below .venv-peers (ours: the running interpreter's); `adapter`: file in adapters/."""

    name: str
    environment: str
    adapter: str
    arguments: tuple[str, ...] = ()

    @property
    def python(self) -> Path:
        if self.environment == "joulebench":
            return Path(sys.executable)
        return ENVIRONMENTS / self.environment / "bin/python"

    @property
    def installed(self) -> bool:
        return self.python.exists()


@dataclass
class Child:
    """A running adapter. Everything it says ends up in `heard`; what it prints in `log`."""

    spec: PeerSpec
    environment: Mapping[str, str] = field(default_factory=dict)
    heard: list[dict[str, Any]] = field(default_factory=list)

    def start(self) -> Child:
        self._folder = Path(tempfile.mkdtemp(prefix=f"joulebench-{self.spec.name}-"))
        self._folder.chmod(0o777)
        self.log = self._folder / "log"
        inherited = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ}
        home = {"HOME": str(self._folder), "MPLCONFIGDIR": str(self._folder), "PYTHONDONTWRITEBYTECODE": "1"}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    *UNPRIVILEGED,
                    str(self.spec.python),
                    str(HERE / "adapters" / self.spec.adapter),
                    *self.spec.arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=self._folder,
                env={**inherited, **home, **self.environment},
            )
        self._answers: queue.Queue[dict[str, Any] | None] = queue.Queue()
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(json.loads(line))
        self._answers.put(None)

    def order(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except OSError:  # it is gone; `hear` will say so
            return

    def hear(self, timeout_s: float) -> dict[str, Any]:
        """The next answer; {"event": "hang"} if it took too long. Once over, over."""
        if self.heard and self.heard[-1]["event"] in OVER:
            return self.heard[-1]
        try:
            answer = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            answer = {"event": "hang", "after_s": timeout_s}
        if answer is None:
            answer = {"event": "died", "exit": self._process.wait()}
        self.heard.append(answer)
        return answer

    def close(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(timeout=3)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._printed = self._read_log()
        shutil.rmtree(self._folder, ignore_errors=True)

    def said(self) -> list[str]:
        """Lines that it printed, without what differs from run to run: numbers, times, places."""
        text = self._read_log() if self.log.exists() else self._printed
        return [line for line in (_plain(line) for line in text.splitlines()) if line]

    def _read_log(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def _plain(line: str) -> str:
    line = re.sub(r"/tmp/\S+|0x[0-9a-f]+|\d+(\.\d+)?(e[-+]?\d+)?", "#", line)
    return re.sub(r"\s+", " ", line).strip()


def new_words(said: Sequence[str], usual: Sequence[str]) -> list[str]:
    """What was printed that is not printed when nothing goes wrong."""
    known = set(usual)
    return list(dict.fromkeys(line for line in said if line not in known))
