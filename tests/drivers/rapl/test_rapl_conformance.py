"""The conformance suite over RAPL's other interfaces: events and registers, polled here and sampled on a board."""

from collections.abc import Callable

import pytest

from drivers.simulated.powercap.subject import of_devices, of_devices_on_board
from harness.testing.conformance import CHECKS, Subject
from harness.testing.on_board import as_subject

Check = Callable[[Subject], None]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("layout", ["amd", "multi-die", "sapphire-rapids"])
@pytest.mark.parametrize("interface", ["perf", "msr"])
def test_rapl_devices(check: Check, interface: str, layout: str) -> None:
    with of_devices(interface, layout) as subject:
        check(subject)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("interface", ["perf", "msr"])
def test_rapl_devices_on_board(check: Check, interface: str) -> None:
    with of_devices_on_board(interface) as subject:
        check(as_subject(subject))
