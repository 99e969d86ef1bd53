"""Numbers and layouts of nvml.h, held against the vendor's own binding (nvidia-ml-py): ours are what it has."""

from __future__ import annotations

import ctypes
import struct
from types import ModuleType

import pytest

from drivers.nvidia import access, nvml_library, nvml_onboard, products
from harness.boards.agent import nvml_source


@pytest.fixture(scope="module")
def pynvml() -> ModuleType:
    return pytest.importorskip("pynvml")  # type: ignore[no-any-return]


def test_return_codes(pynvml: ModuleType) -> None:
    names = [name for name in vars(access) if name.isupper() and isinstance(getattr(access, name), int)]
    assert len(names) >= 18
    for name in names:
        vendors = (
            "NVML_SUCCESS" if name == "SUCCESS" else f"NVML_{name}" if name == "ERROR_UNKNOWN" else f"NVML_ERROR_{name}"
        )
        assert getattr(access, name) == getattr(pynvml, vendors), name
    assert set(access.WORDS) | {access.SUCCESS} == {getattr(access, name) for name in names}
    assert set(nvml_source.GONE) == set(access.GONE), "what one half takes for gone the other must too"


def test_architectures(pynvml: ModuleType) -> None:
    for number, word in products.BY_NUMBER.items():
        assert getattr(pynvml, f"NVML_DEVICE_ARCH_{word.upper()}") == number


def test_fields_and_scopes(pynvml: ModuleType) -> None:
    instant, average = pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_FI_DEV_POWER_AVERAGE
    gpu, module, memory = (getattr(pynvml, f"NVML_POWER_SCOPE_{name}") for name in ("GPU", "MODULE", "MEMORY"))
    expected = {
        "instant": (instant, gpu),
        "average": (average, gpu),
        "module": (instant, module),
        "module-average": (average, module),
        "memory": (instant, memory),
        "memory-average": (average, memory),
        "energy": (nvml_source.TOTAL_ENERGY, 0),
        "power": (nvml_source.POWER_USAGE, 0),
    }
    assert expected == nvml_library.FIELDS
    assert {name: (field, scope) for name, field, scope in nvml_source.FIELDS} == nvml_library.FIELDS


@pytest.mark.parametrize(("ours", "vendors"), [("FieldValue", "c_nvmlFieldValue_t"), ("PciInfo", "nvmlPciInfo_t")])
def test_layouts(pynvml: ModuleType, ours: str, vendors: str) -> None:
    mine, theirs = getattr(nvml_source, ours), getattr(pynvml, vendors)
    assert ctypes.sizeof(mine) == ctypes.sizeof(theirs)
    offsets = [[getattr(kind, field[0]).offset for field in kind._fields_] for kind in (mine, theirs)]
    assert offsets[0] == offsets[1]


def test_value_types(pynvml: ModuleType) -> None:
    letters = {"DOUBLE": "<d", "UNSIGNED_INT": "<I", "UNSIGNED_LONG": "<Q", "UNSIGNED_LONG_LONG": "<Q",
               "SIGNED_LONG_LONG": "<q", "SIGNED_INT": "<i", "UNSIGNED_SHORT": "<H"}  # fmt: skip
    for name, letter in letters.items():
        number = getattr(pynvml, f"NVML_VALUE_TYPE_{name}")
        assert nvml_source.TYPES[number] == letter
        assert hasattr(pynvml.c_nvmlValue_t, nvml_library._MEMBERS[number])


def test_entries_of_a_sampler_are_read_as_they_were_written() -> None:
    assert nvml_onboard.VALUE.format == nvml_source.VALUE.format and nvml_source.VALUE.size == 24
    assert nvml_onboard.value_of(nvml_source.VALUE.pack(0, 3, 86_400_123, 7)) == 86_400_123
    assert nvml_onboard.value_of(nvml_source.VALUE.pack(15, 1, 5, 0)) == access.missing(15)
    assert access.missing(15).gone and not access.missing(3).gone
    assert "errno 105" in nvml_onboard.value_of(105).why  # type: ignore[union-attr]
    assert "bytes" in nvml_onboard.value_of(struct.pack("<i", 0)).why  # type: ignore[union-attr]
