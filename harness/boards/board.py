"""A board behind any transport: the Board port, put together from agents, state and files.

What differs between boards is only how they are reached. Everything is opened at first use, so that a board that
cannot be reached is an error of the first question, not of naming it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from harness.boards.remote_agent import AgentHost
from harness.boards.state.board_state import BoardState
from harness.core.clock import board_clock
from harness.core.ports import AgentSession, CheckItem, Sampler, SamplerPlan, Transport
from harness.core.spec import RunSpec


class TransportBoard:
    """Board port over `transport`. `open_agents` and `open_state` are called once, when first needed."""

    def __init__(
        self,
        name: str,
        transport: Transport,
        *,
        open_agents: Callable[[], AgentHost],
        open_state: Callable[[], BoardState],
    ) -> None:
        self._name, self.transport = name, transport
        self._open_agents, self._open_state = open_agents, open_state

    @functools.cached_property
    def agents(self) -> AgentHost:
        return self._open_agents()

    @functools.cached_property
    def board_state(self) -> BoardState:
        return self._open_state()

    @property
    def name(self) -> str:
        return self._name

    @property
    def clock(self) -> str:
        return board_clock(self._name)

    def check(self, spec: RunSpec | None = None) -> Sequence[CheckItem]:
        return (*self.agents.check(spec), *self.board_state.check(spec.board if spec else None))

    def state(self) -> Mapping[str, Any]:
        return self.board_state.read()

    def configure(self, spec: RunSpec) -> Mapping[str, Any]:
        return self.board_state.configure(spec.board)

    def restore(self) -> Sequence[str]:
        return self.board_state.restore()

    def end_orphans(self) -> Sequence[int]:
        return self.agents.end_orphans()

    def start_agent(self, spec: RunSpec, start: int) -> AgentSession:
        return self.agents.start(spec, start)

    def start_sampler(self, plan: SamplerPlan, *, lease_s: float) -> Sampler:
        return self.agents.start_sampler(plan, lease_s=lease_s)

    def close(self) -> None:
        if "agents" in self.__dict__:
            self.agents.close()
        self.transport.close()
