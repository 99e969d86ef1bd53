"""What the profile pass costs an inference, and how many kernels are traced to nodes of the model.

    python benchmarks/bench_profile.py [MODEL ...] [--count 50] [--rounds 5]

Real agents on this machine, ONNX Runtime, one thread. Each round is a profile pass of its own. Inferences without and
with the profiler are those at the 5th percentile over all rounds, since most of the others were interrupted; printed
are their difference by inference and by kernel, the share of the profiled time that kernels cover, and the share of
kernels (but those that only change a layout) with source nodes.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness.boards.local import LocalBoard
from harness.config.profiles import QUICK
from harness.core.layers import LayerProfile
from harness.core.spec import BoardSpec, RunSpec, RuntimeSpec
from harness.models.resolve import prepare_model, resolve_model
from harness.models.source_nodes import traced_share

MODELS = ("gen:lstm", "gen:transformer", "zoo:squeezenet", "zoo:shufflenet", "zoo:resnet50", "zoo:densenet121")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print(f"{'model':<18} kernels   plain    profiled     cost  a kernel  covered  traced")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        board = LocalBoard("local", lambda spec: prepare_model(spec.model, cache), directory=Path(folder) / "board")
        for reference in options.models:
            model = resolve_model(reference, 1, {}, 0, Path(folder), cache=cache)
            spec = RunSpec(
                "b", "b", BoardSpec("local"), (), model, RuntimeSpec(), replace(QUICK, layers="profile"), 0, 1,
                simulated=True,
            )  # fmt: skip
            rounds = [one_round(board, spec, options.count) for _ in range(options.rounds)]
            report(reference, rounds)
        board.close()


def one_round(board: LocalBoard, spec: RunSpec, count: int) -> LayerProfile:
    session = board.start_agent(spec, 0)
    try:
        return session.profile(spec, count=count).profile  # type: ignore[attr-defined, no-any-return]
    finally:
        session.close()


def report(reference: str, rounds: list[LayerProfile]) -> None:
    kernels = rounds[0].kernels
    plain_ms = float(np.percentile(np.concatenate([profile.plain_ns for profile in rounds]), 5)) / 1e6
    profiled_ms = float(np.percentile(np.concatenate([profile.inference_ns for profile in rounds]), 5)) / 1e6
    inside, whole = (sum(float(np.sum(t)) for t in times) for times in (
        [profile.end_ns - profile.begin_ns for profile in rounds], [profile.inference_ns for profile in rounds],
    ))  # fmt: skip
    a_kernel_us = (profiled_ms - plain_ms) / len(kernels) * 1e3
    print(
        f"{reference:<18} {len(kernels):7d} {plain_ms:7.2f} ms {profiled_ms:7.2f} ms {profiled_ms / plain_ms - 1:8.1%} "
        f"{a_kernel_us:6.1f} us {inside / whole:8.1%} {traced_share(kernels):7.1%}",
        flush=True,
    )


if __name__ == "__main__":
    main()
