"""A coded load on a virtual bench, recorded as on a real one: a file, which a bench names and the analysis uses."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from analysis.analyse import analyse_run
from analysis.characterise.run import characterise_run
from drivers.simulated.rig.ranges import load_ranges
from drivers.simulated.rig.world import draw
from harness.bench.characterising import record_coded_load
from harness.bench.coded_load import CHIP_S, coded_load
from harness.cli.main import app
from harness.cli.meters.characterise import print_found
from harness.config.bench import load_bench
from harness.config.character import load_character, write_character
from harness.config.lookup import config_dirs
from harness.core.character import ChannelCharacter, Characterisation
from harness.core.errors import SpecError
from harness.core.events import EventStream
from harness.core.result import InvalidReason, Status
from harness.core.spec import RunSpec
from harness.core.trace import ReadingKind
from harness.exam.virtual import closing, exam_protocol, exam_spec, virtual_bench
from harness.store.run_reader import RunReader

SEED = 67_010


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supply meter and a shunt at the same plane of one board of a mild world, under the coded load."""
    load = coded_load(memory_s=0.05)
    protocol = dataclasses.replace(exam_protocol(), starts=1, marker_bits=load.bits, marker_chip_s=load.chip_s)
    spec = exam_spec(SEED, meters=("supply", "shunt"), protocol=protocol)
    with closing(virtual_bench(draw(SEED, load_ranges("bench")), spec)) as bench:
        return record_coded_load(
            spec, load, root=tmp_path_factory.mktemp("coded"), board=bench.board, meters=bench.meters,
            clock=bench.clock, events=EventStream(), with_model=False,
        )  # fmt: skip


def test_the_code_holds_every_length_up_to_the_memory_and_no_millisecond() -> None:
    load = coded_load(memory_s=1.0)
    assert set(load.bits) == {"0", "1"} and load.seconds < 60
    longest = max(len(run) for run in load.bits.strip("0").split("0"))
    assert longest * CHIP_S > 1.0
    assert abs(CHIP_S / 0.001 % 1 - 0.5) < 0.3 and abs(0.1 / CHIP_S % 1 - 0.5) < 0.4
    assert coded_load(memory_s=1.0) == load  # it is drawn from nothing
    with pytest.raises(SpecError, match="--memory"):
        coded_load(memory_s=0.0)


def test_the_load_is_the_same_with_inferences_for_spins() -> None:
    load = coded_load(memory_s=0.05)
    steps = load.model_steps()
    assert sum(s.seconds for s in steps) == pytest.approx(load.seconds)
    assert {s.op for s in steps} == {"infer", "idle"}


def test_a_recorded_load_tells_the_meter_and_its_gain(recorded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    reader = RunReader.open(recorded)
    (found,) = characterise_run(reader, "supply", against="shunt")
    print_found(found, simulated=True, against="shunt")
    printed = capsys.readouterr().out
    assert "mean age" in printed and "SIMULATED" in printed and "gain against shunt" in printed
    character = found.character
    assert character.explained > 0.97
    assert abs(character.update.value - 200e-6) < 2e-6
    assert ReadingKind.MEAN in character.kinds
    assert character.window.value < 0.006  # nothing but the supply's own rise
    assert character.gain is not None and abs(character.gain.value - 1) < 0.05
    assert found.facts.gain == pytest.approx(character.gain.value)
    with pytest.raises(SpecError, match="no meter 'wall'"):
        characterise_run(reader, "wall")


def test_the_command_prints_and_writes_what_a_bench_may_name(recorded: Path, tmp_path: Path) -> None:
    out = tmp_path / "supply.character.yaml"
    command = ["meters", "characterise", "supply", "--run", str(recorded), "--out", str(out), "--json"]
    told = CliRunner().invoke(app, command)
    assert told.exit_code == 0, told.output
    (row,) = json.loads(told.stdout)["channels"]
    character = load_character(out)
    assert character.channels[0].update_s == row["update_s"] and character.channels[0].channel == "main"
    with pytest.raises(SpecError, match="exists already"):
        write_character(character, out)

    (tmp_path / "mine.yaml").write_text(
        "board: local\nmeters:\n  - name: monsoon\n    meter: monsoon-hvpm\n    rails: {main: main}\n"
        f"    plane: dc_input\n    total: [main]\n    character: {out.name}\n"
    )
    bench = load_bench(tmp_path / "mine.yaml", config_dirs())
    assert bench.meters[0].character == character
    spec = dataclasses.replace(exam_spec(1), meters=bench.meters)
    assert RunSpec.from_json(json.loads(spec.canonical())) == spec


def facts(kind: str, *, update_s: float, window_s: float, tau_s: float = 0.0, **changes: Any) -> Characterisation:
    told: dict[str, Any] = {
        "channel": "main", "kinds": (kind,), "update_s": update_s, "update_u95_s": 1e-5, "window_s": window_s,
        "window_u95_s": 1e-4, "tau_s": tau_s, "tau_u95_s": 1e-4, "delay_s": 0.0, "delay_u95_s": 1e-4, "rise_s": 0.0,
        "rise_u95_s": 0.0, "duty": 1.0, "duty_u95": 0.0,
    } | changes  # fmt: skip
    return Characterisation("S1", "2026-01-01", "coded-load", (ChannelCharacter(**told),))


SLOW = {
    "period_ns": 20_000_000, "tau_ns": 100_000_000, "n": 500, "lead_s": 0.7, "chip_s": 0.25, "bracket_s": 8.0,
    "noise_w": 0.005,
}  # fmt: skip


def test_a_filter_that_the_sheet_does_not_know_is_used_and_flagged(SmallWorld: Any, tmp_path: Path) -> None:
    """Readings remember 0.1 s; the sheet says means of 20 ms. Edges cut into that memory unless somebody says so."""
    serial = SmallWorld(**SLOW)._info().serial
    found = dataclasses.replace(facts("filtered", update_s=0.02, window_s=0.0, tau_s=0.1), serial=serial)
    world = SmallWorld(**SLOW, filtered=True, kind=ReadingKind.MEAN, binding={"character": found})
    result = analyse_run(world.run(tmp_path / "a")).primary
    assert "character_contradicts" in result.flags
    assert result.status is Status.VALID, result.details
    short = SmallWorld(**(SLOW | {"lead_s": 0.2}), filtered=True, kind=ReadingKind.MEAN, binding={"character": found})
    refused = analyse_run(short.run(tmp_path / "b")).primary
    assert refused.reason == InvalidReason.BELOW_RESOLUTION  # five time constants reach beyond the lead-in
    other = dataclasses.replace(found, serial="another")
    foreign = SmallWorld(**SLOW, filtered=True, kind=ReadingKind.MEAN, binding={"character": other})
    assert "character_of_another_unit" in analyse_run(foreign.run(tmp_path / "c")).primary.flags
