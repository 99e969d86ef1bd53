"""A local board below a temporary directory, and RunSpecs for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from harness.boards.local import LocalBoard
from harness.core.spec import BoardSpec, ProtocolSpec, RunSpec, RuntimeSpec
from harness.models.resolve import prepare_model, resolve_model

PROTOCOL = ProtocolSpec(
    profile="quick", gap="back-to-back", starts=1, inferences=None, measure_s=0.2, standby_s=0.2, settle_min_s=0.1,
    settle_max_s=0.2, warm_up_s=0.1, lead_in_s=0.1, lead_out_s=0.1, gap_max_s=0.0, probe_pauses=3, probe_pause_s=0.01,
    marker_bits="1011", marker_chip_s=0.01, output_tolerance_rel=1e-3,
)  # fmt: skip

MakeSpec = Callable[..., RunSpec]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("model-cache")


@pytest.fixture
def make_spec(cache: Path, tmp_path: Path) -> MakeSpec:
    def make(
        model: str = "gen:lstm",
        batch: int = 1,
        *,
        axes: Mapping[str, int] | None = None,
        runtime: RuntimeSpec | None = None,
        inputs_npz: str | None = None,
        **board: object,
    ) -> RunSpec:
        runtime = runtime or RuntimeSpec()
        resolved = resolve_model(
            model, batch, axes or {}, 0, tmp_path, cache=cache, runtime=runtime.name, inputs_npz=inputs_npz
        )
        spec = BoardSpec("local")
        return RunSpec(
            "campaign", "bench", dataclasses.replace(spec, **board), (), resolved, runtime, PROTOCOL, 0, 1, True
        )  # type: ignore[arg-type]

    return make


@pytest.fixture
def board(tmp_path: Path, cache: Path) -> Iterator[LocalBoard]:
    local = LocalBoard("local", lambda spec: prepare_model(spec.model, cache), directory=tmp_path / "board")
    yield local
    local.close()
    local.end_orphans()
