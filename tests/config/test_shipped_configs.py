"""Every configuration file that we ship loads, and says what the drivers say."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from harness.config.bench import load_bench, load_board, load_meter
from harness.config.lookup import config_dirs
from harness.config.profiles import PROFILES
from harness.config.resolve import load_campaign, resolve_campaign
from harness.core.spec import ModelSpec

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "device_configs"


def files(kind: str) -> list[Path]:
    found = sorted((CONFIGS / kind).glob("*.yaml"))
    assert found, f"no {kind}"
    return found


def ids(path: Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", files("boards"), ids=ids)
def test_board(path: Path) -> None:
    assert load_board(path).name == path.stem


@pytest.mark.parametrize("path", files("meters"), ids=ids)
def test_meter(path: Path) -> None:
    _, meter = load_meter(path)
    assert meter.channels


@pytest.mark.parametrize("path", files("benches"), ids=ids)
def test_bench(path: Path) -> None:
    bench = load_bench(path, config_dirs(CONFIGS))
    assert bench.name == path.stem
    assert bench.meters


def test_nothing_else_lies_about() -> None:
    assert {p.name for p in CONFIGS.iterdir()} <= {"boards", "meters", "benches", "worlds"}
    assert all(p.suffix == ".yaml" for kind in CONFIGS.iterdir() for p in kind.iterdir())


@pytest.mark.parametrize("path", sorted((ROOT / "runs").glob("*.yaml")), ids=ids)
def test_campaign(path: Path) -> None:
    def by_name(
        reference: str, batch: int, axes: Mapping[str, int], seed: int, base_dir: Path,
        *, inputs_npz: str | None = None, runtime: str = "onnxruntime",
    ) -> ModelSpec:  # fmt: skip
        return ModelSpec(reference.partition(":")[2], reference, "0" * 64, batch)

    campaign = load_campaign(path)
    specs = resolve_campaign(path, simulated=True, resolve_model=by_name)
    assert len(specs) == len(campaign.file.models)
    assert len(path.read_text("utf-8").splitlines()) <= 16, "a campaign is about ten readable lines"


def test_the_demo_names_models_that_exist() -> None:
    from harness.models.resolve import BUILT_NAMES

    for section in load_campaign(ROOT / "runs" / "demo.yaml").file.models:
        scheme, _, name = section.model.partition(":")
        assert name in BUILT_NAMES[scheme]


def test_channels_are_those_of_the_drivers() -> None:
    from drivers.monsoon.fields import CHANNELS
    from drivers.monsoon.options import KNOWN

    document, meter = load_meter(CONFIGS / "meters" / "monsoon-hvpm.yaml")
    assert set(meter.channels) == set(CHANNELS)
    text = document.path.read_text("utf-8")
    assert all(option in text for option in KNOWN if option != "channels")


def test_every_field_is_documented() -> None:
    from harness.config import schema

    text = (ROOT / "docs" / "campaign.md").read_text("utf-8")
    sections = [s for s in vars(schema).values() if isinstance(s, type) and issubclass(s, schema.Section)]
    missing = {f"{s.__name__}.{f}" for s in sections for f in s.model_fields if f"`{f}`" not in text}
    assert not missing
    for profile in PROFILES:
        assert f"`{profile}`" in text
