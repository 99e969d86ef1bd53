"""Units that no register tells: known for a list of processors, and refused for any other."""

from __future__ import annotations

import pytest

from drivers.rapl.topology import INTEL, Processor
from drivers.rapl.units import unit_is_unknown

KNOWN = [(0x3F, "dram"), (0x9E, "dram"), (0x8F, "psys"), (0xFA, "package")]
NOT_KNOWN = [(0xFA, "dram"), (0xFA, "psys")]


@pytest.mark.parametrize(("model", "kind"), KNOWN + NOT_KNOWN)
def test_a_unit_that_nobody_knows_is_not_guessed(model: int, kind: str) -> None:
    assert unit_is_unknown(Processor(INTEL, 6, model), kind) is ((model, kind) in NOT_KNOWN)
