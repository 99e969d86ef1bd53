"""What a board that is really elsewhere cannot do: be heard by a simulated bench, which listens on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.ssh.lab import laboratory, need_sshd


@pytest.mark.realtime
def test_a_simulated_bench_cannot_hear_a_board_elsewhere(tmp_path: Path) -> None:
    need_sshd()
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    with laboratory(tmp_path / "lab") as lab:
        benches = Path(lab.environment["JOULEBENCH_SIM"])
        benches.mkdir()
        lab.board("far", network=False, binds=[(nothing, str(benches))])  # the board sees another folder there
        outcome = lab.measure(lab.campaign("far", "far"))
    assert outcome.status == 2, outcome.stderr
    assert "hears boards through a file of this machine" in outcome.error
    assert "board: local" in outcome.stderr
