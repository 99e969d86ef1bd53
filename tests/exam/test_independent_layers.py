"""Layers of worlds of the independent program against their true energies: ramps within kernels, a supply of its own.

pytest tests/exam/test_independent_layers.py -s      prints the table
"""

from __future__ import annotations

import pytest

from tests.exam.worlds import results_of, write_world


def rows_of(tmp_path, seed, options):
    """(meter, row, true energy of its layers) for every row that bears layers; its closure is held on the way."""
    truth = write_world(tmp_path / f"w{seed}", seed=seed, meters="mean,monsoon", options=("--layers", *options))
    for result in results_of(tmp_path / f"w{seed}", tmp_path / "runs"):
        report = result.layers
        assert report is not None
        if report.problem:
            print(f"{seed} {result.meter}: {report.problem}")
            continue
        whole = sum(row.energy_j for row in report.layers)
        assert report.sum_j == pytest.approx(whole, rel=1e-9)
        for row in report.layers:
            names = [name for name in row.group or (row.name,) if name.startswith("layer")]
            if names:
                yield result.meter, row, sum(truth["layers_j"][int(name[5:])] for name in names)


@pytest.mark.slow
def test_intervals_of_layers_hold_their_truth(tmp_path):
    inside = []
    for seed, options in ((12, ("--short",)), (41, ("--gap", "back-to-back", "--short"))):
        for meter, row, true_j in rows_of(tmp_path, seed, options):
            low, high = row.interval_95_j
            inside.append(low <= true_j <= high)
            print(
                f"{seed} {meter:<8} {row.name:<26.26} {row.duration_s * 1e6:>6.0f} us {row.energy_j * 1e3:>8.3f} mJ "
                f"[{low * 1e3:.3f}, {high * 1e3:.3f}] true {true_j * 1e3:.3f}  {'in' if inside[-1] else 'OUT'}"
            )
    print(f"{sum(inside)} of {len(inside)} intervals hold the truth")
    assert sum(inside) >= 0.9 * len(inside)  # 17 of 17 when it was written
