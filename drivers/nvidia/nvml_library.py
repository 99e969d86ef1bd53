"""NVML through NVIDIA's own Python binding (package nvidia-ml-py, module pynvml), for GPUs of this machine.

The binding keeps its library in a global of its module; each meter that names a library of its own has a copy of the
module, so that two of them never meet. The package is imported when a meter is opened, not before.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import itertools
import json
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

from drivers.nvidia import access
from drivers.nvidia.readings import Missing

USUAL = "libnvidia-ml.so.1"
POWER_USAGE, TOTAL_ENERGY = -1, -2
FIELDS: dict[str, tuple[int, int]] = {  # field id (below 0: a function of its own), scope
    "energy": (TOTAL_ENERGY, 0),
    "instant": (186, 0),
    "average": (185, 0),
    "power": (POWER_USAGE, 0),
    "module": (186, 1),
    "module-average": (185, 1),
    "memory": (186, 2),
    "memory-average": (185, 2),
}
_copies = itertools.count()
_MEMBERS = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}


def load_binding(library: str) -> ModuleType:
    """The module pynvml that uses `library`. DeviceError without the package, or where the library cannot be loaded."""
    found = importlib.util.find_spec("pynvml")
    if found is None or found.origin is None:
        raise access.no_binding()
    if library == USUAL:
        return importlib.import_module("pynvml")
    name = f"pynvml_of_{next(_copies)}"
    spec = importlib.util.spec_from_file_location(name, found.origin)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # it looks itself up while it is executed
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[name]
    try:
        module.nvmlLib = ctypes.CDLL(library)  # type: ignore[attr-defined]
    except OSError as error:
        raise access.failed(access.LIBRARY_NOT_FOUND, "load", library) from error
    return module


class Library:
    """NVML, started. Errors of `open`: DeviceError, TransientError."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._nvml: Any = load_binding(library)
        self._started = False
        self._handles: dict[str, Any] = {}

    def start(self) -> None:
        """Raises what `access.failed` says."""
        code = self._code(self._nvml.nvmlInit)
        if code != access.SUCCESS:
            raise access.failed(code, "start", self._library)
        self._started = True

    def start_again(self) -> None:
        """After a GPU or the driver went away; what still fails is said by the next value."""
        self.stop()
        self._started = self._code(self._nvml.nvmlInit) == access.SUCCESS

    def stop(self) -> None:
        self._handles = {}
        if self._started:
            self._started = False
            self._code(self._nvml.nvmlShutdown)

    def values(self, registers: Sequence[tuple[str, int, int]]) -> list[int | Missing]:
        """One pass over (UUID, field, scope): mW or mJ, or why not."""
        return [self._value(*register) for register in registers]

    def look(self) -> bytes:
        """The answer to the agent's question `nvml` (harness/boards/agent/nvml_source.py), of this machine."""
        nvml = self._nvml
        count, code = self._try(nvml.nvmlDeviceGetCount, default=0)
        if code:
            return json.dumps({"error": code, "what": "count the GPUs"}).encode()
        driver, _ = self._try(nvml.nvmlSystemGetDriverVersion, default="")
        gpus = [self._gpu(index) for index in range(count)]
        return json.dumps({"driver": _text(driver), "gpus": gpus}).encode()

    # --- inside ---------------------------------------------------------------------------------------

    def _gpu(self, index: int) -> dict[str, Any]:
        nvml = self._nvml
        handle, code = self._try(nvml.nvmlDeviceGetHandleByIndex, index)
        if not code:
            uuid, code = self._try(nvml.nvmlDeviceGetUUID, handle)
        if code:
            return {"index": index, "error": code}
        mode, _ = self._try(nvml.nvmlDeviceGetMigMode, handle, default=[0, 0])
        pci, _ = self._try(nvml.nvmlDeviceGetPciInfo, handle)
        limits, _ = self._try(nvml.nvmlDeviceGetPowerManagementLimitConstraints, handle, default=(0, 0))
        kept, kept_code = self._try(nvml.nvmlDeviceGetPersistenceMode, handle)
        return {
            "index": index,
            "uuid": _text(uuid),
            "name": _text(self._try(nvml.nvmlDeviceGetName, handle, default="")[0]),
            "bus_id": _text(pci.busId) if pci is not None else "",
            "architecture": self._try(nvml.nvmlDeviceGetArchitecture, handle)[0],
            "persistent": bool(kept) if not kept_code else None,
            "limit_w": limits[1] / 1000,
            "mig": bool(mode[0]),
            "instances": self._instances(handle) if mode[0] else [],
            "fields": {name: self._read(handle, *where)[1] for name, where in FIELDS.items()},
        }

    def _instances(self, handle: Any) -> list[str]:
        nvml, found = self._nvml, []
        for k in range(self._try(nvml.nvmlDeviceGetMaxMigDeviceCount, handle, default=0)[0]):
            one, code = self._try(nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, k)
            if not code:
                uuid, code = self._try(nvml.nvmlDeviceGetUUID, one)
                found += [_text(uuid)] if not code else []
        return found

    def _value(self, uuid: str, field: int, scope: int) -> int | Missing:
        if not self._started:
            return access.missing(access.UNINITIALIZED)
        handle = self._handles.get(uuid)
        if handle is None:
            handle, code = self._try(self._nvml.nvmlDeviceGetHandleByUUID, uuid)
            if code:
                return access.missing(code)
            self._handles[uuid] = handle
        value, code = self._read(handle, field, scope)
        return access.missing(code) if code else value

    def _read(self, handle: Any, field: int, scope: int) -> tuple[int, int]:
        """(value, NVML's return code) of one register."""
        nvml = self._nvml
        if field == POWER_USAGE:
            return self._try(nvml.nvmlDeviceGetPowerUsage, handle, default=0)
        if field == TOTAL_ENERGY:
            return self._try(nvml.nvmlDeviceGetTotalEnergyConsumption, handle, default=0)
        answers, code = self._try(nvml.nvmlDeviceGetFieldValues, handle, [(field, scope)])
        if code or answers[0].nvmlReturn:
            return 0, code or int(answers[0].nvmlReturn)
        member = _MEMBERS.get(int(answers[0].valueType))
        return (int(getattr(answers[0].value, member)), 0) if member else (0, access.ERROR_UNKNOWN)

    def _try(self, function: Callable[..., Any], *arguments: Any, default: Any = None) -> tuple[Any, int]:
        """(result, 0), or (`default`, NVML's return code)."""
        try:
            return function(*arguments), access.SUCCESS
        except self._nvml.NVMLError as error:
            return default, int(error.value)

    def _code(self, function: Callable[..., Any]) -> int:
        return self._try(function)[1]


def _text(value: str | bytes) -> str:
    """Bindings before 11.5 gave bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
