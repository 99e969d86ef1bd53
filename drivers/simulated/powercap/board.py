"""A board with a simulated processor: what no file holds (registers, perf events) is answered by simulated devices."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from drivers.rapl.counters import Event
from drivers.simulated.powercap.devices import SimulatedDevices
from harness.boards.state.files import LocalFiles
from harness.core.sampling import SamplerPlan

ASKED = ("agent:at ", "agent:event ")


class DeviceFiles(LocalFiles):
    """BoardFiles of a board whose agent reads `devices`."""

    def __init__(self, devices: SimulatedDevices) -> None:
        super().__init__()
        self._devices = devices

    def read(self, patterns: Sequence[str]) -> Mapping[str, bytes]:
        asked = [pattern for pattern in patterns if pattern.startswith(ASKED)]
        found = dict(super().read([pattern for pattern in patterns if pattern not in asked]))
        for question in asked:
            word, *words = question.removeprefix("agent:").split()
            if word == "at":
                answer = self._value(path=words[2], number=int(words[0]))
            else:
                answer = self._value(event=Event(*map(int, words)))
            found[question] = json.dumps(answer if isinstance(answer, int) else answer.hex()).encode()
        return found

    def _value(self, *, path: str = "", number: int = 0, event: Event | None = None) -> bytes | int:
        devices = self._devices
        try:
            fd = devices.open_register(path) if event is None else devices.open_event(event)
            try:
                return devices.read_register(fd, number) if event is None else devices.read_event(fd)
            finally:
                devices.close(fd)
        except OSError as error:
            return error.errno or 0


class DeviceSampler:
    """What the agent's sampler gives for a plan of registers or events: an open file each, kept from pass to pass."""

    def __init__(self, devices: SimulatedDevices) -> None:
        self._devices = devices
        self._fds: dict[object, int] = {}

    def __call__(self, plan: SamplerPlan, now_ns: int) -> tuple[bytes | int, ...]:
        return tuple([self._register(*place) for place in plan.registers] + [self._event(e) for e in plan.events])

    def _register(self, path: str, number: int, size: int) -> bytes | int:
        devices = self._devices
        try:
            fd = self._fds.setdefault(path, -1)
            if fd < 0:
                fd = self._fds[path] = devices.open_register(path)
            return devices.read_register(fd, number)[:size]
        except OSError as error:
            return error.errno or 0

    def _event(self, numbers: tuple[int, int, int]) -> bytes | int:
        devices = self._devices
        try:
            fd = self._fds.setdefault(numbers, -1)
            if fd < 0:
                fd = self._fds[numbers] = devices.open_event(Event(*numbers))
            return devices.read_event(fd)
        except OSError as error:
            return error.errno or 0
