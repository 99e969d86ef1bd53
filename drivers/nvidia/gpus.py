"""The GPUs of a machine, and which of them a program sees: index, UUID, MIG instance, and in which order they count.

CUDA counts from the fastest GPU on unless CUDA_DEVICE_ORDER says PCI_BUS_ID; NVML and nvidia-smi count by PCI bus. On a
machine with two kinds of GPU "0" is therefore not the same one for both: a choice that could mean either is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from drivers.nvidia.products import gpu_class
from harness.core.errors import DeviceError, SpecError

FASTEST, PCI = "fastest", "pci"
_MIG = re.compile(r"MIG-", re.I)
_OLD_MIG = re.compile(r"MIG-(GPU-[0-9a-f-]+)/\d+/\d+", re.I)


@dataclass(frozen=True)
class Gpu:
    """One GPU. `index`: by PCI bus, as NVML and nvidia-smi count; `architecture`: as the source says it; `mig`: whether
    it is divided, `instances`: UUIDs of its MIG instances; `limit_w`: the most its power limit can be set to, or 0;
    `fields`: what may be asked for, None if nobody knows; `refused`: what does not answer, and why; `sure`: what has
    answered already (None: all of `fields`)."""

    index: int
    uuid: str
    name: str
    architecture: str | int | None = None
    bus_id: str = ""
    mig: bool = False
    instances: tuple[str, ...] = ()
    limit_w: float = 0.0
    fields: frozenset[str] | None = None
    refused: tuple[tuple[str, str], ...] = ()
    sure: frozenset[str] | None = None
    persistent: bool | None = None

    @property
    def label(self) -> str:
        """How its channels begin: `gpu0`."""
        return f"gpu{self.index}"

    @property
    def kind(self) -> str:
        """Its class of power sensor (products.gpu_class)."""
        return gpu_class(self.name, self.architecture)


@dataclass(frozen=True)
class Machine:
    """The driver's version and the GPUs by PCI bus. `left_out`: those that could not be opened, with why."""

    driver: str
    gpus: tuple[Gpu, ...]
    left_out: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Visible:
    """A GPU that was chosen. `instance`: the MIG instance by which it was, or an empty text."""

    gpu: Gpu
    instance: str = ""


def visible(machine: Machine, choice: str, order: str) -> tuple[Visible, ...]:
    """The GPUs that `choice` (a text as in CUDA_VISIBLE_DEVICES; empty: all) means, in its order.

    SpecError for what it cannot mean; DeviceError for a GPU that is not there. As CUDA does, everything behind an entry
    that is not there would be unseen; here it is an error, since a run would end in another GPU's energy.
    """
    if not choice.strip():
        return tuple(Visible(gpu) for gpu in machine.gpus)
    chosen: list[Visible] = []
    for word in (part.strip() for part in choice.split(",")):
        found = _one(machine, word, order)
        if found.gpu.uuid in {v.gpu.uuid for v in chosen}:
            if found.instance:
                continue  # a second instance of the same GPU: one sensor
            raise SpecError(f"option visible names {found.gpu.label} twice: {choice!r}", hint="name each GPU once")
        chosen.append(found)
    return tuple(chosen)


def _one(machine: Machine, word: str, order: str) -> Visible:
    if word.isdigit():
        return Visible(_by_index(machine, int(word), order))
    if _MIG.match(word):
        return _by_instance(machine, word)
    if word.upper().startswith("GPU-"):
        matches = [gpu for gpu in machine.gpus if gpu.uuid.lower().startswith(word.lower())]
        if len(matches) == 1:
            return Visible(matches[0])
        if matches:
            raise SpecError(
                f"option visible: {word!r} is the beginning of {len(matches)} UUIDs", hint="give more of it"
            )
        raise _absent(machine, word)
    raise SpecError(
        f"option visible: {word!r} is no index, GPU-UUID or MIG-UUID",
        hint="write it as CUDA_VISIBLE_DEVICES: `visible: '0,1'`, or UUIDs as `nvidia-smi -L` prints them",
    )


def _by_index(machine: Machine, index: int, order: str) -> Gpu:
    if index >= len(machine.gpus):
        raise _absent(machine, str(index))
    if order == FASTEST and len({gpu.name for gpu in machine.gpus}) > 1:
        raise SpecError(
            f"option visible: {index} may mean another GPU to CUDA, which counts from the fastest on, than to NVML, "
            f"which counts by PCI bus; there are {_listed(machine)}",
            hint=f"name it by UUID: `visible: {machine.gpus[index].uuid}`, or set `cuda_order: pci` if your programs "
            "run with CUDA_DEVICE_ORDER=PCI_BUS_ID",
        )
    return machine.gpus[index]


def _by_instance(machine: Machine, word: str) -> Visible:
    old = _OLD_MIG.fullmatch(word)
    for gpu in machine.gpus:
        if word in gpu.instances or (old is not None and gpu.uuid.lower() == old[1].lower()):
            return Visible(gpu, word)
    divided = [gpu for gpu in machine.gpus if gpu.mig and not gpu.instances]
    if len(divided) == 1 and not any(gpu.instances for gpu in machine.gpus):
        return Visible(divided[0], word)  # nvidia-smi's log does not name instances, and no other GPU has any
    raise _absent(machine, word)


def _absent(machine: Machine, word: str) -> DeviceError:
    lost = "".join(f"; {what} could not be opened: {why}" for what, why in machine.left_out.items())
    return DeviceError(
        f"there is no GPU {word!r}; there are {_listed(machine) or 'none'}{lost}",
        hint="correct option visible of this meter (`nvidia-smi -L` lists GPUs and MIG instances)",
    )


def _listed(machine: Machine) -> str:
    return ", ".join(f"{gpu.index}: {gpu.name} ({gpu.uuid})" for gpu in machine.gpus)


def _sure(gpu: Gpu, fields: Sequence[str]) -> frozenset[str]:
    there = gpu.fields if gpu.fields is not None else frozenset(fields)
    return there if gpu.sure is None else there & gpu.sure


def wanted_channels(chosen: Sequence[Visible], rails: Sequence[str], fields: Sequence[str]) -> list[tuple[Gpu, str]]:
    """(GPU, field) of each channel: those of `rails` in their order, or all of the chosen GPUs that surely answer.

    DeviceError for a channel of another GPU than the chosen, of an unknown field, or of one that the GPU does not have.
    """
    by_label = {v.gpu.label: v.gpu for v in chosen}
    if not rails:
        return [(gpu, f) for gpu in by_label.values() for f in fields if f in _sure(gpu, fields)]
    wanted = []
    for channel in rails:
        label, _, name = channel.partition("/")
        gpu = by_label.get(label)
        if gpu is None or name not in fields:
            there = [f"{one}/{f}" for one in by_label for f in fields]
            raise DeviceError(
                f"there is no channel {channel!r}; there are {there}",
                hint="correct `rails` of this meter in the bench file, or its option visible",
            )
        if gpu.fields is not None and name not in gpu.fields:
            why = dict(gpu.refused).get(name, "not supported")
            others = ", ".join(f"{label}/{f}" for f in fields if f in gpu.fields) or "none"
            raise DeviceError(
                f"channel {channel!r}: {gpu.name} does not tell it ({why}); it tells {others}",
                hint="bind one of those in the bench file",
            )
        wanted.append((gpu, name))
    return wanted
