"""Round trip of a command and speed of uploads over SSH on this machine, beside OpenSSH's own tools.

    python benchmarks/bench_ssh.py [--mib 200] [--rounds 3] [--commands 50]

A simulated board (a real sshd on loopback) is both. `ssh` and `scp` use a ControlMaster, so that they too connect once.
Every figure is the best of the rounds: a shared machine adds time and takes none away. Uploads of joulebench include
hashing the file here and on the board; scp verifies nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import paramiko

sys.path.insert(0, str(Path(__file__).parents[1]))

from drivers.simulated.ssh_board import SshBoard, missing
from harness.boards.ssh.transport import SshTransport


def timed(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def openssh(board: SshBoard, program: str, *argv: str) -> None:
    control = ["-o", "ControlMaster=auto", "-o", f"ControlPath={board.directory}/mux", "-o", "ControlPersist=20"]
    subprocess.run([program, "-q", "-F", str(board.config), *control, *argv], check=True, stdin=subprocess.DEVNULL)


def sftp(board: SshBoard, transport: SshTransport, source: Path, target: str) -> None:
    client = paramiko.SFTPClient.from_transport(transport.connect().transport)
    assert client is not None
    with client:
        client.put(str(source), target, confirm=False)


def commands(board: SshBoard, transport: SshTransport, count: int) -> None:
    lines = transport.stream(["cat"])

    def ping() -> None:
        lines.write_line("ping")
        lines.read_line(5.0)

    print(f"{'command, connected':34} {'median ms':>10} {'best ms':>10}")
    for name, work in {
        "joulebench run true": lambda: transport.run(["true"], timeout_s=10),
        "ssh true (ControlMaster)": lambda: openssh(board, "ssh", board.name, "true"),
        "joulebench line there and back": ping,
    }.items():
        work()
        took = [timed(work) for _ in range(count)]
        print(f"{name:34} {1e3 * statistics.median(took):10.2f} {1e3 * min(took):10.2f}")
    lines.close()

    def anew() -> None:
        transport.close()
        transport.connect()

    print(f"{'joulebench connect':34} {1e3 * statistics.median([timed(anew) for _ in range(5)]):10.0f}")


def uploads(board: SshBoard, transport: SshTransport, mib: int, rounds: int) -> None:
    source = board.directory / "source"
    source.write_bytes(os.urandom(mib << 20))
    target = board.home / "target"
    ways: dict[str, Callable[[], object]] = {
        "joulebench put, verified": lambda: transport.put(source, str(target)),
        "scp (ControlMaster)": lambda: openssh(board, "scp", str(source), f"{board.name}:{target}"),
        "paramiko SFTP, pipelined": lambda: sftp(board, transport, source, str(target)),
        "cp, for comparison": lambda: shutil.copyfile(source, target),
    }
    print(f"\n{f'upload of {mib} MiB':34} {'MiB/s':>10}")
    for name, work in ways.items():
        best = 1e9
        for _ in range(rounds):
            target.unlink(missing_ok=True)
            best = min(best, timed(work))
        print(f"{name:34} {mib / best:10.0f}")
    transport.put(source, str(target))
    print(f"{'nothing to send, ms':34} {1e3 * timed(lambda: transport.put(source, str(target))):10.0f}")
    print(f"{'joulebench get, MiB/s':34} {mib / timed(lambda: transport.get(str(target), source)):10.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--commands", type=int, default=50)
    options = parser.parse_args()
    if lacking := missing():
        sys.exit(f"{lacking} is not installed")
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        with SshBoard(top / "board", "bench", client_home=top / "home") as board:
            transport = SshTransport(board.name, board=board.name, config=board.config)
            try:
                commands(board, transport, options.commands)
                uploads(board, transport, options.mib, options.rounds)
            finally:
                transport.close()
                subprocess.run(
                    ["ssh", "-q", "-o", f"ControlPath={board.directory}/mux", "-O", "exit", board.name], check=False
                )


if __name__ == "__main__":
    main()
