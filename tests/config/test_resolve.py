"""Campaigns become RunSpecs; what cannot be measured as written is refused with file, line, value, limit and mend."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from harness.config.bench import load_bench
from harness.config.lookup import config_dirs, find_config
from harness.config.profiles import MARKER_BITS, PROFILES
from harness.core.bench_facts import ChannelAccuracy
from harness.core.errors import SpecError
from harness.core.spec import MeterBinding, RunSpec


def test_a_campaign_resolves(lab: Any, base_campaign: str) -> None:
    specs = lab.resolve(base_campaign + "repetitions: 2\ntags: {room: cellar}\n")
    assert [(s.model.name, s.repetition) for s in specs] == [("a", 0), ("a", 1), ("b", 0), ("b", 1)]
    spec = specs[0]
    assert spec.campaign == "campaign"
    assert spec.bench == "lab"
    assert spec.board.cpus == (2, 3)
    assert spec.board.governor == "performance"
    assert spec.meters == (
        MeterBinding(
            "monsoon", "monsoon", (("main", "main"),), "dc_input", ("main",),
            (("cal_ms", 1250), ("voltage_v", 4.0)),
            accuracy=(ChannelAccuracy("main", None, 0.01, 0.001, source="a book"),),
        ),
    )  # fmt: skip
    assert spec.protocol == PROFILES["quick"]
    assert spec.seed == 3
    assert spec.simulated
    assert spec.tags == (("room", "cellar"),)
    assert RunSpec.from_json(spec.to_json()) == spec


def test_every_form_of_writing_means_the_same(lab: Any) -> None:
    short = lab.resolve("bench: lab\nmodels: zoo:a\nbatch: 1\nprotocol: quick\nruntime: {}\n")
    long = lab.resolve(
        "bench: lab\nname: campaign\nmodels:\n  - model: zoo:a\nbatch: [1]\nprotocol: {profile: quick}\n"
        "runtime: [{name: onnxruntime, threads: 1, spinning: off, optimisation: all}]\nrepetitions: 1\nseed: 1\n"
    )
    assert short == long
    assert short[0].run_id == lab.resolve("bench: lab\nmodels: [zoo:a]\n")[0].run_id


def test_grid_of_models_batches_and_runtimes(lab: Any) -> None:
    specs = lab.resolve(
        "bench: lab\nmodels: [zoo:a, {model: zoo:b, axes: {seq: 32}}]\nbatch: [1, 8]\n"
        "runtime: [{threads: 1}, {threads: 2, spinning: on}]\n"
    )
    found = [(s.model.name, s.model.batch, s.runtime.threads) for s in specs]
    assert found == list(itertools.product("ab", (1, 8), (1, 2)))
    assert specs[-1].model.axes == (("seq", 32),)
    assert specs[-1].runtime.spinning == "on"
    assert len({s.run_id for s in specs}) == 8


def second_bench(lab: Any, base_files: dict[str, str], board: str = "transport: ssh\naddress: pi@two\n") -> None:
    lab.file("boards/two.yaml", board)
    lab.file("benches/other.yaml", base_files["benches/lab.yaml"].replace("board: bench-pc", "board: two"))


def test_several_benches_are_one_more_factor_and_change_no_identity(lab: Any, base_files: dict[str, str]) -> None:
    second_bench(lab, base_files)
    alone = lab.resolve("bench: lab\nmodels: [zoo:a, zoo:b]\nrepetitions: 2\n")
    assert lab.resolve("bench: [lab]\nmodels: [zoo:a, zoo:b]\nrepetitions: 2\n") == alone
    both = lab.resolve("bench: [lab, other]\nmodels: [zoo:a, zoo:b]\nrepetitions: 2\n")
    assert [s.canonical() for s in both if s.bench == "lab"] == [s.canonical() for s in alone]
    assert [(s.model.name, s.repetition) for s in both if s.bench == "other"] == [
        (s.model.name, s.repetition) for s in alone
    ]
    assert {s.board.name for s in both} == {"bench-pc", "two"}
    assert len({s.run_id for s in both}) == 8


def test_two_boards_of_one_name_are_refused(lab: Any, base_files: dict[str, str], tmp_path: Path) -> None:
    second_bench(lab, base_files)
    far = lab.file("elsewhere/two.yaml", "transport: ssh\naddress: pi@three\n")
    lab.file("benches/third.yaml", base_files["benches/lab.yaml"].replace("board: bench-pc", f"board: {far}"))
    refusal = lab.refusal("bench:\n  - other\n  - third\nmodels: [zoo:a]\n")
    assert "two different boards called 'two'" in refusal.message
    assert refusal.line == 3


def test_fields_of_a_profile_are_overridden_one_by_one(lab: Any) -> None:
    (spec,) = lab.resolve(
        "bench: lab\nmodels: [zoo:a]\nprotocol: {profile: standard, gap: dithered, gap_max_s: 0.01, standby_s: 30}\n"
    )
    protocol = spec.protocol
    assert (protocol.gap, protocol.gap_max_s, protocol.standby_s) == ("dithered", 0.01, 30.0)
    assert type(protocol.standby_s) is float  # 30 and 30.0 are the same run
    assert protocol.starts == PROFILES["standard"].starts
    same = lab.resolve(
        "bench: lab\nmodels: [zoo:a]\nprotocol: {profile: standard, gap: dithered, gap_max_s: 0.01, standby_s: 3e1}\n"
    )
    assert same[0].run_id == spec.run_id


def test_marker_is_an_m_sequence() -> None:
    """Its periodic autocorrelation is 31 at no shift and -1 at every other: one lag only fits."""
    chips = [2 * int(bit) - 1 for bit in MARKER_BITS]
    correlation = [sum(a * b for a, b in zip(chips, chips[k:] + chips[:k], strict=True)) for k in range(31)]
    assert correlation == [31] + [-1] * 30


def test_accuracy_of_the_bench_wins_and_is_part_of_the_identity(lab: Any, base_files: dict[str, str]) -> None:
    (before,) = lab.resolve("bench: lab\nmodels: [zoo:a]\n")
    text = base_files["benches/lab.yaml"]
    calibration = "    accuracy: {gain_rel: 0.002, offset_w: 0.0005, source: our lab, calibrated: 2026-03-01}\n"
    lab.file("benches/lab.yaml", text + calibration)
    (after,) = lab.resolve("bench: lab\nmodels: [zoo:a]\n")
    assert after.meters[0].accuracy_rel == 0.002
    assert after.meters[0].accuracy_offset_w == 0.0005
    assert after.tags == (("accuracy:monsoon", "our lab, 2026-03-01"),)
    assert after.run_id != before.run_id


def test_each_channel_carries_its_own_accuracy(lab: Any, base_files: dict[str, str]) -> None:
    text = base_files["benches/lab.yaml"].replace("{main: main}", "{main: main, aux: second}")
    lab.file("benches/lab.yaml", text.replace("dc_input", "rail"))
    (spec,) = lab.resolve("bench: lab\nmodels: [zoo:a]\n")
    assert [(a.channel, a.code, a.gain_rel, a.offset_w) for a in spec.meters[0].accuracy] == [
        ("main", None, 0.01, 0.001), ("aux", None, 0.02, 0.0)
    ]  # fmt: skip
    assert spec.meters[0].accuracy_rel is None


def test_lookup_order(lab: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkout = tmp_path / "checkout"
    (checkout / "device_configs" / "boards").mkdir(parents=True)
    (checkout / "device_configs" / "boards" / "bench-pc.yaml").write_text("{}\n")
    (checkout / "deep" / "down").mkdir(parents=True)
    dirs = config_dirs(lab.configs, start=checkout / "deep" / "down")
    assert dirs[:2] == (lab.configs, checkout / "device_configs")
    assert find_config("boards", "bench-pc", dirs).parent.parent == lab.configs
    assert find_config("boards", "bench-pc", dirs[1:]).parent.parent == checkout / "device_configs"
    assert find_config("boards", "local", dirs).is_file()  # the copy that comes with the program
    assert find_config("boards", "boards/bench-pc.yaml", (), beside=lab.configs).is_file()
    with pytest.raises(SpecError, match="there is no file"):
        find_config("boards", "./nowhere.yaml", dirs)
    with pytest.raises(SpecError, match="is not a directory"):
        config_dirs(tmp_path / "nowhere")


def test_marker_pin_of_the_bench_wins(lab: Any, base_files: dict[str, str]) -> None:
    path = lab.file("benches/lab.yaml", base_files["benches/lab.yaml"] + "marker_pin: /sys/pin\n")
    assert load_bench(path, config_dirs(lab.configs)).board.marker_pin == "/sys/pin"
