"""Finds meter drivers and simulators by entry point, so that third-party ones are found like our own."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from harness.core.errors import SpecError
from harness.core.ports import Meter, MeterRequest, OnBoardMeter
from harness.core.waiting import WaitClock

METERS = "joulebench.meters"
SIMULATORS = "joulebench.simulators"
ON_BOARD = "joulebench.onboard"
DISCOVERY = "joulebench.discovery"
ON_BOARD_DISCOVERY = "joulebench.onboard_discovery"


def registered(group: str) -> dict[str, EntryPoint]:
    """All entry points of a group by name."""
    return {point.name: point for point in entry_points(group=group)}


def load(group: str, name: str) -> Callable[..., Any]:
    """The object behind an entry point; SpecError naming those that exist."""
    points = registered(group)
    if name not in points:
        raise SpecError(
            f"no {group.removeprefix('joulebench.').rstrip('s')} driver named {name!r} is installed",
            hint=f"use one of {sorted(points)}, or install the package that provides {name!r}",
        )
    loaded: Callable[..., Any] = points[name].load()
    return loaded


def open_meter(driver: str, request: MeterRequest, clock: WaitClock) -> Meter:
    """An unopened meter of the driver `driver`. Module-level, so that a child process can be handed it."""
    meter: Meter = load(METERS, driver)(request, clock=clock)
    return meter


def open_on_board(driver: str, request: MeterRequest) -> OnBoardMeter:
    """The host's half of a meter that is part of the board, made but not prepared."""
    meter: OnBoardMeter = load(ON_BOARD, driver)(request)
    return meter


def is_sampled(driver: str, *, on_this_machine: bool) -> bool:
    """Whether the board's sampler reads this meter: always if only that can, else where we cannot poll it ourselves."""
    return driver in registered(ON_BOARD) and (not on_this_machine or driver not in registered(METERS))
