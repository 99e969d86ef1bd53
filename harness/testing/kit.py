"""The kit in one line a proof: tests for a meter driver's own test file, also one that lives in another package.

    from harness.testing import kit
    from my_meter import simulated

    test_conformance = kit.conformance(simulated.subject)
    test_faults = kit.fault_tests(simulated.trials)
    test_chunks = kit.chunking(MyCodec, CAPTURE.read_bytes())

Each is an ordinary parametrised pytest function. docs/howto/write-a-meter.md shows a whole package.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from harness.testing.conformance import CHECKS, Subject, Violation
from harness.testing.faults import FaultTrial
from harness.testing.subjects import MakeSubject, opened

if TYPE_CHECKING:
    from harness.testing.fault_matrix import Judged

CHUNKS = (1, 2, 3, 7, 64, 0)  # 0: of random lengths


def conformance(make_subject: MakeSubject) -> Callable[..., None]:
    """One test a check. `make_subject`: a context manager that yields a Subject or an OnBoardSubject, made anew each
    time."""

    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
    def test_conformance(check: Callable[[Subject], None]) -> None:
        with opened(make_subject) as subject:
            check(subject)

    return test_conformance


def fault_tests(trials: Callable[[], Sequence[FaultTrial]]) -> Callable[..., None]:
    """One test a fault: it is played, and judged by the shipped analysis. A trial named `none` must be among them."""
    played = list(trials())
    names = [trial.fault for trial in played]
    if "none" not in names:
        raise Violation("there is no trial named 'none', in which nothing goes wrong")
    if len(set(names)) < len(names):
        raise Violation(f"two trials have one name: {names}")

    without = functools.cache(lambda: _judged(next(trial for trial in played if trial.fault == "none"), None))

    @pytest.mark.parametrize("trial", played, ids=names)
    def test_fault(trial: FaultTrial) -> None:
        require_well(trial, without() if trial.fault == "none" else _judged(trial, without()))

    return test_fault


def _judged(trial: FaultTrial, without: Judged | None) -> Judged:
    from harness.testing.fault_matrix import judge

    return judge(trial, without=without)


def require_well(trial: FaultTrial, judged: Judged) -> None:
    """Violation for a wrong joule that looks right, an accident, or a meter that fails without a fault."""
    if judged.wrong or (trial.fault == "none" and judged.outcome != "recovered"):
        raise Violation(f"{trial.fault} ({trial.what}) came out as {judged.outcome}: {judged.detail}")


def chunking(make_codec: Callable[[], Any], data: bytes, *, feed: str = "feed") -> Callable[..., None]:
    """The codec yields the same from `data` however it is cut. `make_codec()` has a method `feed(bytes)` that returns
    an iterable of what was complete."""

    @pytest.mark.parametrize("size", CHUNKS, ids=lambda size: f"{size or 'random'} bytes")
    def test_chunks(size: int) -> None:
        whole = _fed(make_codec(), [data], feed)
        if not whole:
            raise Violation("the codec yields nothing from these bytes")
        rng = np.random.default_rng(1)
        parts, at = [], 0
        while at < len(data):
            step = size or int(rng.integers(1, 200))
            parts.append(data[at : at + step])
            at += step
        found = _fed(make_codec(), parts, feed)
        if found != whole:
            first = next((i for i, (a, b) in enumerate(zip(found, whole, strict=False)) if a != b), len(whole))
            raise Violation(
                f"cut into pieces of {size or 'random'} bytes the codec yields {len(found)} instead of {len(whole)} "
                f"items; the first that differs is number {first}"
            )

    return test_chunks


def _fed(codec: Any, parts: Iterable[bytes], feed: str) -> list[str]:
    return [repr(item) for part in parts for item in getattr(codec, feed)(part)]
