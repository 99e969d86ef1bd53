"""Everything that a report of one run is made of: its directory read once, and its analysis."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from analysis.analyse import Analysis, View, analyse_run
from analysis.features.extract import features_of_run
from analysis.features.record import LayerFeatures
from analysis.features.totals import total
from harness.core.errors import SpecError
from harness.core.layers import LayerProfile, LayerStamps
from harness.core.result import EnergyResult
from harness.core.spec import RunSpec
from harness.core.telemetry import Telemetry
from harness.core.trace import MeterInfo
from harness.store.layout import meter_json_path
from harness.store.meter_json import info_from_json
from harness.store.run_reader import RunReader

DOCUMENTS = ("import", "agent", "board_state", "runtime", "outputs_check", "settle_before", "settle_after")


@dataclass(frozen=True)
class Material:
    """One run. `features`: of the profile's kernels; `meters`: what each meter said it is, by name;
    `documents`: those of DOCUMENTS that the run has."""

    path: Path
    spec: RunSpec
    manifest: Mapping[str, Any]
    analysis: Analysis
    profile: LayerProfile | None
    stamps: LayerStamps | None
    features: tuple[LayerFeatures, ...]
    meters: Mapping[str, MeterInfo]
    documents: Mapping[str, Any]
    telemetry: Telemetry | None = None

    @property
    def run_id(self) -> str:
        return self.analysis.run_id

    @property
    def short_hash(self) -> str:
        """Beginning of the manifest's hash, which stands for everything raw; as captions cite it."""
        return self.analysis.manifest_sha256[:12]

    @property
    def result(self) -> EnergyResult:
        return self.analysis.primary

    @property
    def view(self) -> View | None:
        return self.analysis.views[0]

    @property
    def simulated(self) -> bool:
        return bool(self.manifest["simulated"]) or self.result.simulated

    @property
    def title(self) -> str:
        batch = f", batch {self.spec.model.batch}" if self.spec.model.batch > 1 else ""
        return f"{self.spec.model.name}{batch} on {self.spec.board.name}"

    @property
    def unit(self) -> str:
        """Of what energies are: an inference, unless an importer knew only windows of unknown counts."""
        return str(self.document("import").get("unit", "inference"))

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one inference, from the executed graph; None if not known of every kernel."""
        return total(self.features).macs

    def document(self, name: str) -> Mapping[str, Any]:
        """A document of the run, empty if it has none or it is no mapping."""
        found = self.documents.get(name)
        return found if isinstance(found, Mapping) else {}


def load_material(path: Path) -> Material:
    """Read and analyse a finished run. SpecError if it is half written or was tampered with."""
    reader = RunReader.open(path)
    meters = {}
    for name in reader.meters():
        try:
            meters[name] = info_from_json(json.loads(meter_json_path(path, name).read_text("utf-8")))
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise SpecError(f"{meter_json_path(path, name)} cannot be read: {error!r}") from None
    return Material(
        path, reader.spec, reader.manifest, analyse_run(reader), reader.profile(), reader.layer_stamps(),
        features_of_run(reader), meters, {name: reader.json(name) for name in DOCUMENTS}, reader.telemetry(),
    )  # fmt: skip


def own_version() -> str:
    try:
        return metadata.version("joulebench")
    except metadata.PackageNotFoundError:
        return "not installed"
