"""The fake nvidia-smi: what the real one's manual page, help text and published logs say that it prints."""

from __future__ import annotations

import subprocess
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.simulated.nvidia.build import missing
from drivers.simulated.nvidia.machine import Feeder, GpuSpec, MigSpec, NvidiaMachine
from drivers.simulated.nvidia.sensor import Errors
from drivers.simulated.nvidia.smi.program import ENDS, LOOP_DEFECT

pytestmark = pytest.mark.skipif(missing() != "", reason=f"needs {missing()}")


def _machine(root: Path, *products: str, driver: str = "550.54.14", **how: Any) -> NvidiaMachine:
    specs = [GpuSpec(p, lambda t_s: 123.456 * t_s, Errors(phase=0.0), **how) for p in products]
    machine = NvidiaMachine(root, specs, driver_version=driver)
    machine.state.smi_first_ms = 0
    machine.advance(2.0)
    return machine


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NvidiaMachine]:
    made = _machine(tmp_path_factory.mktemp("gpus"), "a100", "rtx3090")
    yield made
    made.close()


def run(machine: NvidiaMachine, *words: str) -> tuple[int, list[str]]:
    done = subprocess.run([str(machine.program), *words], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def query(machine: NvidiaMachine, fields: str, *more: str, form: str = "csv") -> tuple[int, list[str]]:
    return run(machine, f"--query-gpu={fields}", f"--format={form}", *more)


def test_header_keeps_its_units_when_values_have_none(machine: NvidiaMachine) -> None:
    assert query(machine, "index,power.draw,clocks.sm,temperature.gpu,utilization.gpu") == (0, [
        "index, power.draw [W], clocks.current.sm [MHz], temperature.gpu, utilization.gpu [%]",
        "0, 123.46 W, 1269 MHz, 41, 87 %",
        "1, 123.46 W, 1890 MHz, 41, 87 %",
    ])  # fmt: skip
    assert query(machine, "index,power.draw", form="csv,nounits")[1][:2] == ["index, power.draw [W]", "0, 123.46"]
    assert query(machine, "power.draw.average,fan.speed", form="csv,noheader")[1] == [
        "[N/A], [N/A]", "123.46 W, 30 %"]  # fmt: skip


def test_which_gpus(machine: NvidiaMachine) -> None:
    uuid = machine.gpus[1].uuid
    for word in ("1", uuid, "00000000:02:00.0", "0000:02:00.0"):
        assert query(machine, "index", "-i", word, form="csv,noheader") == (0, ["1"]), word
    assert query(machine, "index", "-i", "0", form="csv,noheader") == (0, ["0"])
    assert query(machine, "index", "-i", "7") == (6, ["No devices were found"])
    _, listed = run(machine, "-L")
    assert listed[1] == f"GPU 1: NVIDIA GeForce RTX 3090 (UUID: {uuid})"


def test_wrong_words(machine: NvidiaMachine) -> None:
    code, said = query(machine, "index,power.drawn")
    assert (code, said[0]) == (2, 'Field "power.drawn" is not a valid field to query.')
    assert run(machine, "--query-gpu=index")[0] == 2
    assert run(machine, "--no-such-thing")[0] == 2
    _, said = run(machine, "--help-query-gpu")
    assert '"power.draw.instant" or "gpu.power.draw.instant"' in said


def test_an_old_driver_lacks_fields_and_has_other_words(tmp_path: Path) -> None:
    old = _machine(tmp_path, "gtx745", driver="418.43")
    assert query(old, "power.draw.instant")[0] == 2
    assert query(old, "power.draw", form="csv,noheader") == (0, ["[Not Supported]"])


def test_loop(machine: NvidiaMachine) -> None:
    with subprocess.Popen(
        [str(machine.program), "--query-gpu=timestamp,index,power.draw", "--format=csv", "-lms", "10"],
        stdout=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(7)]
        process.terminate()
    assert lines[0].startswith("timestamp, ")
    assert [line.split(", ")[1] for line in lines[1:]] == ["0", "1"] * 3


def test_loop_faults(machine: NvidiaMachine) -> None:
    try:
        machine.state.smi_fault, machine.state.smi_after = ENDS, 3
        code, lines = query(machine, "index,power.draw", "-lms", "5", "-i", "0")
        assert (code, len(lines), lines[-1][:20]) == (255, 5, "Unable to determine ")
        machine.state.smi_fault, machine.state.smi_after = LOOP_DEFECT, 1
        with subprocess.Popen(
            [str(machine.program), "--query-gpu=index,power.draw", "--format=csv,noheader", "-lms", "5", "-i", "0"],
            stdout=subprocess.PIPE, text=True,
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert [process.stdout.readline() for _ in range(2)] == ["0, 123.46 W\n", "0, [Unknown Error]\n"]
            process.terminate()
        assert query(machine, "power.draw", "-i", "0", form="csv,noheader")[1] == ["123.46 W"]
    finally:
        machine.state.smi_fault = 0


@pytest.mark.parametrize(
    ("code", "word"), [(3, "[N/A]"), (4, "[Insufficient Permissions]"), (15, "[GPU is lost]"), (999, "[Unknown Error]")]
)
def test_words_for_no_value(machine: NvidiaMachine, code: int, word: str) -> None:
    machine.gpus[0].fail("power", code)
    assert query(machine, "power.draw", form="csv,noheader")[1] == [word, "123.46 W"]
    machine.gpus[0].mend("power")


def test_lost_and_gone(tmp_path: Path) -> None:
    machine = _machine(tmp_path, "t4", "t4")
    machine.gpus[0].lose()
    code, said = query(machine, "power.draw")
    assert (code, said) == (15, [
        "Unable to determine the device handle for GPU0000:01:00.0: GPU is lost.  Reboot the system to recover this GPU"
    ])  # fmt: skip
    machine.gpus[0].vanish()
    assert query(machine, "index", form="csv,noheader") == (0, ["0"])
    machine.gpus[1].vanish()
    assert query(machine, "index") == (6, ["No devices were found"])


def test_no_driver(tmp_path: Path) -> None:
    machine = _machine(tmp_path, "t4")
    for code, exit_code, begin in ((9, 9, "NVIDIA-SMI has failed because it couldn't communicate"),
                                   (18, 18, "Failed to initialize NVML: Driver/library version mismatch"),
                                   (999, 255, "Failed to initialize NVML: Unknown Error")):  # fmt: skip
        machine.refuse_to_start(code)
        done, said = run(machine)
        assert done == exit_code
        assert said[0].startswith(begin)


@pytest.mark.parametrize(
    ("driver", "schema", "path"),
    [
        ("515.105.01", "v11", "power_readings/power_draw"),
        ("536.40", "v12", "gpu_power_readings/power_draw"),
        ("550.54.14", "v12", "gpu_power_readings/average_power_draw"),
        ("595.58.03", "v13", "gpu_power_readings/instant_power_draw"),
    ],
)
def test_xml(tmp_path: Path, driver: str, schema: str, path: str) -> None:
    machine = _machine(tmp_path, "rtx3090", driver=driver)
    code, lines = run(machine, "-q", "-x")
    assert code == 0
    assert f"nvsmi_device_{schema}.dtd" in lines[1]
    gpu = ElementTree.fromstring("\n".join(lines)).find("gpu")
    assert gpu is not None
    assert gpu.findtext(path) == "123.46 W"
    assert gpu.findtext("uuid") == machine.gpus[0].uuid


def test_mig_list_and_table(tmp_path: Path) -> None:
    machine = _machine(tmp_path, "a100", mig=[MigSpec()])
    _, listed = run(machine, "-L")
    assert listed[1].startswith("  MIG 1g.5gb      Device  0: (UUID: MIG-")
    assert query(machine, "utilization.gpu,mig.mode.current", form="csv,noheader")[1] == ["[N/A], Enabled"]
    machine.gpus[0].fail("power", 999)
    assert any("ERR! / 400W" in line for line in run(machine)[1])


def test_settings(tmp_path: Path) -> None:
    machine = _machine(tmp_path, "a100", "k40")
    fields = "persistence_mode,power.limit,clocks.sm,clocks.applications.graphics,compute_mode"
    bus = "00000000:01:00.0"
    assert run(machine, "-i", "0", "-pm", "1") == (0, [f"Enabled persistence mode for GPU {bus}.", "All done."])
    assert run(machine, "-i", "0", "-pl", "250")[1][0] == (
        f"Power limit for GPU {bus} was set to 250.00 W from 400.00 W."
    )
    assert run(machine, "-i", "0", "-lgc", "600,705")[0] == 0
    assert run(machine, "-i", "0", "-ac", "1215,900")[0] == 0
    assert run(machine, "-i", "0", "-c", "EXCLUSIVE_PROCESS")[0] == 0
    assert query(machine, fields, form="csv,noheader")[1][0] == "Enabled, 250.00 W, 705 MHz, 900 MHz, Exclusive_Process"
    assert run(machine, "-i", "0", "-pl", "5")[0] == 2
    code, said = run(machine, "-i", "1", "-lgc", "600")
    assert (code, said[1:]) == (0, ["Treating as warning and moving on.", "All done."])
    for words in (["-pm", "0"], ["-rgc"], ["-rac"], ["-pl", "400"], ["-c", "0"]):
        assert run(machine, "-i", "0", *words)[0] == 0
    assert query(machine, fields, form="csv,noheader")[1][0] == "Disabled, 400.00 W, 1269 MHz, 1410 MHz, Default"
    machine.gpus[0].fail("settings", 4)
    code, said = run(machine, "-i", "0", "-pm", "1")
    assert (code, said[0].startswith("The current user does not have permission")) == (4, True)


@pytest.mark.realtime
def test_feeder_moves_the_machine(tmp_path: Path) -> None:
    machine = _machine(tmp_path, "v100")
    feeder = Feeder(machine)
    try:
        before = machine.state.gpus[0].energy_mj
        feeder._stop.wait(0.2)
        assert machine.state.gpus[0].energy_mj != before
    finally:
        feeder.close()
