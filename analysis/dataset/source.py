"""One finished run as the dataset needs it: its spec, its result, its features, and what was found on its board."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from analysis.derive import RESULT, derive
from analysis.features.extract import features_of_model, features_of_run
from analysis.features.record import LayerFeatures
from harness.core.errors import BenchError, SpecError
from harness.core.spec import MeterBinding, RunSpec
from harness.store.run_reader import RunReader

SourceModel = Callable[[RunSpec], bytes | None]
"""Finds the ONNX bytes of the model of a run that was not profiled; None if they are not to be had."""


@dataclass(frozen=True)
class Measured:
    """A run with its derived result (the primary meter's) and what it computed.

    `kernels`: features of the profile's kernels, in their order; () without a profile. `network`: those of the whole:
    the same, or of the model's source where no kernel is counted; `features_of`: "executed", "source", or None where
    there are none. `documents`: board_state and runtime.
    """

    reader: RunReader
    result: Mapping[str, Any]
    kernels: tuple[LayerFeatures, ...]
    network: tuple[LayerFeatures, ...]
    features_of: str | None
    profiler_cost_rel: float | None = None
    documents: Mapping[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> RunSpec:
        return self.reader.spec

    @property
    def valid(self) -> bool:
        return bool(self.result["status"] == "valid")

    @property
    def simulated(self) -> bool:
        return bool(self.result["simulated"] or self.reader.simulated)

    @property
    def binding(self) -> MeterBinding:
        """How the meter of the result is bound."""
        return next(m for m in self.spec.meters if m.name == self.result["meter"])

    @property
    def imported(self) -> bool:
        """Did others measure it? Then what its spec says of runtime and board are defaults, not facts."""
        return self.spec.model.source.startswith("import:")

    def setting(self, name: str) -> Any:
        """threads, spinning or optimisation of the runtime; None where nobody set it."""
        unset = self.imported or (self.spec.runtime.name == "command" and name != "threads")
        return None if unset else getattr(self.spec.runtime, name)

    @property
    def runtime(self) -> Mapping[str, Any]:
        return _mapping(self.documents.get("runtime"))

    def board(self, when: str) -> Mapping[str, Any]:
        """State of the board `before` or `after`; empty if it was not recorded."""
        return _mapping(_mapping(self.documents.get("board_state")).get(when))

    @property
    def governor(self) -> str | None:
        """What was set, or what was found; None if the board does not say. Several policies are joined by `+`."""
        if self.spec.board.governor is not None:
            return self.spec.board.governor
        found = self.board("before").get("governor")
        if isinstance(found, Mapping):
            return "+".join(sorted({str(v) for v in found.values()})) or None
        return None if found is None else str(found)

    def temperature_c(self, when: str) -> float | None:
        """The hottest zone; None if there is none."""
        zones = self.board(when).get("temperature_c")
        values = zones.values() if isinstance(zones, Mapping) else [zones]
        known = [float(v) for v in values if isinstance(v, int | float)]
        return max(known, default=None)

    @property
    def graph_sha256(self) -> str | None:
        graph = self.reader.graph()
        return None if graph is None else hashlib.sha256(graph).hexdigest()


def read_run(path: Path, source_model: SourceModel | None = None) -> Measured:
    """A finished run with its result, which is analysed now if it was not, or if the result is of other raw data.

    SpecError if the run directory is not whole.
    """
    reader = RunReader.open(path, verify="hashes")  # what is published with a hash must have that hash
    profile = reader.profile()
    kernels = features_of_run(reader)
    network, features_of = kernels, "executed" if kernels else None
    if not any(kernel.counted for kernel in kernels) and source_model is not None:
        model = source_model(reader.spec)
        if model is not None:
            network = features_of_model(model, dict(reader.spec.model.axes), reader.spec.model.batch)
            features_of = "source"
    cost = None if profile is None else profile.cost_rel
    return Measured(
        reader,
        _result_of(reader),
        kernels,
        network,
        features_of,
        None if cost is None or cost != cost else cost,
        {name: reader.json(name) for name in ("board_state", "runtime")},
    )


def _result_of(reader: RunReader) -> Mapping[str, Any]:
    path = reader.derived_path(RESULT)
    stored = json.loads(path.read_text("utf-8")) if path.exists() else None
    if stored is None or not _fits(stored, reader):
        _analyse(reader.path)
        stored = json.loads(path.read_text("utf-8"))
    result: Mapping[str, Any] = stored
    return result


def _analyse(path: Path) -> None:
    """A defect of the analysis names its run: a dataset without saying so would miss it."""
    try:
        derive(path)
    except BenchError:
        raise
    except Exception as error:
        raise SpecError(
            f"the run {path} cannot be analysed: {error!r}",
            hint=f"leave it out; what went wrong says: joulebench analyse {path}",
        ) from error


def _fits(result: Mapping[str, Any], reader: RunReader) -> bool:
    """Is it of these raw data, and does it say something of layers if the run has a profile?"""
    same = result.get("provenance", {}).get("manifest_sha256") == reader.manifest_sha256
    wanted = reader.profile() is not None and result["status"] == "valid"
    return same and (not wanted or result.get("closure") is not None)


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, Mapping) else {}
