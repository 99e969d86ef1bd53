"""Reading a dataset of any version that was ever written: the newest schema, or a clear refusal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from analysis.dataset.schema import METADATA, SCHEMA_VERSION
from harness.core.errors import SpecError

# version n -> table of version n + 1; pure functions, tested against a stored dataset of every version
UPGRADERS: Mapping[int, Callable[[pa.Table], pa.Table]] = {}


def read_table(path: Path) -> pa.Table:
    """`layers.parquet` or `networks.parquet` as a table of the newest schema. SpecError if it is of a later version."""
    try:
        table = pq.read_table(path)
        said = json.loads((table.schema.metadata or {})[METADATA])
    except (OSError, KeyError, ValueError, pa.ArrowInvalid) as error:
        raise SpecError(
            f"{path} is not a table of a joulebench dataset: {error}", hint="make one: joulebench dataset build"
        ) from None
    version = said["schema_version"]
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise SpecError(
            f"{path} has schema version {version!r}; this joulebench reads up to {SCHEMA_VERSION}",
            hint="upgrade joulebench",
        )
    for step in range(version, SCHEMA_VERSION):
        table = UPGRADERS[step](table)
    return table
