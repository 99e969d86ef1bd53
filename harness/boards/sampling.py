"""A sampler on a board seen from the host: fetches what it has read, and loses nothing when the link breaks.

Chunks are numbered by the sampler and let go only when the host asks for the one behind them, so every request may
be sent again. What the bytes mean is the driver's business.
"""

from __future__ import annotations

import base64
import itertools
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from harness.boards.link import AgentLink
from harness.core.clock import Int64Array
from harness.core.errors import BenchError, DeviceError
from harness.core.ports import RawSamples, SamplerPlan

PROTOCOL_VERSION = 3
EXIT_S = 2.0
ROW_BYTES, ENTRY_BYTES = 16, 4  # two stamps a row, one size an entry

Values = tuple[bytes | int, ...]


class AgentSampler:
    """Sampler over an AgentLink. `on_close` ends the process for good and removes its directory."""

    def __init__(
        self, link: AgentLink, plan: SamplerPlan, *, board: str, token: str, on_close: Callable[[], None]
    ) -> None:
        self._link, self._board, self._token, self._on_close = link, board, token, on_close
        self._width = plan.width
        self._taken = 0  # number of the last chunk that is here
        self._counts: dict[str, int] = {}  # as last heard, since the sampler began
        self._closed = False

    def hello(self) -> Mapping[str, Any]:
        """What answers; DeviceError if it is not the sampler that was started."""
        reply = self._link.request("hello")
        if reply["protocol"] != PROTOCOL_VERSION or reply["token"] != self._token or reply["width"] != self._width:
            raise DeviceError(
                f"board {self._board}: another sampler answers than the one that was started (process {reply['pid']})",
                hint=f"end it (kill {reply['pid']} on the board) and run again",
            )
        return {k: v for k, v in reply.items() if k not in ("id", "ok")}

    def ping(self, count: int) -> Int64Array:
        return self._link.ping(count)

    def take(self) -> RawSamples:
        """All passes (or lines) since the last call, and what was lost since then."""
        reply = self._link.request("take", after=self._taken, seal=True)
        last = int(reply["last"])
        chunks: list[tuple[Int64Array, Int64Array, list[Values]]] = []
        while reply["number"] is not None:
            if reply["number"] != self._taken + 1:
                raise self._damaged(reply, f"chunk {self._taken + 1} was asked for")
            chunks.append(self._unpack(reply))
            self._taken += 1
            if self._taken >= last:
                break
            reply = self._link.request("take", after=self._taken, seal=False)
        if self._taken < last:
            raise DeviceError(f"board {self._board}: the sampler announced chunk {last} and sent {self._taken} only")
        return RawSamples(
            _joined([begin for begin, _, _ in chunks]),
            _joined([end for _, end, _ in chunks]),
            tuple(itertools.chain.from_iterable(values for _, _, values in chunks)),
            self._newly_counted(reply["counts"]),
        )

    def stop(self) -> RawSamples:
        self._link.request("halt")
        return self.take()

    def cost(self) -> Mapping[str, float]:
        """`cpu_s` (with the command's, if it runs one), `command_cpu_s`, `wall_s` since it began."""
        reply = self._link.request("cost")
        return {name: float(reply[name]) for name in ("cpu_s", "command_cpu_s", "wall_s")}

    def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        try:
            self._link.request("exit", timeout_s=EXIT_S, patience_s=EXIT_S)
        except BenchError:
            pass  # on_close makes sure
        finally:
            self._link.drop()
            self._on_close()

    def _unpack(self, reply: Mapping[str, Any]) -> tuple[Int64Array, Int64Array, list[Values]]:
        rows, entries = int(reply["rows"]), int(reply["rows"]) * self._width
        try:
            data = zlib.decompress(base64.b64decode(reply["data"], validate=True))  # verifies its Adler-32
        except (ValueError, zlib.error) as error:
            raise self._damaged(reply, str(error)) from error
        head = rows * ROW_BYTES + entries * ENTRY_BYTES
        if len(data) != reply["size"] or len(data) < head:
            raise self._damaged(reply, f"{len(data)} bytes instead of {reply['size']}")
        stamps = np.frombuffer(data, "<i8", 2 * rows).astype(np.int64)
        sizes = np.frombuffer(data, "<i4", entries, rows * ROW_BYTES).astype(np.int64)
        stops = head + np.cumsum(np.maximum(sizes, 0))
        if entries and stops[-1] != len(data):
            raise self._damaged(reply, f"entries of {stops[-1] - head} bytes in {len(data) - head}")
        flat = [
            data[stop - size : stop] if size >= 0 else -size
            for size, stop in zip(sizes.tolist(), stops.tolist(), strict=True)
        ]
        width = self._width
        values = [tuple(flat[k : k + width]) for k in range(0, entries, width)]
        return stamps[:rows], stamps[rows:], values

    def _damaged(self, reply: Mapping[str, Any], why: str) -> DeviceError:
        return DeviceError(f"board {self._board}: chunk {reply['number']} of the sampler is damaged ({why})")

    def _newly_counted(self, counts: Mapping[str, int]) -> dict[str, int]:
        new = {name: count - self._counts.get(name, 0) for name, count in counts.items()}
        self._counts = dict(counts)
        return {name: count for name, count in new.items() if count}


def _joined(parts: list[Int64Array]) -> Int64Array:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
