"""Which runs of a campaign can be measured at the same time: a lane shares no board and no meter with another.

Inside a lane one run follows the other; lanes know nothing of each other.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

from harness.bench.campaigns.leases import SIMULATED_METER, board_resource, resources_of
from harness.core.spec import RunSpec


@dataclass(frozen=True)
class Lane:
    """Runs that are measured one after another, in this order. `resources`: what they hold meanwhile."""

    specs: tuple[RunSpec, ...]
    resources: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its boards, joined by `+`. A board belongs to one lane, so no two lanes have the same name."""
        return "+".join(self.boards)

    @property
    def boards(self) -> tuple[str, ...]:
        return tuple(sorted({spec.board.name for spec in self.specs}))

    @property
    def benches(self) -> tuple[str, ...]:
        return tuple(sorted({spec.bench for spec in self.specs}))

    @property
    def remote(self) -> bool:
        """No board of it is the machine that the harness runs on."""
        return all(spec.board.transport != "local" for spec in self.specs)


def lanes_of(specs: Sequence[RunSpec], *, on_board: Container[str] = ()) -> tuple[Lane, ...]:
    """The lanes of `specs`, in the order of their first runs; within a lane the order of `specs` is kept.

    `on_board`: drivers whose meters are part of the board that they measure.
    """
    groups: list[tuple[set[str], list[RunSpec]]] = []
    for spec in specs:
        names = _shared(spec, on_board)
        touched = [group for group in groups if group[0] & names]
        merged = (set().union(names, *(g[0] for g in touched)), [*(s for g in touched for s in g[1]), spec])
        first = min((groups.index(g) for g in touched), default=len(groups))
        groups = [g for g in groups if g not in touched]
        groups.insert(first, merged)
    place = {spec.run_id: k for k, spec in enumerate(specs)}
    return tuple(
        Lane(
            tuple(sorted(members, key=lambda s: place[s.run_id])),
            tuple(sorted({name for spec in members for name in resources_of(spec, on_board=on_board)})),
        )
        for _, members in groups
    )


def _shared(spec: RunSpec, on_board: Container[str]) -> set[str]:
    """What runs cannot have at the same time. A simulated bench has meters of its own; its machine is still one."""
    meters = {name for name in resources_of(spec, on_board=on_board) if not name.startswith(SIMULATED_METER)}
    return {*meters, board_resource(spec.board), f"board named {spec.board.name}"}
