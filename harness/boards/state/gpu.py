"""NVIDIA GPUs of a board: what they are set to, what is to be changed for a run, and how it is put back.

Read from the board's own `nvidia-smi -q -x` (schemas v11 to v13), set through it, so that the same works here and on
any board over SSH. That a GPU's clocks are locked no tool says, so a lock is put back by taking it off.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from harness.core.errors import DeviceError, SpecError
from harness.core.ports import CheckItem
from harness.core.spec import BoardSpec, GpuSettings

COMMAND = "nvidia-smi"
QUESTION = f"agent:nvidia_smi log {COMMAND}"
DEFAULT = "default"
MHZ = 1_000_000
LIMIT_TOLERANCE_W = 0.01
_NUMBER = re.compile(r"(\d+(?:\.\d+)?) (W|MHz)")
LIMIT_NODES = tuple(
    f"{group}/{node}"
    for group in ("gpu_power_readings", "power_readings")
    for node in ("requested_power_limit", "power_limit", "current_power_limit")
)

Files = Mapping[str, bytes]
Gpu = Mapping[str, Any]


def gpus_of(files: Files) -> list[dict[str, Any]] | None:
    """GPUs in order of their bus; None if there is no nvidia-smi or it has none to show. What a GPU does not offer is
    None."""
    root = _log(files)
    if root is None:
        return None
    nodes = sorted(root.findall("gpu"), key=lambda node: node.get("id", ""))
    driver = _text(root, "driver_version")
    return [_gpu(index, node, driver) for index, node in enumerate(nodes)] or None


def trouble_of(files: Files) -> str:
    """What nvidia-smi says instead of a list of GPUs; empty if it lists them, or is not there."""
    said = files.get(QUESTION)
    return "" if said is None or _log(files) is not None else " ".join(said.decode("utf-8", "replace").split())[:200]


def _log(files: Files) -> Element | None:
    data = files.get(QUESTION, b"")
    begin, end = data.find(b"<nvidia_smi_log>"), data.rfind(b"</nvidia_smi_log>")
    if begin < 0 or end < 0:
        return None
    try:
        return ElementTree.fromstring(data[begin:end] + b"</nvidia_smi_log>")
    except ElementTree.ParseError:
        return None


def _gpu(index: int, node: Element, driver: str | None) -> dict[str, Any]:
    limit_w = next((w for path in LIMIT_NODES if (w := _number(node, path)) is not None), None)
    groups = ("clocks_event_reasons", "clocks_throttle_reasons")
    reasons = [child for group in groups for child in node.findall(f"{group}/*")]
    active = [re.sub(r"^clocks_(event|throttle)_reason_", "", r.tag) for r in reasons if (r.text or "") == "Active"]
    return {
        "index": index,
        "uuid": _text(node, "uuid"),
        "name": _text(node, "product_name"),
        "driver": driver,
        "persistence": _text(node, "persistence_mode"),
        "mig": _text(node, "mig_mode/current_mig"),
        "compute_mode": _text(node, "compute_mode"),
        "power_limit_w": limit_w,
        "clocks_hz": _clocks(node, "clocks"),
        "applications_clocks_hz": _clocks(node, "applications_clocks"),
        "max_clocks_hz": _clocks(node, "max_clocks"),
        "held_down_by": active if reasons else None,
    }


def _text(node: Element, path: str) -> str | None:
    said = (node.findtext(path) or "").strip()
    unknown = not said or said.strip("[]").lower() in ("n/a", "not supported", "unknown error", "gpu is lost")
    return None if unknown or "deprecated" in said else said


def _number(node: Element, path: str) -> float | None:
    match = _NUMBER.fullmatch(_text(node, path) or "")
    return float(match[1]) if match else None


def _clocks(node: Element, group: str) -> dict[str, int] | None:
    names = {"graphics": "graphics_clock", "sm": "sm_clock", "memory": "mem_clock"}
    values = {name: _number(node, f"{group}/{tag}") for name, tag in names.items()}
    return {name: round(value * MHZ) for name, value in values.items() if value is not None} or None


# --- what a run asks for -----------------------------------------------------------------------------


def changes_of(board: BoardSpec, files: Files) -> list[dict[str, str]]:
    """What has to be written for the `gpu` section of `board`, in order: `path`, `before` and `value` of each change.

    SpecError for a GPU that is not there or does not offer a setting, DeviceError for another MIG mode than asked for.
    """
    wanted = board.gpu
    if wanted is None:
        return []
    gpus = gpus_of(files)
    if gpus is None:
        words = trouble_of(files) or f"{COMMAND} is not there"
        raise SpecError(f"board {board.name} has no NVIDIA GPU to set: {words}", hint="leave gpu out of its file")
    changes = []
    for gpu in _chosen(board, wanted, gpus):
        _require_mig(board, wanted, gpu)
        for setting, before, value in _settings(wanted, gpu):
            if before is None:
                raise SpecError(
                    f"board {board.name}: {gpu['name']} ({gpu['uuid']}) does not offer {setting}",
                    hint=f"leave {setting} out of gpu in the board's file",
                )
            if before != value:
                path = f"agent:nvidia_smi {setting} {gpu['uuid']} {COMMAND}"
                changes.append({"path": path, "before": before, "value": value})
    return changes


def _settings(wanted: GpuSettings, gpu: Gpu) -> list[tuple[str, str | None, str]]:
    """(setting, text of what is in force or None, text asked for), in the order in which they are set."""
    found: list[tuple[str, str | None, str]] = []
    if wanted.persistence is not None:
        before = {"Enabled": "1", "Disabled": "0"}.get(gpu["persistence"] or "")
        found.append(("persistence", before, "1" if wanted.persistence else "0"))
    if wanted.power_limit_w is not None:
        limit_w = gpu["power_limit_w"]
        same = limit_w is not None and abs(limit_w - wanted.power_limit_w) < LIMIT_TOLERANCE_W
        text = f"{wanted.power_limit_w:.2f}"
        found.append(("power_limit_w", None if limit_w is None else text if same else f"{limit_w:.2f}", text))
    if wanted.compute_mode is not None:
        found.append(("compute_mode", gpu["compute_mode"], wanted.compute_mode))
    if wanted.applications_clocks_mhz:
        now = gpu["applications_clocks_hz"]
        there = now is not None and {"memory", "graphics"} <= set(now)
        before = f"{now['memory'] // MHZ},{now['graphics'] // MHZ}" if there else None
        found.append(("applications_clocks_mhz", before, _pair(wanted.applications_clocks_mhz)))
    if wanted.memory_clocks_mhz:
        found.append(("memory_clocks_mhz", DEFAULT, _pair(wanted.memory_clocks_mhz)))
    if wanted.clocks_mhz:
        found.append(("clocks_mhz", DEFAULT, _pair(wanted.clocks_mhz)))
    return found


def _pair(values: Sequence[int]) -> str:
    return ",".join(str(value) for value in values)


def _chosen(board: BoardSpec, wanted: GpuSettings, gpus: Sequence[Gpu]) -> list[Gpu]:
    if not wanted.which:
        return list(gpus)
    chosen = []
    for name in wanted.which:
        there = [gpu for gpu in gpus if name in (str(gpu["index"]), gpu["uuid"])]
        if not there:
            known = ", ".join(f"{gpu['index']} ({gpu['uuid']})" for gpu in gpus)
            raise SpecError(f"board {board.name} has no GPU {name!r}", hint=f"there are {known}")
        chosen += there
    return chosen


def _require_mig(board: BoardSpec, wanted: GpuSettings, gpu: Gpu) -> None:
    """MIG mode is never changed by a run: it takes a reset of the GPU, and whatever runs on it."""
    if wanted.mig is None:
        return
    now = (gpu["mig"] or "Disabled") == "Enabled"
    if now != wanted.mig:
        raise DeviceError(
            f"board {board.name}: MIG mode of {gpu['uuid']} is {gpu['mig'] or 'not available'}, its file says "
            f"{'enabled' if wanted.mig else 'disabled'}",
            hint=f"sudo {COMMAND} -i {gpu['uuid']} -mig {int(wanted.mig)}  # ends what runs there; may need a restart",
        )


def lock_of(board: BoardSpec, gpus: Sequence[Gpu]) -> dict[str, Any]:
    """`clocks_locked`: whether all GPUs that the board's file names surely have their graphics clock pinned; `locked`:
    indices of those that have. Without persistence mode the lock may be forgotten as soon as nvidia-smi has ended."""
    wanted = board.gpu
    if wanted is None or not wanted.locked:
        return {"clocks_locked": False, "locked": []}
    chosen = _chosen(board, wanted, gpus)
    locked = [gpu["index"] for gpu in chosen if gpu["persistence"] != "Disabled"]
    return {"clocks_locked": len(locked) == len(chosen), "locked": locked}


def require_taken(board: BoardSpec, files: Files) -> list[dict[str, Any]]:
    """The GPUs after the changes; DeviceError if one that can be read back is not in force."""
    for change in changes_of(board, files):
        if change["before"] != DEFAULT:
            _, setting, uuid, _ = change["path"].split(" ", 3)
            raise DeviceError(
                f"board {board.name}: {setting} of {uuid} is {change['before']}, {COMMAND} set it to {change['value']}",
                hint="another program may manage the GPU (nvidia-persistenced, DCGM, a cluster's manager)",
            )
    return gpus_of(files) or []


# --- what `boards check` says -------------------------------------------------------------------------


def check_gpus(files: Files, board: BoardSpec | None) -> tuple[CheckItem, ...]:
    """One finding for each GPU; for none, if there is nothing to say."""
    wanted = board.gpu if board else None
    gpus = gpus_of(files)
    if gpus is None:
        words = trouble_of(files)
        if wanted is None and not words:
            return ()
        return (CheckItem("gpu", wanted is None, words or "not available", "leave gpu out of the board's file"),)
    if board is not None and wanted is not None:
        try:
            changes_of(board, files)
        except (SpecError, DeviceError) as error:
            return (CheckItem("gpu", False, error.message, error.hint),)
    return tuple(_item(gpu, wanted) for gpu in gpus)


def _item(gpu: Gpu, wanted: GpuSettings | None) -> CheckItem:
    limit = "" if gpu["power_limit_w"] is None else f", limit {gpu['power_limit_w']:g} W"
    mode = "" if gpu["mig"] in (None, "Disabled") else ", MIG"
    found = f"{gpu['name']}, persistence {gpu['persistence'] or 'not available'}{limit}{mode}"
    mend = ""
    if gpu["persistence"] == "Disabled" and (wanted is None or wanted.persistence is None):
        mend = "gpu: {persistence: true} in the board's file: else a lock of clocks is lost when nobody uses the GPU"
    elif wanted is None or not wanted.locked:
        mend = "gpu: {clocks_mhz: [1200, 1200]} in the board's file (a clock of nvidia-smi -q -d SUPPORTED_CLOCKS)"
    return CheckItem(f"gpu {gpu['index']}", True, found, mend)
