"""Published captures of nvidia-smi beside an external meter: update, window and lag found, energy before and after."""

from __future__ import annotations

from pathlib import Path

import pytest

from analysis.characterise.corrected_energy import table
from harness.core.trace import ReadingKind
from harness.testing.paired_captures import fields_of, judged, levelled
from harness.testing.paired_energy import judge_card
from harness.testing.paired_energy import table as energies

EXCERPT = Path(__file__).parent / "data" / "a100_square_wave"
REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "gpu-power-benchmark"
CARD, ALL = ("1", "2", "4"), ("1", "2", "3", "4")
needs_captures = pytest.mark.skipif(not REAL.is_dir(), reason="the published captures are not on this machine")


def test_an_a100_looks_a_quarter_of_the_time() -> None:
    assert fields_of(EXCERPT) == ["power.draw", "power.draw.instant"]
    character, energy = judged(EXCERPT, CARD, "power.draw.instant")
    assert character.regular and character.update.value == pytest.approx(0.101, abs=0.002)
    assert character.kind is ReadingKind.PART_TIME
    assert character.explained > 0.99
    assert character.window.value + 2 * character.tau.value < 0.05
    assert 0.0 < character.lag.value < 0.03
    assert energy.true_j > 300 and len(energy.parts) == 4
    assert "a100" in table([("a100", character, energy)])


@needs_captures
def test_a_step_shows_the_window_of_an_a100() -> None:
    character, energy = judged(REAL / "Transient_Response" / "A100_TR", CARD, "power.draw")
    assert character.kind is ReadingKind.PART_TIME
    assert abs(character.window.value - 0.025) < 0.006  # published: 25 ms
    assert abs(energy.after) < 0.005


@needs_captures
def test_levels_under_stamps_tell_what_a_part_time_sensor_did_not_see() -> None:
    """A quarter of the wave errs by a quarter from readings alone; by less than 1.5 % with the load's marks."""
    alone = judged(REAL / "5050" / "A100", ALL, "power.draw.instant")[1]
    assert max(abs(part.after) for part in alone.parts) > 0.1
    with_marks = levelled(REAL / "5050" / "A100", ALL, "power.draw.instant")
    assert abs(with_marks.after) < 0.005
    assert max(abs(part.after) for part in with_marks.parts) < 0.015


@needs_captures
def test_the_fields_of_a_3090_are_a_running_mean_and_a_plain_one() -> None:
    running, energy = judged(REAL / "5050" / "3090", ALL, "power.draw")
    assert running.kind is ReadingKind.OVERLAPPING and abs(running.window.value - 1.1) < 0.1
    assert abs(running.lag.value - 0.547) < 0.03
    assert energy.before < -0.04 and abs(energy.after) < 0.006
    plain, energy = judged(REAL / "5050" / "3090", ALL, "power.draw.instant")
    assert plain.kind is ReadingKind.MEAN and abs(plain.window.value - 0.1) < 0.003
    assert abs(energy.after) < 0.003


@needs_captures
@pytest.mark.parametrize(("card", "of"), [("A100", "5050/A100"), ("3090", "Transient_Response/3090_TR")])
def test_energy_by_nvidia_smi_alone_has_an_interval_that_holds(card: str, of: str, tmp_path: Path) -> None:
    """Of the loaded windows, by the table of sensors and by what the card's other capture told. Read off as tools do,
    none of these holds what the external meter saw."""
    rows = judge_card(REAL, card, "power.draw", tmp_path, of=of)
    print(f"\n{energies(rows)}")
    for row in rows:
        for way in (row.table, row.found):
            assert way.interval_j is not None, way.refused
            assert way.holds(row.true_j), f"{row.rule}: {row.true_j} not in {way.interval_j}"
            assert way.interval_j[1] - way.interval_j[0] < 0.2 * row.true_j
        assert row.naive.holds(row.true_j) is False
