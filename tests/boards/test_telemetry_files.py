"""Which files of a board tell how warm it is and how fast it runs, and what the agent's sampler makes of them."""

from __future__ import annotations

import errno
import time
from pathlib import Path

import numpy as np
import pytest

from harness.boards.local import LocalBoard
from harness.boards.state.files import LocalFiles
from harness.boards.telemetry import MOST_OF_A_KIND, PATTERNS, SampledTelemetry, telling_files
from harness.core.ports import RawSamples
from harness.core.spec import BoardSpec
from harness.core.telemetry import TelemetryKind

POLICIES = "/sys/devices/system/cpu/cpufreq"
PI = {
    "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "/sys/class/thermal/thermal_zone0/temp": "48312\n",
    f"{POLICIES}/policy0/scaling_cur_freq": "1500000\n",
    f"{POLICIES}/policy0/scaling_max_freq": "2400000\n",
    f"{POLICIES}/policy0/related_cpus": "0 1 2 3\n",
    "/sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "/sys/class/thermal/cooling_device0/cur_state": "2\n",
    "/sys/class/thermal/cooling_device1/type": "cpufreq-cpu0\n",
    "/sys/class/thermal/cooling_device1/cur_state": "0\n",
    "/sys/devices/platform/soc@107c000000/firmware/get_throttled": "50005\n",
}
JETSON = {
    "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "/sys/class/thermal/thermal_zone0/temp": "48312\n",
    "/sys/class/thermal/thermal_zone10/type": "tj-thermal\n",
    "/sys/class/thermal/thermal_zone10/temp": "49000\n",
    "/sys/class/thermal/thermal_zone9/type": "cv0-thermal\n",
    "/sys/class/thermal/thermal_zone9/temp": "",  # refuses while the engine is off
    "/sys/class/devfreq/17000000.gpu/cur_freq": "306000000\n",
    "/sys/class/devfreq/17000000.gpu/max_freq": "624750000\n",
}
AMD = {
    "/sys/class/hwmon/hwmon2/name": "k10temp\n",
    "/sys/class/hwmon/hwmon2/temp1_input": "61500\n",
    "/sys/class/hwmon/hwmon2/temp1_label": "Tctl\n",
}


def planted(root: Path, files: dict[str, str]) -> Path:
    for path, text in files.items():
        target = root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="ascii")
    return root


def channels(root: Path, cpus: tuple[int, ...] = ()) -> list[tuple[str, str]]:
    return [(str(t.channel.kind), t.channel.name) for t in telling_files(LocalFiles(root).read(PATTERNS), cpus)]


def test_a_pi_tells_heat_pace_and_limits_and_its_fan_is_none_of_them(tmp_path: Path) -> None:
    assert channels(planted(tmp_path, PI)) == [
        ("temperature_c", "thermal_zone0 cpu-thermal"),
        ("frequency_hz", "policy0"),
        ("frequency_limit_hz", "policy0"),
        ("cooling_state", "cooling_device1 cpufreq-cpu0"),
        ("firmware_limits", "get_throttled"),
    ]


def test_a_jetsons_graphics_and_zones_that_answer(tmp_path: Path) -> None:
    assert channels(planted(tmp_path, JETSON)) == [
        ("temperature_c", "thermal_zone0 cpu-thermal"),
        ("temperature_c", "thermal_zone10 tj-thermal"),
        ("frequency_hz", "17000000.gpu"),
        ("frequency_limit_hz", "17000000.gpu"),
    ]


def test_sensors_of_chips_where_there_are_no_zones(tmp_path: Path) -> None:
    assert channels(planted(tmp_path, AMD)) == [("temperature_c", "hwmon2 k10temp Tctl")]


def test_of_many_cores_those_that_infer_and_no_more_than_a_few(tmp_path: Path) -> None:
    for cpu in range(64):
        planted(
            tmp_path,
            {
                f"{POLICIES}/policy{cpu}/scaling_cur_freq": "1000000\n",
                f"{POLICIES}/policy{cpu}/related_cpus": f"{cpu}\n",
                f"/sys/devices/system/cpu/cpu{cpu}/thermal_throttle/core_throttle_count": "0\n",
            },
        )
    chosen = channels(tmp_path, (40, 41))
    assert [name for kind, name in chosen if kind == "frequency_hz"] == ["policy40", "policy41"]
    assert [name.split()[0] for kind, name in chosen if kind == "throttle_count"] == ["cpu40", "cpu41"]
    assert len(channels(tmp_path, tuple(range(64)))) == 2 * MOST_OF_A_KIND


class Read:
    """A sampler that has read these passes."""

    def __init__(self, *rows: tuple[bytes | int, ...]) -> None:
        times = np.arange(len(rows), dtype=np.int64) * 1_000_000_000
        self.samples = RawSamples(times, times + 400, rows, {})

    def take(self) -> RawSamples:
        return self.samples


def test_values_are_si_and_what_was_not_read_is_not_zero(tmp_path: Path) -> None:
    told = telling_files(LocalFiles(planted(tmp_path, PI)).read(PATTERNS), ())
    sampler = Read(
        (b"48312\n", b"1500000\n", b"2400000\n", b"0\n", b"50005\n"), (errno.EAGAIN, b"", b"?", b"1\n", errno.EIO)
    )
    source = SampledTelemetry(sampler, told, clock="board:pi")  # type: ignore[arg-type]
    found = source.take()
    assert found is not None and found.clock == "board:pi"
    np.testing.assert_array_equal(found.t_ns, [200, 1_000_000_200])  # the middle of a pass
    np.testing.assert_allclose(found.values[0], [48.312, 1.5e9, 2.4e9, 0.0, 0x50005])
    np.testing.assert_array_equal(np.isnan(found.values[1]), [True, True, True, False, True])


@pytest.mark.realtime
def test_the_agents_sampler_follows_the_files(tmp_path: Path) -> None:
    tree = planted(tmp_path / "tree", PI)
    board = LocalBoard("pi", lambda spec: pytest.fail("no model"), directory=tmp_path / "agents", root=tree)
    source = board.start_telemetry(BoardSpec("pi"), 0.05, lease_s=30.0)
    assert source is not None
    try:
        time.sleep(0.5)
        planted(tree, {"/sys/class/thermal/thermal_zone0/temp": "51000\n"})
        time.sleep(0.5)
        found = source.stop()
        cost = source.cost()
    finally:
        source.close()
        board.close()
    assert found is not None
    _, celsius = found.of(TelemetryKind.TEMPERATURE_C)
    assert celsius[0, 0] == 48.312 and celsius[-1, 0] == 51.0
    assert 10 <= len(found.t_ns) <= 25 and np.all(np.diff(found.t_ns) > 0)
    assert cost["cpu_s"] < 1.0


def test_a_board_that_tells_nothing_starts_no_sampler(tmp_path: Path) -> None:
    board = LocalBoard("bare", lambda spec: pytest.fail("no model"), directory=tmp_path / "agents", root=tmp_path / "x")
    assert board.start_telemetry(BoardSpec("bare"), 1.0, lease_s=30.0) is None
    board.close()
