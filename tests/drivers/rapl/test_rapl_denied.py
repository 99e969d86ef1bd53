"""Counters of powercap that may not be read, on a machine whose perf events do not count: which of the two is said."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.rapl.meter import open_meter
from drivers.simulated.powercap import FaultyFiles, PowercapTree
from drivers.simulated.powercap.devices import SimulatedDevices
from harness.core.errors import DeviceError
from harness.core.ports import MeterRequest
from harness.core.waiting import VirtualClock


class _DeniedRange(FaultyFiles):
    def open(self, path: str) -> int:
        if path.endswith("intel-rapl:0/max_energy_range_uj"):
            raise OSError(errno.EACCES, os.strerror(errno.EACCES), path)
        return super().open(path)


@contextlib.contextmanager
def machine(folder: Path, *, events: bool = True) -> Iterator[tuple[PowercapTree, SimulatedDevices, VirtualClock]]:
    """A machine whose events stand still; without `events` it has powercap alone."""
    clock = VirtualClock()
    with contextlib.closing(PowercapTree(folder / "machine", "client").create()) as tree:
        devices = SimulatedDevices(folder / "bare", "client", now_ns=clock.now_ns).create(pmus=events)
        shutil.copytree(folder / "bare", tree.root, dirs_exist_ok=True)
        devices.hypervisor = True
        yield tree, devices, clock
        assert devices.open_count == 0


def refusal(folder: Path, files: type[FaultyFiles], *, deny: bool = False, events: bool, interface: str) -> DeviceError:
    with machine(folder, events=events) as (tree, devices, clock):
        request = MeterRequest("cpu", options={"interface": interface}, sysfs_root=tree.root)
        meter = open_meter(request, clock=clock, files=files(tree, deny=deny), calls=devices)
        with pytest.raises(DeviceError) as caught:
            meter.open()
    return caught.value


def test_denied_counters_are_what_is_to_be_mended_not_events_that_stand_still(tmp_path: Path) -> None:
    error = refusal(tmp_path, FaultyFiles, deny=True, events=True, interface="auto")
    assert "energy_uj may be read by root only" in error.message
    assert "sudo chmod a+r" in error.hint
    assert "also tried: perf: power/energy-pkg on CPU 0" in error.hint
    assert "not one of them moved" in error.hint


@pytest.mark.parametrize(("interface", "events"), [("auto", True), ("auto", False), ("powercap", True)])
def test_a_range_that_may_not_be_read_is_denied_not_missing(tmp_path: Path, interface: str, events: bool) -> None:
    """One domain of several: the others would be a part of the machine that passes for the whole."""
    error = refusal(tmp_path, _DeniedRange, events=events, interface=interface)
    assert "intel-rapl:0/max_energy_range_uj may not be read" in error.message
    assert "sudo chmod a+r /sys/class/powercap/intel-rapl*/max_energy_range_uj" in error.hint


def test_events_that_stand_still_say_why_powercap_was_not_read(tmp_path: Path) -> None:
    with machine(tmp_path) as (tree, devices, clock):
        for path in tree.class_dir.glob("*/max_energy_range_uj"):
            path.unlink()
        with pytest.raises(DeviceError, match="not one of them moved") as caught:
            open_meter(MeterRequest("cpu", sysfs_root=tree.root), clock=clock, calls=devices).open()
    assert "also tried: powercap: the RAPL zones" in caught.value.hint
