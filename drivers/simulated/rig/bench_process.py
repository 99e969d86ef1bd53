"""The simulated bench: one detached process with the rig, its meters, the marker FIFO and a control socket.

    python -m drivers.simulated.rig.bench_process --dir DIR --world FILE --seed N --meters JSON

It outlives a killed harness, as a real bench does, and ends by itself when nobody has used it for a while.
In DIR: usb-<meter>.sock, sysfs-<meter>/, board/ (the files in which the board tells of itself), pin, control.sock,
bench.json (pid and world), truth/ (for the examiner only), bench.log.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO, Any

from drivers.simulated.rig.board_tree import BoardTree
from drivers.simulated.rig.kernels import KernelList
from drivers.simulated.rig.pin_listener import MERGED, NEW_WRITER, RECORD
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.rig import Rig
from drivers.simulated.rig.served.registry import serve_meters
from drivers.simulated.rig.truth import TruthLog
from drivers.simulated.rig.world import World, draw
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding, RunSpec, meter_from_json

CONTROL, PIN, ABOUT = "control.sock", "pin", "bench.json"
BOARD_TREE = "board"


def bench_cpu() -> int:
    """The CPU that the simulated bench keeps to: the last one. Agents are given the others, where there are any."""
    return max(os.sched_getaffinity(0))


def bindings_from_json(data: Any) -> tuple[MeterBinding, ...]:
    """Inverse of `dataclasses.asdict` over meter bindings, after a trip through JSON."""
    return tuple(meter_from_json(row) for row in data)


class Bench:
    """All parts of the process. `run` returns when told to quit or left alone for `idle_exit_s`."""

    def __init__(self, folder: Path, world: World, meters: tuple[MeterBinding, ...], *, idle_exit_s: float) -> None:
        self._folder, self._idle_exit_s = folder, idle_exit_s
        self._touched_s = time.monotonic()
        self._clients = 0
        self._quit = threading.Event()
        self._began_s = time.monotonic()
        self.truth = TruthLog(folder / "truth")
        self.rig = Rig(world, now_ns=time.monotonic_ns(), truth=self.truth)
        self._announced: str | None = None
        self._edges = self._merged = 0
        self._tree = BoardTree(folder / BOARD_TREE, self.rig.told_last())
        self._meters = serve_meters(self.rig, meters, folder, self.touch)
        planes = {b.name: m.truth for b, m in zip(meters, self._meters, strict=True)}
        (folder / "truth" / "meters.json").write_text(json.dumps(planes), encoding="utf-8")

    def touch(self) -> None:
        self._touched_s = time.monotonic()

    def run(self) -> None:
        self._listen_to_pin()
        self._listen_to_control()
        while not self._quit.wait(0.2):
            self.rig.play(time.monotonic_ns())
            self._tree.update(self.rig.told_last())
            if self._clients:
                self.touch()
            if time.monotonic() - self._touched_s > self._idle_exit_s:
                break

    def close(self) -> None:
        for meter in self._meters:
            with contextlib.suppress(OSError):
                meter.close()
        with contextlib.suppress(OSError):
            self._listener.close()
            (self._folder / CONTROL).unlink()
        self._pin_process.terminate()
        self._pin_process.wait(timeout=5)
        self.rig.flush()
        self.truth.close()

    # --- marker pin -----------------------------------------------------------------------------------

    def _listen_to_pin(self) -> None:
        fifo = self._folder / PIN
        fifo.unlink(missing_ok=True)
        os.mkfifo(fifo, 0o666)
        argv = [sys.executable, "-m", "drivers.simulated.rig.pin_listener", str(fifo)]
        self._pin_process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._pin_process.stdout is not None
        threading.Thread(target=self._hear, args=(self._pin_process.stdout,), name="pin", daemon=True).start()

    def _hear(self, stream: IO[bytes]) -> None:
        held = b""
        while chunk := os.read(stream.fileno(), 65_536):
            held += chunk
            whole = len(held) // RECORD.size * RECORD.size
            for t_ns, code in RECORD.iter_unpack(held[:whole]):
                if code == NEW_WRITER:
                    self.rig.begin_process(t_ns)
                elif code == MERGED:
                    self._merged += 1
                else:
                    self.rig.edge(t_ns, code)
                    self._edges += 1
            held = held[whole:]
            self.touch()

    # --- control --------------------------------------------------------------------------------------

    def _listen_to_control(self) -> None:
        path = self._folder / CONTROL
        path.unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(8)
        threading.Thread(target=self._accept, name="control", daemon=True).start()

    def _accept(self) -> None:
        while not self._quit.is_set():
            try:
                link, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(link,), name="control client", daemon=True).start()

    def _serve(self, link: socket.socket) -> None:
        self._clients += 1
        try:
            with link, link.makefile("rw", encoding="utf-8") as stream:
                for line in stream:
                    stream.write(json.dumps(self._answer(line)) + "\n")
                    stream.flush()
        except (OSError, ValueError):
            return  # the client went away
        finally:
            self._clients -= 1
            self.touch()

    def _answer(self, line: str) -> dict[str, Any]:
        self.touch()
        try:
            request = json.loads(line)
            return {"ok": True, **self._do(str(request["do"]), request)}
        except (ValueError, KeyError, TypeError) as error:
            return {"ok": False, "error": f"{type(error).__name__}: {error}"}

    def _do(self, what: str, request: dict[str, Any]) -> dict[str, Any]:
        if what == "announce":
            self._announce(request["spec"], request.get("kernels"))
        elif what == "flush":
            self.rig.flush()
        elif what == "quit":
            self._quit.set()
        elif what != "status":
            raise ValueError(f"unknown request {what!r}; known: announce, flush, quit, status")
        return {
            "pid": os.getpid(),
            "world": self.rig.world.ranges.name,
            "seed": self.rig.world.seed,
            "announced": self._announced,
            "edges": self._edges,
            "merged_reads": self._merged,
            "late_edges": self.rig.late_edges,
            "lost_stretches": self.rig.lost_stretches,
            "age_s": time.monotonic() - self._began_s,
            "clients": self._clients,
        }

    def _announce(self, spec: dict[str, Any], kernels: dict[str, Any] | None) -> None:
        run_id = RunSpec.from_json(spec).run_id
        try:
            work = self.rig.announce(spec, None if kernels is None else KernelList.from_json(kernels))
        except SpecError as error:
            raise ValueError(error.message) from error
        self._announced = run_id
        layers = "off" if work.course is None else "given" if work.course.kernels.given else "made up"
        row = {"run_id": run_id, "t_ns": time.monotonic_ns(), "layers": layers}
        with (self._folder / "truth" / "announced.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(row) + "\n")


def main(argv: list[str] | None = None) -> None:
    """Entry of the process; a second one on the same folder ends at once."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--world", default="default", help="a world file, or the name of a shipped one")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--meters", type=json.loads, default=[], help="JSON list of meter bindings")
    parser.add_argument("--idle-exit-s", type=float, default=900.0)
    options = parser.parse_args(argv)
    folder: Path = options.dir
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "bench.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return
        world = draw(options.seed, load_ranges(options.world))
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the harness's Ctrl-C is not ours
        with contextlib.suppress(OSError, AttributeError):  # a bench beside the board, as far as one machine allows
            os.sched_setaffinity(0, {bench_cpu()})
        bench = Bench(folder, world, bindings_from_json(options.meters), idle_exit_s=options.idle_exit_s)
        signal.signal(signal.SIGTERM, lambda number, frame: bench._quit.set())
        about = {"pid": os.getpid(), "world": str(options.world), "seed": options.seed, "meters": options.meters}
        (folder / ABOUT).write_text(json.dumps(about, indent=1), encoding="utf-8")
        try:
            bench.run()
        finally:
            bench.close()


if __name__ == "__main__":
    main()
