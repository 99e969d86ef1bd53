"""A GPU that no row of the table has: its figures say so, until options or a characterisation tell what it is."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from analysis.readings.characterised import kind_unknown
from drivers.nvidia.gpus import Gpu, Machine, visible, wanted_channels
from drivers.nvidia.nvml_setup import Setup, setup_of
from drivers.nvidia.options import nvml_options
from harness.core.character import ChannelCharacter, Characterisation
from harness.core.ports import MeterRequest
from harness.core.trace import Trace

NEW = Gpu(0, "GPU-0000", "NVIDIA R9000", 99, fields=frozenset({"power", "energy"}))
KNOWN = Gpu(1, "GPU-1111", "NVIDIA A100-SXM4-40GB", 7, fields=frozenset({"power"}))
MACHINE = Machine("600", (NEW, KNOWN))


def setup(**options: str | float) -> Setup:
    return setup_of(MACHINE, MeterRequest("gpu", options), nvml_options(options))


def trace(**options: str | float) -> Trace:
    info = setup(**options).info(clock="host", simulated=True)
    return Trace(info, np.empty(0, np.int64), {}, (), (), np.empty((0, 2), np.int64))


def found(serial: str, channel: str) -> Characterisation:
    told = ChannelCharacter(channel, ("mean",), *(0.1,) * 12)
    return Characterisation(serial, "2026-01-01", "coded", (told,))


def test_only_the_channels_of_the_unknown_gpu_are_unknown_and_its_counter_is_not() -> None:
    assert [c for c in ("gpu0/power", "gpu0/energy", "gpu1/power") if kind_unknown(trace(), [c], None)] == [
        "gpu0/power"
    ]
    assert kind_unknown(trace(), ["gpu1/power", "gpu0/power"], None)


def test_options_that_declare_it_whole_make_it_known() -> None:
    assert not kind_unknown(trace(update_ms=20, window_ms=20), ["gpu0/power"], None)
    assert kind_unknown(trace(window_ms=20), ["gpu0/power"], None)


def test_a_characterisation_of_this_very_unit_makes_it_known() -> None:
    seen = trace()
    assert not kind_unknown(seen, ["gpu0/power"], found(seen.info.serial, "gpu0/power"))
    assert kind_unknown(seen, ["gpu0/power"], found("another", "gpu0/power"))
    assert kind_unknown(seen, ["gpu0/power"], found(seen.info.serial, "gpu1/power"))


def test_other_meters_are_never_unknown() -> None:
    seen = trace()
    other = replace(seen, info=replace(seen.info, details={}))
    assert not kind_unknown(other, ["gpu0/power"], None)


def test_without_channels_in_the_bench_there_are_those_that_answer() -> None:
    wanted = wanted_channels(visible(MACHINE, "", "pci"), [], ("energy", "average", "power"))
    assert [(gpu.index, field) for gpu, field in wanted] == [(0, "energy"), (0, "power"), (1, "power")]
