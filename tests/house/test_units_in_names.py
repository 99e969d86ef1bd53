"""A number that is a quantity carries its unit in its name, where it is used and not only where it is documented.

Checked are fields of classes and parameters of public functions that are annotated as numbers or arrays of them.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("harness", "drivers", "analysis")

NUMERIC = re.compile(r"(float|int)( \| None)?|FloatArray|Int64Array")
QUANTITIES = re.compile(
    "age|ambient|buffer|capacitance|charge|current|deadline|delay|drift|duration|energy|frequency|gap|interval|lag|"
    "latency|loss|noise|offset|pause|period|power|rate|resistance|ripple|sag|settle|shunt|standby|tau|temperature|"
    "time|timeout|voltage|wait|window"
)
SI = "a|c|hz|j|j2|k|ns|ohm|ppm|rel|s|v|w"
AS_RECEIVED = "ms|us|uj|uw|ma|mj|mv|mw|raw"  # from a wire or an operating system; `raw` counts have no unit
UNITS = re.compile(f"{SI}|{AS_RECEIVED}")
DIMENSIONLESS = re.compile("channel|counts?|cv|divider|factor|gain|index|over|p|share")

EXCEPTIONS = {
    "harness.core.clock ClockMap.u_rate": "relative",
    "analysis.energy.budget budget_parts.u_rate": "relative",
    "analysis.energy.marked_solution level_parts.u_rate": "relative",
    "drivers.simulated.rig.clocks DeviceClock.rate": "relative: meter seconds a host second, less one",
    "drivers.simulated.rig.world MeterWorld.clock_rate": "relative",
    "drivers.simulated.rig.world BoardWorld.clock_rate": "relative",
    "drivers.simulated.rig.world BoardWorld.slew_rate": "relative",
    "harness.testing.fault_matrix Judged.energy_rel_error": "relative; a key of the command's JSON",
    "drivers.simulated.monsoon.device HvpmFaults.lost_packet_rate": "probability of a packet",
    "drivers.simulated.monsoon.device HvpmFaults.short_packet_rate": "probability of a packet",
    "drivers.simulated.monsoon.unit HvpmUnit.invalid_rate": "probability of a sample",
    "harness.exam.score Grade.interval_score": "relative; the key of the exam's contract",
    "harness.exam.score Grade.interval_score_ratio": "relative; the key of the exam's contract",
    "harness.exam.score Grade.interval_score_ratio_informed": "relative; the key of the exam's contract",
    "harness.exam.score Grade.interval_score_ratio_learner": "relative; the key of the exam's contract",
    "harness.exam.score Grade.gross_interval_score_ratio_informed": "relative; the key of the exam's contract",
    "drivers.simulated.rig.world MeterWorld.voltage_skew": "in periods of the meter",
    "harness.io.usb_described DescribedBackend.ctrl_transfer.timeout": "pyusb's own signature (ms)",
    "harness.io.usb_described DescribedBackend.bulk_read.timeout": "pyusb's own signature (ms)",
    "harness.io.usb_socket SocketUsbBackend.bulk_write.timeout": "pyusb's own signature (ms)",
}
"""Where a name is not ours, or the number has no unit. To be made shorter, not longer."""


def numbers(module: ast.Module) -> Iterator[tuple[str, str]]:
    """(where, name) of every public number: `Class`, `function` or `Class.method`, and the field or parameter."""

    def is_number(annotation: ast.expr | None) -> bool:
        return annotation is not None and NUMERIC.fullmatch(ast.unparse(annotation)) is not None

    def walk(body: list[ast.stmt], owner: str) -> Iterator[tuple[str, str]]:
        for node in body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield from walk(node.body, f"{owner}{node.name}.")
            elif isinstance(node, ast.AnnAssign) and owner and isinstance(node.target, ast.Name):
                if is_number(node.annotation):
                    yield owner, node.target.id
            elif isinstance(node, ast.FunctionDef) and (not node.name.startswith("_") or node.name == "__init__"):
                for argument in node.args.posonlyargs + node.args.args + node.args.kwonlyargs:
                    if is_number(argument.annotation):
                        yield f"{owner}{node.name}.", argument.arg

    yield from walk(module.body, "")


def lacks_unit(name: str) -> bool:
    words = name.lower().split("_")
    return (
        not name.startswith("_")
        and any(map(QUANTITIES.fullmatch, words))
        and not UNITS.fullmatch(words[-1])
        and not any(map(DIMENSIONLESS.fullmatch, words))
    )


def offenders() -> set[str]:
    found = set()
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for owner, name in numbers(ast.parse(path.read_text("utf-8"))):
                if lacks_unit(name):
                    found.add(f"{module} {owner}{name}")
    return found


def test_every_quantity_has_its_unit_in_its_name() -> None:
    assert not sorted(offenders() - set(EXCEPTIONS))


def test_no_exception_is_stale() -> None:
    modules = {name.split()[0]: name for name in EXCEPTIONS}
    missing = {m for m in modules if not (ROOT / (m.replace(".", "/") + ".py")).exists()}
    stale = {name for name in set(EXCEPTIONS) - offenders() if name.split()[0] not in missing}
    assert not sorted(stale)


@pytest.mark.parametrize("name", ["power", "energy", "gap_time", "timeout", "standby_power", "rate"])
def test_the_rule_finds_a_name_without_unit(name: str) -> None:
    assert lacks_unit(name)


@pytest.mark.parametrize(
    "name", ["power_w", "energy_j", "t_ns", "timeout_s", "rate_hz", "offset_raw", "gap_count", "n"]
)
def test_the_rule_passes_a_name_with_unit(name: str) -> None:
    assert not lacks_unit(name)


def test_the_rule_sees_fields_and_parameters() -> None:
    source = (
        "class A:\n    power: float\n    def f(self, energy: int | None, *, delay: float): ...\n"
        "def _g(delay: float): ..."
    )
    assert list(numbers(ast.parse(source))) == [("A.", "power"), ("A.f.", "energy"), ("A.f.", "delay")]
