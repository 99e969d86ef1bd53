"""RunWriter: the only way a run directory comes into being.

Everything is appended to `<run_id>.partial`; `finish` makes it durable and renames it, `abort` keeps it
under another name. Nothing that was measured is ever overwritten or deleted.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from harness.core.clock import Int64Array
from harness.core.errors import DeviceError, SpecError
from harness.core.layers import LayerProfile, LayerStamps
from harness.core.spec import RunSpec
from harness.core.telemetry import Telemetry
from harness.core.timeline import Timeline
from harness.core.trace import MeterInfo
from harness.store import layout
from harness.store.block_writer import BlockWriter
from harness.store.durable import fsync_path, fsync_tree, json_bytes, write_durably
from harness.store.layers import store_profile, store_stamps
from harness.store.manifest import write_manifest
from harness.store.meter_json import info_from_json
from harness.store.parquet import store_meter, store_pings, store_timeline
from harness.store.partial import read_pings_stream, read_timeline_stream
from harness.store.stream import (
    PINGS_SCHEMA,
    TIMELINE_SCHEMA,
    StreamWriter,
    pings_to_batch,
    timeline_to_batch,
)
from harness.store.telemetry import store_telemetry, telemetry_schema, telemetry_to_batch


class RunWriter:
    """Writes one run below `root`. Use as a context manager to have an error abort it with its reason."""

    def __init__(self, path: Path, spec: RunSpec) -> None:
        self.path = path
        self.spec = spec
        self.root = path.parent
        self._blocks: dict[str, BlockWriter] = {}
        self._streams: dict[str, StreamWriter] = {}
        self._clocks: dict[str, str] = {}
        self._begun_unix_s = time.time()

    @classmethod
    def create(cls, root: Path, spec: RunSpec) -> RunWriter:
        """Begin the run of `spec`: SpecError if it is finished already; an old `.partial` becomes `.aborted-<k>`.

        The caller holds the lock of `root` (`harness.store.lock.campaign_lock`), so that no other
        process is writing the old `.partial`.
        """
        final = root / spec.run_id
        if final.exists():
            raise SpecError(
                f"the run {spec.run_id} is finished already: {final}",
                hint="it is never overwritten; raise `repetitions` or change `seed` to measure it again",
            )
        partial = layout.partial_path(root, spec.run_id)
        if partial.exists():
            _set_aside(partial, "the measurement was interrupted; found when it was begun again")
        try:
            (partial / layout.RAW).mkdir(parents=True)
            write_durably(partial / layout.SPEC, json_bytes(spec.to_json()))
            fsync_path(partial)
            fsync_path(root)
        except OSError as error:
            raise SpecError(
                f"cannot begin a run in {root}: {error.strerror}", hint="give a writable directory with space"
            ) from error
        return cls(partial, spec)

    def block_writer(self, meter: str, info: MeterInfo) -> BlockWriter:
        """A writer for the blocks of `meter`, in this process.

        A child process makes its own: `BlockWriter(layout.stream_path(run_writer.path, meter), info)`.
        """
        names = [m.name for m in self.spec.meters]
        if meter not in names:
            raise SpecError(f"meter {meter!r} is not in the run's spec", hint=f"it has {names}")
        writer = BlockWriter(layout.stream_path(self.path, layout.check_name(meter)), info)
        self._blocks[meter] = writer
        return writer

    def put_timeline(self, part: Timeline) -> None:
        """Append what the agent reported for one load or program; the parts are joined in this order."""
        self._same_clock(layout.TIMELINE, part.clock)
        batch, companion = timeline_to_batch(part)
        self._stream(layout.TIMELINE, TIMELINE_SCHEMA).append(batch, companion)

    def put_pings(self, clock: str, pings: Int64Array) -> None:
        """Append clock pings, int64 (K, 3): host before, board, host after; `clock` is the board's."""
        self._same_clock(layout.PINGS, clock)
        self._stream(layout.PINGS, PINGS_SCHEMA).append(pings_to_batch(pings), {"clock": clock})

    def put_telemetry(self, part: Telemetry) -> None:
        """Append what the board told of itself; all parts of a run have the same channels."""
        self._same_clock(layout.TELEMETRY, part.clock)
        batch, companion = telemetry_to_batch(part)
        self._stream(layout.TELEMETRY, telemetry_schema(part.channels)).append(batch, companion)

    def put_profile(self, profile: LayerProfile) -> None:
        """Keep the layer profile of the run; a second one replaces the first."""
        store_profile(self.path, profile, self._mark)

    def put_layer_stamps(self, stamps: LayerStamps) -> None:
        """Keep the stamps of instances, all of the run at once; their kernels are those of the profile."""
        store_stamps(self.path, stamps, self._mark)

    def put_graph(self, data: bytes) -> None:
        """Keep the runtime's optimised graph (ONNX without its weights)."""
        write_durably(layout.graph_path(self.path), data)

    @property
    def _mark(self) -> dict[str, Any]:
        return {"run_id": self.spec.run_id, "simulated": self.spec.simulated}

    def put_json(self, name: str, data: object) -> None:
        """Keep a document as `raw/<name>.json`; a second one of the same name replaces the first."""
        document = {**self._mark, "data": data}
        write_durably(layout.json_path(self.path, layout.check_name(name)), json_bytes(document))

    def finish(self) -> Path:
        """Raw becomes Parquet, is synced, hashed and renamed into place; returns the final path.

        DeviceError if the disk refuses: the `.partial` then still holds everything that was measured.
        """
        try:
            return self._finished()
        except OSError as error:
            raise DeviceError(
                f"cannot finish the run {self.path}: {error.strerror or error}",
                hint="free space on that disk; what was measured is kept there",
            ) from error

    def _finished(self) -> Path:
        self._close()
        infos = self._meter_infos()
        simulated = self.spec.simulated or any(info.simulated for info in infos.values())
        mark = {"run_id": self.spec.run_id, "simulated": simulated}
        facts = {meter: store_meter(self.path, meter, mark) for meter in infos}
        store_timeline(self.path, read_timeline_stream(self.path), mark)
        store_pings(self.path, *read_pings_stream(self.path), mark)
        store_telemetry(self.path, mark)
        fsync_tree(self.path)
        write_manifest(
            self.path,
            {
                **mark,
                "spec": self.spec.to_json(),
                "meters": [
                    {"name": m, "driver": infos[m].driver, "simulated": infos[m].simulated, **facts[m]} for m in infos
                ],
                "meters_missing": [m.name for m in self.spec.meters if m.name not in infos],
                "begun_unix_s": self._begun_unix_s,
            },
        )
        final = self.root / self.spec.run_id
        if final.exists():
            raise SpecError(f"{final} appeared while the run was measured; this one is kept as {self.path}")
        self.path.rename(final)
        fsync_path(self.root)
        self.path = final
        self._drop_streams()
        return final

    def abort(self, reason: str) -> Path:
        """Keep everything as `<run_id>.aborted-<k>` with the reason in `aborted.json`; returns that path."""
        self._close()
        self.path = _set_aside(self.path, reason)
        return self.path

    def _drop_streams(self) -> None:
        """Only now: a kill at any earlier moment leaves the streams, from which everything can be recovered."""
        for stream in (self.path / layout.RAW).glob(f"*{layout.STREAM_SUFFIX}"):
            stream.unlink()
        (self.path / layout.SPEC).unlink(missing_ok=True)
        fsync_path(self.path / layout.RAW)
        fsync_path(self.path)

    def __enter__(self) -> RunWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None and self.path.name.endswith(layout.PARTIAL_SUFFIX):
            self.abort(f"{type(error).__name__}: {error}")

    def _close(self) -> None:
        for blocks in self._blocks.values():
            blocks.close()
        for stream in self._streams.values():
            stream.close()

    def _stream(self, name: str, schema: Any) -> StreamWriter:
        if name not in self._streams:
            self._streams[name] = StreamWriter(layout.stream_path(self.path, name), schema)
        return self._streams[name]

    def _same_clock(self, what: str, clock: str) -> None:
        if self._clocks.setdefault(what, clock) != clock:
            raise DeviceError(f"{what} on clock {clock!r} after {what} on {self._clocks[what]!r} in one run")

    def _meter_infos(self) -> dict[str, MeterInfo]:
        """The meters that reported at all, primary first."""
        paths = {m.name: layout.meter_json_path(self.path, m.name) for m in self.spec.meters}
        return {m: info_from_json(json.loads(p.read_text("utf-8"))) for m, p in paths.items() if p.exists()}


def _set_aside(partial: Path, reason: str) -> Path:
    aborted = layout.next_aborted_path(partial.parent, layout.run_id_of(partial))
    write_durably(partial / layout.ABORTED_REASON, json_bytes({"reason": reason, "unix_s": time.time()}))
    partial.rename(aborted)
    fsync_path(partial.parent)
    return aborted
