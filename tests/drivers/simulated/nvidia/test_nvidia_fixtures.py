"""The fake nvidia-smi beside captures of the real one: no tag, field or alias that no capture has."""

from __future__ import annotations

import re
import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path

import pytest

from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import GpuSpec, NvidiaMachine
from drivers.simulated.nvidia.smi.fields import FIELDS

FIXTURES = Path(__file__).resolve().parents[5] / "shared/data/text-fixtures"
pytestmark = pytest.mark.skipif(
    missing() != "" or not FIXTURES.is_dir(), reason=f"needs {missing() or 'the captures of the data folder'}"
)


def _paths(node: ElementTree.Element, above: str = "") -> Iterator[str]:
    path = f"{above}/{node.tag}"
    yield path
    for child in node:
        yield from _paths(child, path)


@pytest.mark.parametrize(
    ("driver", "product", "capture"),
    [
        ("515.105.01", "t4", "tesla-t4.xml"),
        ("536.40", "rtx3090", "rtx-3080-v12.xml"),
        ("595.58.03", "rtx3090", "rtx-3080-v13.xml"),
    ],
)
def test_tags(tmp_path: Path, driver: str, product: str, capture: str) -> None:
    machine = NvidiaMachine(tmp_path, [GpuSpec(product, lambda t_s: 50 * t_s)], driver_version=driver)
    said = subprocess.run([str(machine.program), "-q", "-x"], capture_output=True, text=True, timeout=60).stdout
    real = ElementTree.parse(FIXTURES / "nvidia-smi-xml" / capture).getroot()
    assert set(_paths(ElementTree.fromstring(said))) <= set(_paths(real))
    gpu, captured = ElementTree.fromstring(said).find("gpu"), real.find("gpu")
    assert gpu is not None
    assert captured is not None
    for path in ("gpu_power_readings/instant_power_draw", "fb_memory_usage/used", "clocks/sm_clock", "fan_speed"):
        ours, theirs = gpu.findtext(path), captured.findtext(path)
        assert (ours is None) == (theirs is None), path
        if ours and theirs:
            assert re.sub(r"\d+", "0", ours) == re.sub(r"\d+", "0", theirs), path


def test_names_are_those_of_the_help_text() -> None:
    text = (FIXTURES / "nvidia-smi-text/nvidia-smi-help-query-gpu.txt").read_text("utf-8")
    for name, field in FIELDS.items():
        assert " or ".join(f'"{alias}"' for alias in (name, *field.aliases)) in text, name
