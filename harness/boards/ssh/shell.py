"""How a command is said to a login shell of any kind, so that what that shell prints cannot be taken for its output.

sshd hands one string to the user's login shell, which may be any shell and may print (a noisy .bashrc, a banner). So
the string runs `sh`, and what `sh` runs is framed by a random token.
"""

from __future__ import annotations

import re
import secrets
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

_DIFFICULT = re.compile(r"[\\!\n]")  # in single quotes, not every login shell leaves these alone
_PLAIN = re.compile(rb"[A-Za-z0-9_@%+=:,./ -]")


def for_any_shell(script: str, argv: Sequence[str] = ()) -> str:
    """One command line that runs the sh `script` with the positional parameters `argv`, whatever the login shell."""
    line = shlex.join(["sh", "-c", script, "sh", *argv])
    if not _DIFFICULT.search(line):
        return f"exec {line}"
    encoded = "".join(chr(b) if _PLAIN.match(bytes([b])) else f"\\0{b:03o}" for b in f"exec {line}".encode())
    return f"""exec sh -c 'eval "$(printf %b "$1")"' sh '{encoded}'"""


@dataclass(frozen=True)
class Frame:
    """The marks around the output of one command."""

    token: str

    @classmethod
    def new(cls) -> Frame:
        return cls(secrets.token_hex(8))

    @property
    def opening(self) -> bytes:
        """The line after which the command's own output begins."""
        return f"{self.token}\n".encode()

    def command(self, argv: Sequence[str]) -> str:
        """Runs argv without input; both outputs are framed, the first says the pid, and the status or `missing`."""
        t = self.token
        script = (
            f"echo {t}:$$; echo {t}; echo {t} >&2; "
            f'if command -v -- "$1" >/dev/null 2>&1; then "$@" </dev/null; s=$?; else s=missing; fi; '
            f"echo {t}=$s; echo {t}= >&2"
        )
        return for_any_shell(script, argv)

    def talk(self, script: str, argv: Sequence[str] = ()) -> str:
        """Runs `script`, which has the channel's input; its output begins after the opening line."""
        return for_any_shell(f"echo {self.token}; {script}", argv)

    def inside(self, output: bytes | bytearray) -> tuple[bytes, str | None]:
        """(the command's own output, its status or None while it has not ended)."""
        begin = output.find(self.opening)
        if begin < 0:
            return b"", None
        end = output.rfind(f"{self.token}=".encode())
        if end < 0:
            return bytes(output[begin + len(self.opening) :]), None
        status, newline, _ = output[end + len(self.token) + 1 :].partition(b"\n")
        inner = bytes(output[begin + len(self.opening) : end])
        return inner, status.decode("ascii", "replace") if newline else None

    def pid(self, output: bytes | bytearray) -> str | None:
        """The process group in which the command runs; None if it has not begun."""
        found = re.search(rf"{self.token}:(\d+)\n".encode(), output)
        return found[1].decode() if found else None

    def noise(self, output: bytes | bytearray) -> int:
        """How many bytes the login shell printed first."""
        return max(0, output.find(f"{self.token}:".encode()))
