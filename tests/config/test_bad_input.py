"""What cannot be measured as written is refused with file, line, value, limit and mend: one case of each kind."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = "bench: lab\nmodels: [zoo:a]\n"

# case: (the campaign, the line that is wrong, what the message says, what the hint says)
REFUSALS = {
    "unknown key": (HEAD + "protocl: quick\n", 3, "unknown key 'protocl' in the campaign", "'protocol'"),
    "unknown key inside": (HEAD + "protocol:\n  standby: 5\n", 4, "unknown key 'standby' in protocol", "'standby_s'"),
    "unknown key of a model": (
        "bench: lab\nmodels:\n  - model: zoo:a\n    axis: {n: 1}\n",
        4,
        "unknown key 'axis' in models[1]",
        "'axes'",
    ),
    "unit in the value": (
        HEAD + "protocol:\n  standby_s: 5 s\n",
        4,
        "protocol.standby_s must be a number, got '5 s'",
        "standby_s: 5",
    ),
    "other unit": (HEAD + "protocol: {standby_s: 2 min}\n", 3, "got '2 min'", "standby_s: 120"),
    "quoted number": (HEAD + 'seed: "3"\n', 3, "seed must be a whole number, got '3' (text)", "without quotes"),
    "fraction": (HEAD + "seed: 1e3\n", 3, "seed must be a whole number, got 1000.0", "1000"),
    "boolean": (HEAD + "batch: [true]\n", 3, "batch[1] must be a whole number, got true", "correct"),
    "list for a word": (HEAD + "name: [lab]\n", 3, "name must be text, got a list of 1", "correct"),
    "no bench": ("bench: []\nmodels: [zoo:a]\n", 1, "bench needs at least 1 entry, got an empty list", "fill it in"),
    "bench twice": ("bench:\n- lab\n- lab\nmodels: [zoo:a]\n", 3, "the bench 'lab' is named twice", "repetitions"),
    "no such second bench": ("bench: [lab, lob]\nmodels: [zoo:a]\n", 1, "there is no bench called 'lob'", "'lab'"),
    "number for a word": ("bench: 3\nmodels: [zoo:a]\n", 1, "bench must be text, got 3", 'quotes: "3"'),
    "nothing": (HEAD + "seed:\n", 3, "seed must be a whole number, got nothing", ""),
    "equal keys": (HEAD + "bench: lab\n", 3, "the key 'bench' stands here and on line 1", "keep one"),
    "missing key": ("models: [zoo:a]\n", 1, "the key 'bench' is missing in the campaign", "bench: ..."),
    "n = 0": (HEAD + "protocol: {inferences: 0}\n", 3, "protocol.inferences must be at least 1, got 0", "limit"),
    "batch 0": (HEAD + "batch: [1, 0]\n", 3, "batch[2] must be at least 1, got 0", "limit"),
    "repetitions 0": (HEAD + "repetitions: 0\n", 3, "repetitions must be at least 1, got 0", "limit"),
    "negative time": (
        HEAD + "protocol:\n  lead_in_s: -1\n",
        4,
        "protocol.lead_in_s must be at least 0, got -1",
        "limit",
    ),
    "infinite time": (HEAD + "protocol:\n  standby_s: .inf\n", 4, "protocol.standby_s", ""),
    "no models": ("bench: lab\nmodels: []\n", 2, "models needs at least 1 entry, got an empty list", "fill it in"),
    "no such bench": ("bench: lob\nmodels: [zoo:a]\n", 1, "there is no bench called 'lob'", "'lab'"),
    "no such model": (
        "bench: lab\nmodels:\n  - zoo:a\n  - missing.onnx\n",
        4,
        "model file missing.onnx does not exist",
        "give a path",
    ),
    "no such profile": (HEAD + "protocol: quik\n", 3, "there is no protocol profile 'quik'", "'quick'"),
    "no such gap": (HEAD + "protocol: {gap: dither}\n", 3, "protocol.gap is 'dither'", "'dithered'"),
    "model twice": (
        "bench: lab\nmodels:\n- zoo:a\n- zoo:b\n- zoo:a\n",
        5,
        "models[3] is the same as models[1]",
        "repetitions",
    ),
    "same model twice": (
        "bench: lab\nmodels:\n- zoo:a\n- {model: zoo:a, axes: {}}\n",
        4,
        "models[2] is the same as models[1]",
        "",
    ),
    "n and time": (
        HEAD + "protocol: {inferences: 100, measure_s: 2}\n",
        3,
        "both inferences and measure_s",
        "keep one",
    ),
    "n below starts": (HEAD + "protocol: {inferences: 3}\n", 3, "3 inferences cannot be shared by 4", "at least 4"),
    "settle limits": (HEAD + "protocol: {settle_max_s: 0.5}\n", 3, "less than settle_min_s 2", "raise"),
    "gap without dither": (HEAD + "protocol: {gap_max_s: 0.01}\n", 3, "no effect", "gap: dithered"),
    "flat marker": (HEAD + "protocol: {marker_bits: '1111111'}\n", 3, "without edges", ""),
    "command runtime": (HEAD + "runtime: {name: command}\n", 3, "needs a command", "command: ["),
    "stray command": (HEAD + "runtime:\n  command: [x]\n", 4, "the runtime is onnxruntime", "name: command"),
    "bad pattern": (HEAD + "runtime:\n  start_pattern: '('\n", 4, "is not a regular expression", ""),
    "unsafe name": (HEAD + "name: ../x\n", 3, "name must match", ""),
    "not a mapping": ("- bench\n", 1, "the campaign must be a mapping", ""),
}


@pytest.mark.parametrize("case", REFUSALS, ids=lambda c: c.replace(" ", "-"))
def test_bad_campaigns(lab: Any, case: str) -> None:
    text, line, says, mend = REFUSALS[case]
    error = lab.refusal(text)
    assert error.exit_code == 2
    assert error.file == str(lab.root / "campaign.yaml")
    assert error.line == line
    assert says in error.message
    assert mend in error.hint
    assert "\n" not in error.message, "one thing is wrong: one line says so"


BENCH_REFUSALS = {
    "meter not there": ("meter: hvpm", "meter: hvpn", 4, "there is no meter called 'hvpn'", "'hvpm'"),
    "board not there": ("board: bench-pc", "board: bench-pd", 1, "there is no board called 'bench-pd'", "'bench-pc'"),
    "channel not there": ("{main: main}", "{mian: main}", 5, "the meter hvpm has no channel 'mian'", "'main'"),
    "plane": ("dc_input", "wall", 6, "cannot tap the plane 'wall'", "dc_input"),
    "unknown plane": ("dc_input", "input", 6, "meters[1].plane is 'input'", "'dc_input'"),
    "total": ("total: [main]", "total: [mean]", 7, "counts the rail 'mean'", "'main'"),
    "total twice": ("total: [main]", "total: [main, main]", 7, "stands twice in total", "doubles"),
    "total missing": ("    total: [main]\n", "", 3, "the key 'total' is missing in meters[1]", "total: ..."),
    "option of a list": ("{voltage_v: 4.0}", "{voltage_v: [4.0]}", 8, "meters[1].options.voltage_v", ""),
    "unknown key": ("plane:", "tap:", 3, "also line 6: unknown key 'tap' in meters[1]", "plane: ..."),
}


@pytest.mark.parametrize("case", BENCH_REFUSALS, ids=lambda c: c.replace(" ", "-"))
def test_bad_benches(lab: Any, base_files: dict[str, str], case: str) -> None:
    old, new, line, says, mend = BENCH_REFUSALS[case]
    text = base_files["benches/lab.yaml"]
    assert old in text
    path = lab.file("benches/lab.yaml", text.replace(old, new))
    error = lab.refusal(HEAD)
    assert error.file == str(path)
    assert error.line == line
    assert says in error.message
    assert mend in error.hint


def test_two_meters_of_one_name_and_one_rail_twice(lab: Any, base_files: dict[str, str]) -> None:
    text = base_files["benches/lab.yaml"]
    lab.file("benches/lab.yaml", text + text[text.index("  - name") :])
    assert "two meters are called 'monsoon'" in lab.refusal(HEAD).message
    doubled = text.replace("{main: main}", "{main: main, aux: main}").replace("dc_input", "rail")
    lab.file("benches/lab.yaml", doubled)
    assert "the rail 'main' stands twice in rails" in lab.refusal(HEAD).message


def test_driver_that_is_not_installed(lab: Any, base_files: dict[str, str]) -> None:
    path = lab.file("meters/hvpm.yaml", base_files["meters/hvpm.yaml"].replace("driver: monsoon", "driver: monson"))
    error = lab.refusal(HEAD)
    assert (error.file, error.line) == (str(path), 1)
    assert "no meter driver named 'monson' is installed (there are " in error.message
    assert "'monsoon'" in error.hint


def test_several_errors_are_told_at_once(lab: Any) -> None:
    error = lab.refusal(HEAD + "seed: x\nprotocl: quick\nbatch: [0]\n")
    assert error.line == 3
    assert "also line 4: unknown key 'protocl'" in error.message
    assert "also line 5: batch[1] must be at least 1, got 0" in error.message
