"""Wires parts together: which board, which meters, real or simulated. The only place that sees them all."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from harness import registry
from harness.bench.board_recorder import OnBoardOpener
from harness.bench.campaigns.plan import Plan, make_plan
from harness.bench.recorder import AnyOpener
from harness.boards.local import LocalBoard
from harness.config.lookup import config_dirs, find_config
from harness.config.resolve import resolve_campaign
from harness.core.errors import DeviceError, SpecError
from harness.core.ports import AgentSession, Board, MeterRequest, SamplingBoard, TelemetrySource
from harness.core.spec import BoardSpec, MeterBinding, RunSpec
from harness.core.waiting import RealClock

if TYPE_CHECKING:
    from drivers.simulated.rig.client import SimulatedBench

DEFAULT_WORLD = "bench"


def planned(
    campaign: Path, *, simulated: bool, configs: Path | None, root: Path | None, world: str | None = None
) -> Plan:
    """The whole campaign, resolved and validated; run directories go beside the campaign file.

    A simulated run is tagged with its world, so that the same campaign in another world is another run.
    """
    from harness.models.resolve import resolve_model

    specs = resolve_campaign(campaign, simulated=simulated, resolve_model=resolve_model, configs=configs)
    for binding in dict.fromkeys(binding for spec in specs for binding in spec.meters):
        _check_options(binding)
    if simulated:
        path = world_file(world, configs=configs)
        tag = ("world", f"{path.stem}-{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}")
        specs = tuple(dataclasses.replace(spec, tags=(*spec.tags, tag)) for spec in specs)
    return make_plan(specs, root=root or campaign.resolve().parent / specs[0].campaign)


def _check_options(binding: MeterBinding) -> None:
    """Drivers read their options when they are made, which touches no hardware; SpecError for a wrong one."""
    if binding.driver in registry.registered(registry.METERS):
        registry.load(registry.METERS, binding.driver)(_request(binding), clock=RealClock())
    else:
        registry.open_on_board(binding.driver, _request(binding))


def open_board(spec: BoardSpec) -> Board:
    """The board of a run, by its transport."""
    from harness.models.resolve import prepare_model

    def models(run: RunSpec) -> Any:
        return prepare_model(run.model)

    if spec.transport == "ssh":
        from harness.boards.ssh.board import SshBoard

        return SshBoard(spec, models)
    return LocalBoard(spec.name, models, python=spec.python)


def check_outputs(spec: RunSpec, outputs: Mapping[str, npt.NDArray[np.generic]]) -> Mapping[str, Any]:
    """The board's outputs against the host's own run of the model; empty if the host cannot run it (no torch)."""
    from harness.models.reference import compare_outputs, reference_outputs
    from harness.models.resolve import prepare_model

    tolerance_rel = spec.protocol.output_tolerance_rel
    reference = reference_outputs(prepare_model(spec.model))
    if reference is None:
        return {}
    verdict = compare_outputs(outputs, reference, tolerance_rel)
    error = verdict.max_error_rel if np.isfinite(verdict.max_error_rel) else None
    return {"ok": verdict.ok, "max_rel_error": error, "tolerance": tolerance_rel, "reason": verdict.reason}


def real_openers(spec: RunSpec) -> Sequence[tuple[MeterBinding, AnyOpener]]:
    """Openers of the bench's real meters; each can be handed to a child process."""
    return [(binding, opener(binding.driver, _request(binding), spec.board)) for binding in spec.meters]


def opener(driver: str, request: MeterRequest, board: BoardSpec) -> AnyOpener:
    """How the meter is opened: here, or, if it is a part of `board`, by the board's sampler."""
    if registry.is_sampled(driver, on_this_machine=board.transport == "local"):
        return OnBoardOpener(functools.partial(registry.open_on_board, driver, request))
    registry.load(registry.METERS, driver)  # a missing driver is said here, not in a child process
    return functools.partial(registry.open_meter, driver, request, RealClock())


def _request(binding: MeterBinding) -> MeterRequest:
    return MeterRequest(name=binding.name, options=dict(binding.options), rails=binding.rails)


# --- the simulated bench ----------------------------------------------------------------------------


def world_file(world: str | None, *, configs: Path | None) -> Path:
    """The world file of the simulated bench: a path, the name of a shipped one, or the mild default."""
    return find_config("worlds", world or DEFAULT_WORLD, config_dirs(configs))


def simulated_openers(bench: SimulatedBench, spec: RunSpec) -> Sequence[tuple[MeterBinding, AnyOpener]]:
    """Openers of the shipped drivers, with the simulated bench's wires in place of the system's."""
    return [(m, opener(m.driver, bench.meter_request(m), spec.board)) for m in spec.meters]


class PinnedBoard:
    """A board whose agents get the rig's marker pin, and the CPUs that the simulated bench leaves to them.

    The run's own spec stays free of both, which belong to this machine and not to what is measured.
    """

    def __init__(self, board: Board, bench: SimulatedBench) -> None:
        self._board, self._pin, self._cpus = board, str(bench.marker_pin), bench.board_cpus
        self.check, self.state, self.configure = board.check, board.state, board.configure
        self.restore, self.end_orphans, self.close = board.restore, board.end_orphans, board.close
        self._tree = bench.board_tree
        if isinstance(board, SamplingBoard):
            self.files, self.start_sampler = board.files, board.start_sampler

    @property
    def name(self) -> str:
        return self._board.name

    @property
    def clock(self) -> str:
        return self._board.clock

    def start_telemetry(self, board: BoardSpec, period_s: float, *, lease_s: float) -> TelemetrySource | None:
        """The simulated board's own, where its files are on the board's machine."""
        if not isinstance(self._board, LocalBoard):
            return None
        return self._board.telemetry_below(self._tree, board, period_s, lease_s=lease_s)

    def start_agent(self, spec: RunSpec, start: int) -> AgentSession:
        board = dataclasses.replace(spec.board, marker_pin=self._pin, cpus=spec.board.cpus or self._cpus)
        try:
            return self._board.start_agent(dataclasses.replace(spec, board=board), start)
        except DeviceError as error:
            if spec.board.transport == "local" or "marker pin" not in error.message:
                raise
            raise SpecError(
                f"the simulated bench hears boards through a file of this machine, which {self.name} does not have",
                hint="with --sim use a board of this machine (`board: local`); leave --sim out where there is a meter",
            ) from error
