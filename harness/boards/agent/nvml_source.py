"""NVIDIA's library NVML as a sampler's source: registers of power and energy of GPUs, by the C interface itself.

A bare board has no Python package for it; the library comes with the driver. Names and layouts are those of nvml.h.
What an answer means is the host's business: a value goes with NVML's return code, and nothing is made of it here.
"""

import ctypes
import json
import struct

from .basics import NS, now_ns
from .sample_sources import FileSource

LIBRARY = "libnvidia-ml.so.1"
VALUE = struct.Struct("<iIQq")  # return code, type (nvmlValueType_t), value, the field's own time in us
POWER_USAGE, TOTAL_ENERGY = -1, -2  # functions of their own; all others are field ids
FIELDS = (
    ("energy", TOTAL_ENERGY, 0), ("instant", 186, 0), ("average", 185, 0), ("power", POWER_USAGE, 0),
    ("module", 186, 1), ("module-average", 185, 1), ("memory", 186, 2), ("memory-average", 185, 2),
)  # fmt: skip
SUCCESS, LIBRARY_NOT_FOUND, FUNCTION_NOT_FOUND = 0, 12, 13
GONE = (1, 6, 9, 15, 16, 18, 28, 999)  # uninitialized, not found, driver not loaded, GPU lost, reset required, ...
AGAIN_NS = NS  # a library that lost its GPU is started anew, not oftener than that
TEXT = 96
TYPES = {0: "<d", 1: "<I", 2: "<Q", 3: "<Q", 4: "<q", 5: "<i", 6: "<H"}  # double, uint, ulong, ull, ll, int, ushort


class FieldValue(ctypes.Structure):
    _fields_ = [
        ("field", ctypes.c_uint), ("scope", ctypes.c_uint), ("timestamp", ctypes.c_longlong),
        ("latency", ctypes.c_longlong), ("type", ctypes.c_int), ("code", ctypes.c_int), ("value", ctypes.c_ubyte * 8),
    ]  # fmt: skip


class PciInfo(ctypes.Structure):
    _fields_ = [
        ("legacy", ctypes.c_char * 16), ("domain", ctypes.c_uint), ("bus", ctypes.c_uint), ("device", ctypes.c_uint),
        ("id", ctypes.c_uint), ("subsystem", ctypes.c_uint), ("bus_id", ctypes.c_char * 32),
    ]  # fmt: skip


class Nvml:
    """The library, loaded. Its functions return NVML's codes."""

    def __init__(self, library=LIBRARY):
        self._lib = ctypes.CDLL(library)  # OSError

    def call(self, name, *arguments):
        try:
            function = getattr(self._lib, name)
        except AttributeError:
            return FUNCTION_NOT_FOUND
        function.restype = ctypes.c_int
        return function(*arguments)

    def start(self):
        return self.call("nvmlInit_v2")

    def stop(self):
        return self.call("nvmlShutdown")

    def text(self, name, *arguments):
        """(code, text) of a function that fills a buffer."""
        buffer = ctypes.create_string_buffer(TEXT)
        code = self.call(name, *(arguments + (buffer, ctypes.c_uint(TEXT))))
        return code, buffer.value.decode("utf-8", "replace")

    def number(self, name, *arguments):
        """(code, number) of a function that fills an unsigned int."""
        value = ctypes.c_uint(0)
        return self.call(name, *(arguments + (ctypes.byref(value),))), value.value

    def by_uuid(self, uuid):
        handle = ctypes.c_void_p()
        code = self.call("nvmlDeviceGetHandleByUUID", ctypes.c_char_p(uuid.encode("ascii")), ctypes.byref(handle))
        return code, handle

    def read(self, handle, field, scope):
        """(code, type, value, time) of one register of a GPU."""
        if field == POWER_USAGE:
            code, value = self.number("nvmlDeviceGetPowerUsage", handle)
            return code, 1, value, 0
        if field == TOTAL_ENERGY:
            total = ctypes.c_ulonglong(0)
            code = self.call("nvmlDeviceGetTotalEnergyConsumption", handle, ctypes.byref(total))
            return code, 3, total.value, 0
        asked = FieldValue(field=field, scope=scope)
        code = self.call("nvmlDeviceGetFieldValues", handle, ctypes.c_int(1), ctypes.byref(asked))
        if code == SUCCESS:
            code = asked.code
        value = struct.unpack_from(TYPES.get(asked.type, "<Q"), bytes(bytearray(asked.value)))[0]
        return code, asked.type & 0xFFFFFFFF, max(0, int(value)), asked.timestamp


class NvmlReader:
    """Reads registers, each (UUID, field, scope), and starts a library anew that has lost a GPU or its driver."""

    def __init__(self, library, registers):
        self._registers = [tuple(register) for register in registers]
        self._nvml = Nvml(library)
        self._handles = {}
        self._code = self._nvml.start()
        self._tried_ns = now_ns()
        self.restarts = 0

    def read(self, k):
        """VALUE bytes of register `k`."""
        uuid, field, scope = self._registers[k]
        code, kind, value, time_us = self._value(uuid, field, scope)
        if code in GONE and now_ns() - self._tried_ns >= AGAIN_NS:
            self._start_again()
            code, kind, value, time_us = self._value(uuid, field, scope)
            if code == SUCCESS:
                code = 1  # the host must see that it was away: the next pass has the value
        return VALUE.pack(code, kind, value, time_us)

    def _value(self, uuid, field, scope):
        if self._code != SUCCESS:
            return self._code, 0, 0, 0
        handle = self._handles.get(uuid)
        if handle is None:
            code, handle = self._nvml.by_uuid(uuid)
            if code != SUCCESS:
                return code, 0, 0, 0
            self._handles[uuid] = handle
        return self._nvml.read(handle, field, scope)

    def _start_again(self):
        self._handles = {}
        self._nvml.stop()
        self._code = self._nvml.start()
        self._tried_ns = now_ns()
        self.restarts += 1

    def close(self):
        if self._code == SUCCESS:
            self._nvml.stop()


class NvmlSource(FileSource):
    """Reads all registers, in order, in one go, every `period_s`."""

    def __init__(self, library, registers, period_s, buffer):
        self._reader = NvmlReader(library, registers)  # OSError
        self._paths = list(range(len(registers)))
        self._offsets = [0] * len(registers)
        self._sizes = [VALUE.size] * len(registers)
        self._read = lambda k, size, offset: self._reader.read(k)
        self._begin(period_s, buffer, 0.0)

    def _open(self, k):
        return k

    def counts(self):
        return {"late_passes": self.late, "nvml_restarts": self._reader.restarts}


def look(library=LIBRARY):
    """What a machine's NVML says of its GPUs, as JSON: `error` (a return code) and `what`, or `driver` and `gpus`."""
    try:
        nvml = Nvml(library)
    except OSError as error:
        return json.dumps({"error": LIBRARY_NOT_FOUND, "what": str(error)})
    code = nvml.start()
    if code != SUCCESS:
        return json.dumps({"error": code, "what": "start"})
    try:
        code, driver = nvml.text("nvmlSystemGetDriverVersion")
        code, count = nvml.number("nvmlDeviceGetCount_v2")
        if code != SUCCESS:
            return json.dumps({"error": code, "what": "count the GPUs"})
        return json.dumps({"driver": driver, "gpus": [_gpu(nvml, index) for index in range(count)]})
    finally:
        nvml.stop()


def _gpu(nvml, index):
    handle = ctypes.c_void_p()
    code = nvml.call("nvmlDeviceGetHandleByIndex_v2", ctypes.c_uint(index), ctypes.byref(handle))
    if code != SUCCESS:
        return {"index": index, "error": code}
    code, uuid = nvml.text("nvmlDeviceGetUUID", handle)
    if code != SUCCESS:
        return {"index": index, "error": code}
    pci = PciInfo()
    nvml.call("nvmlDeviceGetPciInfo_v3", handle, ctypes.byref(pci))
    arch_code, arch = nvml.number("nvmlDeviceGetArchitecture", handle)
    kept_code, kept = nvml.number("nvmlDeviceGetPersistenceMode", handle)
    least, most = ctypes.c_uint(0), ctypes.c_uint(0)
    nvml.call("nvmlDeviceGetPowerManagementLimitConstraints", handle, ctypes.byref(least), ctypes.byref(most))
    now, then = ctypes.c_uint(0), ctypes.c_uint(0)
    nvml.call("nvmlDeviceGetMigMode", handle, ctypes.byref(now), ctypes.byref(then))
    return {
        "index": index,
        "uuid": uuid,
        "name": nvml.text("nvmlDeviceGetName", handle)[1],
        "bus_id": pci.bus_id.decode("ascii", "replace"),
        "architecture": arch if arch_code == SUCCESS else None,
        "persistent": bool(kept) if kept_code == SUCCESS else None,
        "limit_w": most.value / 1000.0,
        "mig": bool(now.value),
        "instances": _instances(nvml, handle) if now.value else [],
        "fields": dict((name, nvml.read(handle, field, scope)[0]) for name, field, scope in FIELDS),
    }


def _instances(nvml, handle):
    found = []
    for k in range(nvml.number("nvmlDeviceGetMaxMigDeviceCount", handle)[1]):
        one = ctypes.c_void_p()
        code = nvml.call("nvmlDeviceGetMigDeviceHandleByIndex", handle, ctypes.c_uint(k), ctypes.byref(one))
        if code == SUCCESS:
            code, uuid = nvml.text("nvmlDeviceGetUUID", one)
            if code == SUCCESS:
                found.append(uuid)
    return found
