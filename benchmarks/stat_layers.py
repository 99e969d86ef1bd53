"""How well are the layers of real networks measured? Errors by duration class, coverage, groups, closure.

    python benchmarks/stat_layers.py                          # all networks, 3 worlds each, both ways to time layers
    python benchmarks/stat_layers.py --networks gen:lstm zoo:squeezenet --seeds 10 --how instances --world bench

The kernels of each network are profiled on this machine once and kept in the cache. Virtual boards then execute them at
the same shares of an inference of at most `--longest-ms`, each in worlds of its own: real runner, real store, real
analysis, hidden truth. Statistical efficiency, not speed: nothing here is timed.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import signal
import sys
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from drivers.simulated.rig.kernels import KernelList
from harness.cli.silicon import kernels_on_this_machine
from harness.core.errors import BenchError
from harness.core.spec import RuntimeSpec
from harness.exam.layer_worlds import layer_world
from harness.exam.layers import LayerExam, layer_score, layer_table
from harness.exam.virtual import exam_protocol
from harness.models.resolve import default_cache, prepare_model, resolve_model

NETWORKS = (
    "zoo:squeezenet", "zoo:shufflenet", "zoo:resnet50", "zoo:inception_v1", "zoo:inception_v2", "zoo:densenet121",
    "zoo:bvlc_alexnet", "gen:lstm", "gen:lstm@16", "gen:transformer", "gen:transformer@256", "torch:mobilenet",
)  # fmt: skip
PROFILED = 200
STARTS = 3


def kernels_of(network: str) -> KernelList:
    """`network`: a model reference, `@N` after it sets its sequence length."""
    reference, _, length = network.partition("@")
    axes = {"sequence": int(length)} if length else {}
    model = prepare_model(resolve_model(reference, 1, axes, 0, Path.cwd()))
    return kernels_on_this_machine(model, RuntimeSpec(), count=PROFILED, cache=default_cache() / "kernels")


def faster(kernels: KernelList, longest_s: float) -> KernelList:
    """The same network on a board that needs at most `longest_s` for an inference."""
    assert kernels.time_s is not None, "a profiled network has a duration"
    return dataclasses.replace(kernels, time_s=min(kernels.time_s, longest_s))


def examined(network: str, how: str, seed: int, kernels: KernelList, world: str, measure_s: float) -> LayerExam:
    """One network in one world; an error is a result that is not graded."""
    protocol = dataclasses.replace(exam_protocol(), starts=STARTS, measure_s=measure_s)
    try:
        exam = layer_world(seed, how, kernels=kernels, name=_name(network), world_file=world, protocol=protocol)
        why = "the analysis says nothing of layers"
    except BenchError as error:
        exam, why = None, error.message
    except Exception as error:  # noqa: BLE001 - a crash in one of many worlds is a finding, and said as one
        exam, why = None, f"{type(error).__name__}: {error}"
    if exam is None:
        return LayerExam(f"{_name(network)}-{seed}", f"{world}/{seed}", _name(network), "supply", how, problem=why)
    return exam


def _name(network: str) -> str:
    return network.partition(":")[2].replace("@", "-")


def _all(options: argparse.Namespace, lists: dict[str, KernelList]) -> Iterator[tuple[str, LayerExam]]:
    """Each network has worlds of its own: its seeds follow from its name and `--seed`."""
    tasks = [
        (network, how, options.seed + 1000 * (zlib.crc32(network.encode()) % 10_000) + k)
        for network in options.networks
        for how in options.how
        for k in range(options.seeds)
    ]
    longest_s = options.longest_ms / 1e3
    given = [(n, how, seed, faster(lists[n], longest_s), options.world, options.measure_s) for n, how, seed in tasks]
    if options.jobs <= 1:
        for task in given:
            yield task[0], examined(*task)
        return
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(examined, *task) for task in given]
        for task, future in zip(given, futures, strict=True):
            yield task[0], future.result()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--how", nargs="+", default=["profile", "instances"], choices=["profile", "instances"])
    parser.add_argument("--seeds", type=int, default=3, help="worlds per network and way")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--world", default="default", help="a world file, or the name of a shipped one")
    parser.add_argument("--longest-ms", type=float, default=20.0)
    parser.add_argument("--measure-s", type=float, default=8.0, help="per process start, of which there are 3")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--json", type=Path, help="write every row there")
    options = parser.parse_args()

    lists: dict[str, KernelList] = {}
    for network in options.networks:
        try:
            lists[network] = kernels_of(network)
        except BenchError as error:
            print(f"{network} is left out: {error.message}")
            continue
        found = lists[network]
        assert found.time_s is not None, "a profiled network has a duration"
        outside = 1 - float((found.end - found.begin).sum())
        print(
            f"{network:<22} {len(found):>4} kernels, {found.time_s * 1e3:7.2f} ms here, {outside:.1%} outside",
            flush=True,
        )
    options.networks = list(lists)
    exams: list[tuple[str, LayerExam]] = []
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        for network, exam in _all(options, lists):
            exams.append((network, exam))
            print(_line(network, exam), file=sys.stderr, flush=True)
            if options.json is not None:
                options.json.write_text(
                    json.dumps([{"network": n, **e.to_json()} for n, e in exams], indent=1), "utf-8"
                )
    except KeyboardInterrupt:
        print("interrupted: what was measured until then")
    for how in options.how:
        of_way = [exam for _, exam in exams if exam.how == how]
        print(f"\nlayers: {how}, worlds of {options.world!r}, {len(of_way)} results of {len(lists)} networks")
        print(layer_table(of_way))
        _by_network(how, exams)


def _line(network: str, exam: LayerExam) -> str:
    if exam.problem:
        return f"{network:<22} {exam.how:<10} {exam.world:<20} not graded: {exam.problem}"
    difference = "-" if exam.difference_rel is None else f"{exam.difference_rel:+.2%}"
    held = sum(row.holds_expected for row in exam.rows)
    return (
        f"{network:<22} {exam.how:<10} {exam.world:<20} {exam.kernels:>4} kernels, {len(exam.rows):>4} rows, "
        f"{held} of them in their interval, closure {difference}"
    )


def _by_network(how: str, exams: list[tuple[str, LayerExam]]) -> None:
    print(f"{'network':<22} {'graded':>6} {'rows':>5} {'median':>7} {'in 95 %':>7} {'by time':>8} {'closes':>7}")
    for network in dict.fromkeys(name for name, _ in exams):
        score: dict[str, Any] = layer_score([e for n, e in exams if n == network and e.how == how])
        rows = [r for n, e in exams if n == network and e.how == how for r in e.rows if r.error_rel is not None]
        if not rows:
            print(f"{network:<22} {score['graded']:>6} {0:>5}")
            continue
        errors = sorted(abs(row.error_rel or 0.0) for row in rows)
        naive = sorted(abs(row.proportional_error_rel or 0.0) for row in rows)
        print(
            f"{network:<22} {score['graded']:>6} {len(rows):>5} {errors[len(errors) // 2]:>7.2%} "
            f"{score['coverage_95']:>7.0%} {naive[len(naive) // 2]:>8.2%} {score['closes']:>3} of {score['graded']}"
        )


if __name__ == "__main__":
    main()
