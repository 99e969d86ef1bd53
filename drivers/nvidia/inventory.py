"""What a machine's NVML said of its GPUs (the answer to the agent's question `nvml`) -> the machine; pure.

Both halves of the driver use it: the one that polls here asks this machine the same question in the same words.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from drivers.nvidia import access
from drivers.nvidia.gpus import Gpu, Machine
from harness.core.errors import DeviceError


def machine_of(answer: bytes, *, library: str, driver: str = "nvml") -> Machine:
    """DeviceError or TransientError where NVML did not start, or finds no GPU that can be opened."""
    if not answer:
        raise DeviceError(
            f"the board's agent does not know NVML, so {driver} cannot look at its GPUs",
            hint="`joulebench boards clean NAME` removes the old agent from the board; it is then sent anew",
        )
    try:
        said = json.loads(answer)
        if "error" in said:
            raise access.failed(int(said["error"]), str(said.get("what", "start")), library)
        gpus, left_out = [], {}
        for item in said["gpus"]:
            if "error" in item:
                left_out[f"gpu{item['index']}"] = f"{access.words(int(item['error']))} (NVML {item['error']})"
            else:
                gpus.append(_gpu(item))
        machine = Machine(str(said["driver"]), tuple(gpus), left_out)
    except (ValueError, TypeError, KeyError) as error:
        raise DeviceError(f"NVML's answer of the board is not understood: {answer[:120]!r} ({error})") from error
    if not machine.gpus:
        if left_out:
            code = next(int(item["error"]) for item in said["gpus"] if "error" in item)
            raise access.failed(code, f"open {', '.join(left_out)}", library)
        raise access.no_gpu("NVML")
    return machine


def _gpu(item: Mapping[str, Any]) -> Gpu:
    codes = {str(name): int(code) for name, code in item["fields"].items()}
    return Gpu(
        index=int(item["index"]),
        uuid=str(item["uuid"]),
        name=str(item["name"]),
        architecture=item["architecture"],
        bus_id=str(item["bus_id"]),
        mig=bool(item["mig"]),
        instances=tuple(str(one) for one in item["instances"]),
        limit_w=float(item["limit_w"]),
        fields=frozenset(name for name, code in codes.items() if code not in (*access.NEVER, access.NO_PERMISSION)),
        refused=tuple((name, access.words(code)) for name, code in codes.items() if code != access.SUCCESS),
        persistent=item["persistent"],
    )
