"""Looking into what a killed or aborted run left: for people who want the data, not for results."""

from __future__ import annotations

import json
from pathlib import Path

from harness.core.errors import SpecError
from harness.core.spec import RunSpec
from harness.store import layout
from harness.store.run_reader import RunReader


def recover_partial(path: Path) -> RunReader:
    """Read a `.partial` or `.aborted-<k>` directory as if it were a run; its manifest says `status: partial`.

    SpecError if not even the spec was written.
    """
    spec_path = path / layout.SPEC
    try:
        spec = RunSpec.from_json(json.loads(spec_path.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SpecError(f"nothing can be recovered from {path}: {spec_path.name} is unreadable ({error})") from None
    found = [m.name for m in spec.meters if layout.meter_json_path(path, m.name).exists()]
    infos = {m: json.loads(layout.meter_json_path(path, m).read_text("utf-8")) for m in found}
    manifest = {
        "format": layout.FORMAT,
        "format_version": layout.FORMAT_VERSION,
        "status": "partial",
        "run_id": spec.run_id,
        "simulated": spec.simulated or any(i["simulated"] for i in infos.values()),
        "spec": spec.to_json(),
        "meters": [{"name": m} for m in found],
    }
    return RunReader(path, spec, manifest)
