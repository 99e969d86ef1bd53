"""MeterInfo to JSON and back: the first thing a recorder writes, and the schema metadata of a trace."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from harness.core.trace import Accuracy, ChannelSpec, ColumnSpec, MeterInfo, Reading, ReadingKind


def info_to_json(info: MeterInfo) -> dict[str, Any]:
    return {
        **{f.name: getattr(info, f.name) for f in dataclasses.fields(info)},
        "columns": [dataclasses.asdict(c) for c in info.columns],
        "channels": [dataclasses.asdict(c) for c in info.channels],
        "details": dict(info.details),
    }


def info_from_json(data: Mapping[str, Any]) -> MeterInfo:
    """Inverse of `info_to_json`; KeyError, TypeError or ValueError on data of another form."""
    return MeterInfo(
        **{
            **data,
            "columns": tuple(ColumnSpec(**c) for c in data["columns"]),
            "channels": tuple(_channel(c) for c in data["channels"]),
        }
    )


def _channel(data: Mapping[str, Any]) -> ChannelSpec:
    reading = Reading(**{**data["reading"], "kind": ReadingKind(data["reading"]["kind"])})
    accuracy = Accuracy(**data["accuracy"]) if data["accuracy"] is not None else None
    return ChannelSpec(**{**data, "columns": tuple(data["columns"]), "reading": reading, "accuracy": accuracy})
