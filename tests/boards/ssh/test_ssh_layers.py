"""Layers of a board behind a real sshd: the same job, its files fetched over the link."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from drivers.simulated.ssh_board import SshBoard
from harness.bench.program import start_program
from harness.boards.remote_agent import AgentHost
from harness.boards.ssh.transport import SshTransport
from harness.config.profiles import QUICK
from harness.core.spec import BoardSpec, RunSpec, RuntimeSpec
from harness.core.timeline import Phase
from harness.models.resolve import prepare_model, resolve_model


def test_profile_and_stamps_come_home_over_ssh(
    board: SshBoard, connect: Callable[..., SshTransport], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    protocol = replace(
        QUICK, layers="instances", measure_s=0.2, warm_up_s=0.1, lead_in_s=0.1, probe_pauses=3, dark=True
    )
    model = resolve_model("gen:lstm", 1, {}, 0, tmp_path, cache=cache)
    spec = RunSpec(
        "c", "b", BoardSpec(board.name, "ssh", board.name), (), model, RuntimeSpec(), protocol, 0, 1, simulated=True
    )
    host = AgentHost(
        connect(board), str(tmp_path / "there"), lambda s: prepare_model(s.model, cache), board=board.name,
        python=sys.executable, remote=True,
    )  # fmt: skip
    session = host.start(spec, 0)
    session.load(spec, 0)
    timeline = session.perform(start_program(protocol), 0, seed=1)  # dark: the link is cut meanwhile
    stamps = session.layer_stamps()
    session.close()
    session = host.start(spec, 1)
    report = session.profile(spec, count=10)
    session.close()
    host.close()

    begin, _ = timeline.rows(Phase.MEASURED)
    assert (
        stamps is not None and np.isin(stamps.inference_begin_ns, begin).all() and len(stamps.start) > 0.9 * len(begin)
    )
    assert [k.name for k in stamps.kernels] == [k.name for k in report.profile.kernels]
    assert report.graph is not None
    assert [n.name for n in onnx.load_model_from_string(report.graph).graph.node] == [k.name for k in stamps.kernels]
    assert all(kernel.source_nodes for kernel in report.profile.kernels)
