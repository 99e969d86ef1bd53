"""Both on-board halves pass the conformance suite on the simulated machine."""

import pytest

from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.subject import on_board, smi
from harness.testing import kit

pytestmark = pytest.mark.skipif(missing() != "", reason=f"needs {missing()}")

test_nvml_on_board = kit.conformance(on_board)
test_nvidia_smi_on_board = kit.conformance(smi)
