"""A small tree of configuration files to break, and a stand-in for the model builder, which needs onnx."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from harness.config.resolve import resolve_campaign
from harness.core.errors import SpecError
from harness.core.spec import ModelSpec, RunSpec

FILES = {
    "boards/bench-pc.yaml": "description: a board\ngovernor: performance\ncpus: [2, 3]\n",
    "meters/hvpm.yaml": (
        "driver: monsoon\noptions: {cal_ms: 1250}\nchannels:\n"
        "  main: {planes: [dc_input, rail], accuracy: {gain_rel: 0.01, offset_w: 0.001, source: a book}}\n"
        "  aux: {planes: [rail], accuracy: {gain_rel: 0.02, offset_w: 0, source: another}}\n"
    ),
    "benches/lab.yaml": (
        "board: bench-pc\nmeters:\n  - name: monsoon\n    meter: hvpm\n    rails: {main: main}\n"
        "    plane: dc_input\n    total: [main]\n    options: {voltage_v: 4.0}\n"
    ),
}
CAMPAIGN = "bench: lab\nmodels: [zoo:a, zoo:b]\nruntime: {threads: 1}\nbatch: [1]\nprotocol: quick\nseed: 3\n"


def model_by_name(
    reference: str, batch: int, axes: Mapping[str, int], seed: int, base_dir: Path,
    *, inputs_npz: str | None = None, runtime: str = "onnxruntime",
) -> ModelSpec:  # fmt: skip
    """As harness.models.resolve.resolve_model, for names only."""
    if reference.startswith("missing"):
        raise SpecError(f"model file {reference} does not exist", hint="give a path")
    name = reference.partition(":")[2] or reference
    return ModelSpec(name, reference, name[0] * 64, batch, tuple(sorted(axes.items())), inputs_npz)


class Lab:
    """`lab.file(...)` writes a configuration file, `lab.resolve(text)` resolves a campaign."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.configs = root / "device_configs"
        for name, text in FILES.items():
            self.file(name, text)

    def file(self, name: str, text: str) -> Path:
        path = self.configs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def resolve(self, text: str = CAMPAIGN, *, simulated: bool = True) -> tuple[RunSpec, ...]:
        path = self.root / "campaign.yaml"
        path.write_text(text)
        return resolve_campaign(path, simulated=simulated, resolve_model=model_by_name, configs=self.configs)

    def refusal(self, text: str) -> SpecError:
        with pytest.raises(SpecError) as caught:
            self.resolve(text)
        return caught.value


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


@pytest.fixture
def base_campaign() -> str:
    return CAMPAIGN


@pytest.fixture
def base_files() -> dict[str, str]:
    return dict(FILES)


@pytest.fixture
def refuse(lab: Lab) -> Callable[[str], SpecError]:
    return lab.refusal
