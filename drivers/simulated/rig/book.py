"""Keeps the rig's stretches until their time has been played, then writes what each of them really cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from drivers.simulated.rig.layer_truth import LayerBook
from drivers.simulated.rig.physics_load import Laid
from drivers.simulated.rig.truth import RECORD, TruthLog
from harness.core.clock import FloatArray, Int64Array

_COLUMNS = ("dynamic_j", "gross_j", "load_dynamic_j", "load_gross_j")
LoadEnergy = Callable[[FloatArray], tuple[FloatArray, FloatArray]]  # times -> before and after throttling


class Book:
    """Stretches in order of time; each is settled once its time has been played."""

    def __init__(self, truth: TruthLog) -> None:
        self._truth = truth
        self._layers = LayerBook(truth.layers)
        self._open: list[Any] = []  # records not yet settled, with own begin/end and excess
        self._times: list[FloatArray] = []  # alternately own begin, own end of the open records
        self._values: FloatArray = np.empty((0, 6))  # settled values at the first of those times
        self._last = np.zeros(6)  # values at the end of the last settled stretch
        self._begun = False
        self._sums = np.zeros(4)  # running cell sums: what comes on top of the load's closed form

    def stretches(
        self, begin_ns: Int64Array, end_ns: Int64Array, kind: int, process: int, expected_ns: float, laid: Laid
    ) -> None:
        records = np.zeros(len(begin_ns), RECORD)
        records["begin_ns"], records["end_ns"] = begin_ns, end_ns
        records["kind"], records["process"], records["expected_ns"] = kind, process, expected_ns
        records["expected_j"] = laid.excess_j  # until settled
        self._open.append(records)
        times = np.stack([laid.own_begin_s, laid.own_end_s], 1).ravel()
        self._times.append(times[1:] if self._begun else times)
        self._begun = False
        if laid.drawn is not None and laid.kernel_excess_j is not None:
            self._layers.add(begin_ns, laid.own_begin_s, laid.own_end_s, laid.drawn, laid.kernel_excess_j)

    def begun(self, own_begin_s: float) -> None:
        """A stretch is being played whose end is not known yet."""
        self._times.append(np.array([own_begin_s]))
        self._begun = True

    def settle(self, t: FloatArray, load: LoadEnergy, dt: float, *extras_w: FloatArray) -> None:
        """The cells between boundaries `t` were played; `extras_w`: what adds to the load's power, by column."""
        sums = np.zeros((len(extras_w), len(t)))
        for column, extra_w in zip(sums, extras_w, strict=True):
            np.cumsum(extra_w * dt, out=column[1:])
        sums += self._sums[:, None]
        self._sums = sums[:, -1].copy()

        def known(at_s: FloatArray) -> FloatArray:
            raw, kept = load(at_s)
            columns = [kept + np.interp(at_s, t, column) for column in sums]
            return np.stack([*columns, raw, kept], 1)

        self._layers.settle(float(t[-1]), known)
        times = np.concatenate(self._times) if self._times else np.empty(0)
        due = times[len(self._values) :]
        due = due[: np.searchsorted(due, t[-1], side="right")]
        if len(due):
            self._values = np.concatenate([self._values, known(due)])
        n = len(self._values) // 2
        if n == 0:
            return
        records = np.concatenate(self._open)
        self._write(records[:n], self._values[: 2 * n])
        self._open = [records[n:]] if len(records) > n else []
        self._times = [times[2 * n :]] if len(times) > 2 * n else []
        self._values = self._values[2 * n :]

    def _write(self, records: Any, values: FloatArray) -> None:
        begin, end = values[0::2], values[1::2]
        before = np.concatenate([self._last[None], end[:-1]])
        self._last = end[-1]
        own, gap = end - begin, begin - before
        for column, name in enumerate(_COLUMNS):
            records[name] = own[:, column]
        records["gap_dynamic_j"], records["gap_gross_j"] = gap[:, 0], gap[:, 1]
        kept = own[:, 5] / np.maximum(own[:, 4], 1e-12)  # what throttling left of the load, and so of its excess
        share = 1 - records["expected_j"] * kept / np.maximum(own[:, 2], 1e-12)
        records["expected_j"] = own[:, 0] * share
        self._truth.append(records)
