"""What one inference of a model draws: mean power and its course over the layers, derived without running it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from drivers.simulated.rig.kernels import Course, KernelList, random_kernels, rng_of
from drivers.simulated.rig.world import World
from harness.core.clock import FloatArray


@dataclass(frozen=True)
class Workload:
    """`dynamic_w`: mean power above standby during an inference; the course over its layers is relative.

    `share`: (L+1,) knots 0..1 of the inference's duration; `cumulative`: (L+1,) share of its energy up to
    there; power between knots is constant and its mean over the inference is 1. `time_s`: typical duration
    (used in virtual time only). `chip_s`: length of a marker's chip, 0 if unknown. `course`: the kernels whose
    instances are drawn one by one, in runs that ask for layers.
    """

    name: str
    dynamic_w: float
    share: FloatArray
    cumulative: FloatArray
    time_s: float
    chip_s: float = 0.0
    course: Course | None = None

    @property
    def first(self) -> float:
        """Relative power of the first layer."""
        return float(self.cumulative[1] / self.share[1])

    @property
    def last(self) -> float:
        return float((1 - self.cumulative[-2]) / (1 - self.share[-2]))

    def exceeded(self, share: float) -> float:
        """Relative power that is exceeded during this share of the inference's time."""
        power = np.diff(self.cumulative) / np.diff(self.share)
        order = np.argsort(-power)
        time_above = np.cumsum(np.diff(self.share)[order])
        return float(power[order[min(int(np.searchsorted(time_above, share)), len(order) - 1)]])

    @property
    def lowest(self) -> float:
        return float(np.min(np.diff(self.cumulative) / np.diff(self.share)))


def _rising(parts: FloatArray) -> FloatArray:
    knots = np.concatenate([[0.0], np.cumsum(parts)])
    knots /= knots[-1]
    return knots


def wants_layers(spec: dict[str, Any] | None) -> bool:
    """Does the run (RunSpec in JSON form) ask for layers?"""
    return str(((spec or {}).get("protocol") or {}).get("layers", "off")) != "off"


def _identity(spec: dict[str, Any] | None) -> list[str]:
    model = (spec or {}).get("model") or {"name": "unannounced"}
    return [str(model.get("sha256") or model.get("name")), str(model.get("source", ""))]


def kernels_of(world: World, spec: dict[str, Any]) -> KernelList:
    """Made-up kernels for a run of which only the model's hash is known."""
    return random_kernels(world, _identity(spec)[0], workload(world, {**spec, "protocol": {}}).time_s)


def workload(world: World, spec: dict[str, Any] | None, kernels: KernelList | None = None) -> Workload:
    """The workload of a RunSpec in JSON form (`RunSpec.to_json()`); None: some load, before anything is announced.

    Mean power and layers depend on the model's bytes and settings and on the world, on nothing else. Layer
    powers are log-normal, layer durations exponential (a few long layers carry most of the time). A run that asks
    for layers has a course of `kernels` in their place, made up where None is given; its mean power is the same.
    """
    model = (spec or {}).get("model") or {"name": "unannounced"}
    runtime = (spec or {}).get("runtime") or {}
    identity = _identity(spec)
    rng = rng_of(world, *identity)
    layers = int(rng.integers(6, 40))
    share = rng.exponential(size=layers) + 0.02
    power = np.exp(world.load.layer_sd * rng.standard_normal(layers))
    scale = world.load.model_spread ** rng.standard_normal()
    time_s = world.board.inference_s * world.load.model_spread ** rng.standard_normal()
    settings = json.dumps([model.get("batch", 1), runtime], sort_keys=True)
    scale *= world.load.model_spread ** (0.2 * rng_of(world, *identity, settings).standard_normal())  # batch, threads
    time_s *= math.sqrt(max(1, int(model.get("batch", 1))))
    if not model.get("inputs_npz"):
        scale *= 1.0 - world.load.input_share  # made-up inputs toggle fewer bits than real data
    knots, energy, course = _rising(share), _rising(share * power), None
    if wants_layers(spec):
        kernels = random_kernels(world, identity[0], time_s) if kernels is None else kernels
        course = Course.of(world, kernels, identity[0])
        knots, energy = course.nominal
        time_s = kernels.time_s or time_s
    protocol = (spec or {}).get("protocol") or {}
    return Workload(
        str(model.get("name", "?")),
        world.load.dynamic_w * scale,
        knots,
        energy,
        time_s,
        float(protocol.get("marker_chip_s") or 0.0),
        course,
    )
