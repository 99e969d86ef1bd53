"""Builds the firmware and the machine that runs it once a session, and talks to it as any host would."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import serial

from drivers.ina219.codec import InasDecoder
from drivers.ina219.messages import Message, Samples, command
from drivers.simulated.avr.host import AvrStreamer, PlayedTrace, build_firmware, build_host, missing_packages

STEADY = PlayedTrace.of_steps([(1.0, 0.5, 5.0)])


@pytest.fixture(scope="session")
def tools() -> None:
    if missing := missing_packages():
        pytest.skip(f"not installed: {', '.join(missing)} (sudo apt install {' '.join(missing)})")


@pytest.fixture(scope="session")
def machine(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_host(tmp_path_factory.mktemp("avr_host"))


@pytest.fixture(scope="session")
def firmware(tools: None, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A builder that builds each variant once."""
    built: dict[str, Path] = {}

    def build(**settings: int) -> Path:
        key = repr(sorted(settings.items()))
        if key not in built:
            built[key] = build_firmware(tmp_path_factory.mktemp("streamer"), **settings)  # type: ignore[arg-type]
        return built[key]

    return build


Start = Callable[..., AvrStreamer]


@pytest.fixture
def start(machine: Path, firmware: Callable[..., Path], tmp_path: Path) -> Iterator[Start]:
    """start(trace=, events=, build={...}, **options of streamer_host) -> a running streamer, ended after the test."""
    running: list[AvrStreamer] = []

    def begin(
        trace: PlayedTrace = STEADY,
        events: tuple[tuple[str, float, float], ...] = (),
        build: dict[str, int] | None = None,
        **options: float,
    ) -> AvrStreamer:
        folder = tmp_path / str(len(running))
        folder.mkdir()
        elf = firmware(**(build or {}))
        running.append(AvrStreamer(machine, elf, trace, folder, options=options, events=events))
        return running[-1]

    yield begin
    for streamer in running:
        streamer.close()


class Talk:
    """pyserial and the inas/1 decoder on a pty; nothing of the driver that waits or judges."""

    def __init__(self, pty: str, baud: int = 115200) -> None:
        self.port = serial.Serial(pty, baud, timeout=0.01)
        self.decoder = InasDecoder()
        self.raw = bytearray()

    def say(self, body: str) -> None:
        self.port.write(command(body))

    def hear(self, seconds: float, until: type | None = None) -> list[Message]:
        """What is said within `seconds`, or until a message of that type has come."""
        found: list[Message] = []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            data = self.port.read(4096)
            self.raw += data
            found += self.decoder.feed(data)
            if until is not None and any(isinstance(message, until) for message in found):
                break
        return found

    def ask(self, body: str, kind: type, seconds: float = 2.0) -> list[Message]:
        """Messages up to the reply."""
        self.say(body)
        found = self.hear(seconds, kind)
        assert any(isinstance(message, kind) for message in found), f"{body}: no {kind.__name__} among {found}"
        return found

    def close(self) -> None:
        self.port.close()


def joined(messages: list[Message]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """All samples: sequence numbers and times without wraps (int64), shunt and bus registers."""
    found = [message for message in messages if isinstance(message, Samples)]
    seq = np.concatenate([m.seq + np.arange(len(m.t_us)) for m in found])
    t_us = np.concatenate([m.t_us for m in found]).astype(np.int64)
    seq = seq[0] + np.concatenate(([0], np.cumsum(np.diff(seq) & 0xFFFF)))
    t_us = t_us[0] + np.concatenate(([0], np.cumsum(np.diff(t_us) & 0xFFFFFFFF)))
    return seq, t_us, np.concatenate([m.shunt_raw for m in found]), np.concatenate([m.bus_raw for m in found])
