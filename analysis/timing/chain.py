"""From the meter's clock to the timeline's, through the host's where there is no shorter way: one map of the chain."""

from __future__ import annotations

from analysis.timing.clocks import fit_host_to_board, fit_meter_to_host
from harness.core.clock import HOST, ClockMap, board_clock
from harness.core.timeline import Timeline
from harness.core.trace import Trace
from harness.store.run_reader import RunReader


def board_map(trace: Trace, reader: RunReader, timeline: Timeline) -> ClockMap:
    """Meter clock -> the timeline's clock. ValueError if the chain between them is broken.

    A meter that is part of the board is stamped on the very clock of the timeline: nothing is fitted. Pings must
    agree all the same, since a clock that jumps (a board that slept) makes a power out of an energy wrongly.
    """
    own, stamped = timeline.clock, trace.info.clock
    if stamped == own != HOST:
        clock, pings = reader.pings()
        if clock == own and len(pings):
            fit_host_to_board(pings, clock=clock)
        return ClockMap.identity(own, own)
    if stamped.startswith(board_clock("")):
        raise ValueError(f"the meter is stamped on {stamped}, the timeline on {own}")
    to_host = fit_meter_to_host(trace.anchors, clock=trace.info.clock)
    if timeline.clock == HOST:
        return to_host
    clock, pings = reader.pings()
    if len(pings) == 0:
        raise ValueError(f"no pings tie the host to {timeline.clock}")
    if clock != timeline.clock:
        raise ValueError(f"pings are of clock {clock}, the timeline of {timeline.clock}")
    return to_host.then(fit_host_to_board(pings, clock=clock))
