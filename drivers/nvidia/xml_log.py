"""`nvidia-smi -q -x` -> the machine's GPUs and their power, whatever the schema. Pure: bytes in.

Nodes were renamed between schemas: `power_readings/power_draw` (v10, v11) became `gpu_power_readings/power_draw` (v12),
then `average_power_draw` and `instant_power_draw` (v12 later, v13), and tools that knew one name read nothing, or 0, of
the others. All of them are read; an absent node and every word for "none" are missing, never 0.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from drivers.nvidia.gpus import Gpu, Machine
from drivers.nvidia.readings import Missing
from drivers.nvidia.tokens import NEVER, Malformed, milliwatts, word_of

LARGEST = 8 << 20
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "": ("gpu_power_readings", "power_readings"),
    "module": ("module_power_readings",),
    "memory": ("gpu_memory_power_readings",),
}
_NODES = {"power": "power_draw", "average": "average_power_draw", "instant": "instant_power_draw"}
_DTD = re.compile(rb"<!DOCTYPE\s+nvidia_smi_log\s+SYSTEM\s+\"nvsmi_device_v(\d+)\.dtd\"\s*>")


class NotALog(ValueError):
    """Bytes that are no log of nvidia-smi: what they say instead."""


@dataclass(frozen=True)
class Log:
    """One log. `schema`: v11 is 11, None where it does not say; `power_mw`: by UUID, then by field."""

    schema: int | None
    timestamp: str
    machine: Machine
    power_mw: Mapping[str, Mapping[str, int | Missing]]


def parse_log(data: bytes) -> Log:
    """NotALog for anything but one whole log; a value that cannot be read is Missing, with what stands there."""
    begin, end = data.find(b"<"), data.rfind(b"</nvidia_smi_log>")
    if begin < 0 or end < 0 or len(data) > LARGEST:
        raise NotALog(" ".join(data[:300].decode("utf-8", "replace").split()) or "nothing was printed")
    text = data[begin : end + len(b"</nvidia_smi_log>")]
    if b"<!ENTITY" in text:
        raise NotALog("it declares entities")
    schema = _DTD.search(text)
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise NotALog(f"it is no XML: {error}") from error
    if root.tag != "nvidia_smi_log":
        raise NotALog(f"its root is {root.tag}")
    found = sorted(((_text(node, "uuid"), node) for node in root.findall("gpu")), key=lambda item: _bus(item[1]))
    gpus, power, left_out = [], {}, {}
    for index, (uuid, node) in enumerate(found):
        bus_id = node.get("id", "")
        if not uuid or word_of(uuid) is not None:
            left_out[f"GPU {bus_id}"] = uuid or "no UUID"
            continue
        power[uuid] = _power(node)
        gpus.append(_gpu(index, uuid, node, power[uuid]))
    machine = Machine(_text(root, "driver_version"), tuple(gpus), left_out)
    return Log(int(schema[1]) if schema else None, _text(root, "timestamp"), machine, power)


def _gpu(index: int, uuid: str, node: Element, power: Mapping[str, int | Missing]) -> Gpu:
    instances = [_text(one, "uuid") for one in node.findall("mig_devices/mig_device")]
    never = {name for name, v in power.items() if isinstance(v, Missing) and (word_of(v.why) or "") in NEVER}
    persistence = _text(node, "persistence_mode")
    return Gpu(
        index=index,
        uuid=uuid,
        name=_text(node, "product_name"),
        architecture=_text(node, "product_architecture") or None,
        bus_id=node.get("id", ""),
        mig=_text(node, "mig_mode/current_mig") == "Enabled",
        instances=tuple(one for one in instances if one),
        limit_w=_limit_w(node),
        refused=tuple((name, "nvidia-smi says N/A") for name in sorted(never)),
        persistent={"Enabled": True, "Disabled": False}.get(persistence),
    )


def _power(node: Element) -> dict[str, int | Missing]:
    """Field (`power`, `average`, `instant`, `module-average`, ...) -> mW, of those nodes that are there."""
    found: dict[str, int | Missing] = {}
    for part, sections in _SECTIONS.items():
        section = next((one for name in sections if (one := node.find(name)) is not None), None)
        if section is None:
            continue
        for field, tag in _NODES.items():
            text = section.findtext(tag)
            if text is not None:
                found[_field(part, field)] = _milliwatts(text)
    return found


def _field(part: str, field: str) -> str:
    """As channels call them: `module` is the module's instant, `module-average` its average, `module-power` the old."""
    if not part:
        return field
    return part if field == "instant" else f"{part}-{field}"


def _milliwatts(text: str) -> int | Missing:
    try:
        return milliwatts(text)
    except Malformed as error:
        return Missing(str(error))


def _limit_w(node: Element) -> float:
    for section in ("gpu_power_readings", "power_readings"):
        text = node.findtext(f"{section}/max_power_limit")
        value = _milliwatts(text) if text is not None else Missing("absent")
        if isinstance(value, int):
            return value / 1000
    return 0.0


def _text(node: Element, path: str) -> str:
    return (node.findtext(path) or "").strip()


def _bus(node: Element) -> tuple[int, ...]:
    """PCI domain, bus, device, function, to sort by."""
    words = re.split(r"[:.]", node.get("id", ""))
    return tuple(int(word, 16) for word in words if re.fullmatch(r"[0-9A-Fa-f]+", word))
