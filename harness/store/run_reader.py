"""RunReader: a run directory as objects. It never writes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from harness.core.clock import Int64Array
from harness.core.errors import SpecError
from harness.core.layers import LayerProfile, LayerStamps
from harness.core.spec import RunSpec
from harness.core.telemetry import Telemetry
from harness.core.timeline import Timeline
from harness.core.trace import Trace
from harness.store import layout
from harness.store.layers import load_profile, load_stamps
from harness.store.manifest import Verify, read_manifest, verify_files
from harness.store.parquet import load_pings, load_timeline, load_trace
from harness.store.partial import read_pings_stream, read_timeline_stream, read_trace_stream
from harness.store.telemetry import load_telemetry, read_telemetry_stream


class RunReader:
    """A finished run (or, from `recover_partial`, what an interrupted one left)."""

    def __init__(self, path: Path, spec: RunSpec, manifest: Mapping[str, Any]) -> None:
        self.path = path
        self.spec = spec
        self.manifest = manifest
        self._finished = manifest["status"] == "finished"

    @classmethod
    def open(cls, path: Path | str, verify: Verify = "sizes") -> RunReader:
        """Open a finished run. SpecError naming what is wrong if it is half written or was tampered with.

        `verify`: "sizes" compares names and sizes of the raw files with the manifest, "hashes" also
        their SHA-256 (reads every byte), "none" neither.
        """
        path = Path(path)
        manifest = read_manifest(path)
        verify_files(path, manifest, verify)
        try:
            spec = RunSpec.from_json(manifest["spec"])
        except (KeyError, TypeError) as error:
            raise SpecError(f"{path / layout.MANIFEST}: the spec is not of this version: {error!r}") from None
        return cls(path, spec, manifest)

    @property
    def run_id(self) -> str:
        return str(self.manifest["run_id"])

    @property
    def simulated(self) -> bool:
        """True if any of it came from a simulator."""
        return bool(self.manifest["simulated"])

    @property
    def manifest_sha256(self) -> str:
        """Hash of the manifest, hence of everything raw; "" for a partial run."""
        return str(self.manifest.get("manifest_sha256", ""))

    def meters(self) -> tuple[str, ...]:
        """Names of the meters that reported, primary first."""
        return tuple(m["name"] for m in self.manifest["meters"])

    def meter_facts(self, meter: str) -> Mapping[str, Any]:
        """What the manifest says of a meter: rows, counts of losses, whether its recorder ended properly."""
        for facts in self.manifest["meters"]:
            if facts["name"] == meter:
                return dict(facts)
        raise SpecError(f"run {self.run_id} has no trace of a meter {meter!r}", hint=f"it has {list(self.meters())}")

    def trace(self, meter: str) -> Trace:
        """All readings of a meter. SpecError if it recorded nothing under that name."""
        facts = self.meter_facts(meter)
        if not self._finished:
            return read_trace_stream(self.path, meter)
        return load_trace(self.path, meter, facts["counts"])

    def timeline(self) -> Timeline:
        """What the board did and when; empty, on the clock "", if it reported nothing."""
        return load_timeline(self.path) if self._finished else read_timeline_stream(self.path)

    def pings(self) -> tuple[str, Int64Array]:
        """(board clock, int64 (K, 3): host before, board, host after)."""
        return load_pings(self.path) if self._finished else read_pings_stream(self.path)

    def telemetry(self) -> Telemetry | None:
        """Temperatures, frequencies and throttling on the timeline's clock; None if the board told nothing."""
        return load_telemetry(self.path) if self._finished else read_telemetry_stream(self.path)

    def profile(self) -> LayerProfile | None:
        """The profile pass of the run; None if there was none."""
        return load_profile(self.path)

    def layer_stamps(self) -> LayerStamps | None:
        """Stamps of every kernel of the measured inferences; None if only a profile was made."""
        return load_stamps(self.path)

    def graph(self) -> bytes | None:
        """The runtime's optimised graph without its weights (ONNX); None if it is not known."""
        path = layout.graph_path(self.path)
        return path.read_bytes() if path.exists() else None

    def json(self, name: str) -> Any | None:
        """The document stored under `name`, or None."""
        path = layout.json_path(self.path, name)
        return json.loads(path.read_text("utf-8"))["data"] if path.exists() else None

    def events(self) -> Iterator[dict[str, Any]]:
        """The events of the run; a line torn by a kill is left out."""
        path = self.path / layout.EVENTS
        if not path.exists():
            return
        with path.open(encoding="utf-8") as lines:
            for line in lines:
                if line.endswith("\n"):
                    yield json.loads(line)

    def derived_path(self, name: str) -> Path:
        return self.path / layout.DERIVED / name

    def __repr__(self) -> str:
        mark = ", simulated" if self.simulated else ""
        return f"<run {self.run_id} ({self.manifest['status']}{mark}) at {self.path}>"
