"""What every recorder does with a block of readings: keep it on disk, count what was lost, show the newest power."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from harness.bench.live_power import LivePower
from harness.bench.rails import check_calibration, check_total, live_channel
from harness.core.clock import FloatArray, Int64Array
from harness.core.spec import MeterBinding
from harness.core.trace import Block, MeterInfo
from harness.store.block_writer import BlockWriter

View = tuple[Int64Array, FloatArray]
NOTHING_NEW: View = (np.empty(0, np.int64), np.empty(0))


class Intake:
    """The blocks of one meter, appended to the stream at `path`. `counts`: of all that was lost so far.

    SpecError, before the stream is begun, where the binding does not fit the meter.
    """

    def __init__(self, binding: MeterBinding, info: MeterInfo, path: Path) -> None:
        check_total(binding, info)
        check_calibration(binding, info)
        self._live = LivePower(info, live_channel(binding, info))
        self._writer = BlockWriter(path, info)
        self.counts: dict[str, int] = {}

    def take(self, block: Block | None) -> View:
        """Bins of the block's power: host time ns (K,), W (K,); empty for None."""
        self.keep(block)
        return self.view(block)

    def keep(self, block: Block | None) -> None:
        """`take` without the view."""
        if block is None:
            return
        for name, count in block.counts.items():
            self.counts[name] = self.counts.get(name, 0) + count
        self._writer.append(block)

    def view(self, block: Block | None) -> View:
        """What `take` gives for a block that is kept already. Blocks come in their order, and all of them."""
        return NOTHING_NEW if block is None else self._live.feed(block)

    def close(self) -> None:
        self._writer.close()
