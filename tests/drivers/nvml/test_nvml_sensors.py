"""What is known of a GPU's sensor: classes by architecture and name, the table, kernels, and how often to ask."""

from __future__ import annotations

import pytest

from drivers.nvidia.description import beat_of, channels_of, kernel_of
from drivers.nvidia.gpus import Gpu
from drivers.nvidia.options import nvml_options, smi_options
from drivers.nvidia.products import UNKNOWN, gpu_class
from drivers.nvidia.sensors import SENSORS, field_behind, reading_of, sensor_of
from drivers.nvidia.timing import timing_of
from harness.core.errors import SpecError
from harness.core.trace import ReadingKind

MS = 1_000_000


@pytest.mark.parametrize(
    ("name", "architecture", "kind"),
    [
        ("NVIDIA A100-SXM4-40GB", 7, "ga100"),
        ("NVIDIA A30", 7, "ga100"),
        ("NVIDIA A10G", 7, "ampere"),
        ("NVIDIA GeForce RTX 3090", "Ampere", "ampere"),
        ("NVIDIA RTX A6000", "Ampere", "ampere"),
        ("NVIDIA A100-PCIE-40GB", None, "ga100"),
        ("NVIDIA H100 80GB HBM3", 9, "hopper"),
        ("NVIDIA GeForce RTX 4090", "Ada Lovelace", "ada"),
        ("NVIDIA B200", 10, "blackwell"),
        ("Tesla P100-PCIE-16GB", 4, "gp100"),
        ("Quadro P400", None, "pascal"),
        ("GeForce GTX 1070 Ti", None, "pascal"),
        ("Tesla V100-SXM2-16GB", 5, "volta"),
        ("Tesla T4", "Turing", "turing"),
        ("Quadro RTX 4000", None, "turing"),
        ("GeForce RTX 2080 Ti", None, "turing"),
        ("Tesla K40m", None, "kepler"),
        ("Tesla M40", None, "maxwell"),
        ("NVIDIA R9000", 13, UNKNOWN),
        ("NVIDIA GeForce RTX 3090", 99, UNKNOWN),  # what NVML says counts, also where it says something new
        ("NVIDIA R9000", None, UNKNOWN),
        ("", "Vera", UNKNOWN),
    ],
)
def test_the_class_of_a_gpu(name: str, architecture: str | int | None, kind: str) -> None:
    assert gpu_class(name, architecture) == kind


@pytest.mark.parametrize(
    ("kind", "field", "reading", "window_ms"),
    [
        ("ga100", "power", ReadingKind.PART_TIME, 25),  # the only Ampere whose power.draw is no average
        ("ga100", "instant", ReadingKind.PART_TIME, 25),
        ("hopper", "instant", ReadingKind.PART_TIME, 25),
        ("hopper", "power", ReadingKind.OVERLAPPING, 1000),
        ("ampere", "power", ReadingKind.OVERLAPPING, 1000),
        ("ampere", "instant", ReadingKind.MEAN, 100),
        ("blackwell", "average", ReadingKind.OVERLAPPING, 1000),
        ("volta", "power", ReadingKind.PART_TIME, 10),
        ("turing", "power", ReadingKind.MEAN, 100),
        ("kepler", "power", ReadingKind.FILTERED, 0),
    ],
)
def test_the_kernel_of_a_field(kind: str, field: str, reading: ReadingKind, window_ms: int) -> None:
    sensor = sensor_of(kind, field)
    assert sensor.known and sensor.source
    found = reading_of(sensor, period_ns=round(sensor.update_ms * MS), follows=True)
    assert (found.kind, found.window_ns) == (reading, window_ms * MS)
    assert found.kind is not ReadingKind.POINT


@pytest.mark.parametrize(
    ("kind", "field"),
    [(UNKNOWN, "power"), (UNKNOWN, "instant"), ("blackwell", "instant"), ("ampere", "module"), ("turing", "average")],
)
def test_what_no_row_has_is_unknown_and_never_a_point_or_a_mean(kind: str, field: str) -> None:
    sensor = sensor_of(kind, field)
    assert not sensor.known and sensor.duty == 0.25
    for follows, period_ns in ((True, 100 * MS), (False, 500 * MS)):
        assert reading_of(sensor, period_ns=period_ns, follows=follows).kind is ReadingKind.PART_TIME


def test_a_window_shorter_than_the_time_between_polls_is_a_part_of_it() -> None:
    whole = reading_of(sensor_of("ampere", "instant"), period_ns=500 * MS, follows=False)
    assert (whole.kind, whole.period_ns, whole.window_ns) == (ReadingKind.PART_TIME, 500 * MS, 100 * MS)
    second = reading_of(sensor_of("ampere", "average"), period_ns=2000 * MS, follows=False)
    assert (second.kind, second.window_ns) == (ReadingKind.PART_TIME, 1000 * MS)


def test_a_sensor_beside_a_slower_one_is_read_at_that_ones_beat() -> None:
    """A V100 (10 ms of every 20) beside an A100: its rows come every 100 ms, of which they saw a tenth, not half."""
    gpus = (Gpu(0, "GPU-a", "Tesla V100-SXM2-16GB", 5), Gpu(1, "GPU-b", "NVIDIA A100-SXM4-40GB", 7))
    options = nvml_options({})
    channels = channels_of([(gpu, "power") for gpu in gpus], options)
    timing = beat_of(channels, options, driver="nvml", option="poll_ms", shortest_ms=4.0)
    volta, ampere = (kernel_of(channel, timing) for channel in channels)
    assert (volta.kind, volta.period_ns, volta.window_ns) == (ReadingKind.PART_TIME, 100 * MS, 10 * MS)
    assert (ampere.kind, ampere.period_ns, ampere.window_ns) == (ReadingKind.PART_TIME, 100 * MS, 25 * MS)
    whole = reading_of(sensor_of("ampere", "instant"), period_ns=300 * MS, follows=True)
    assert whole.kind is ReadingKind.PART_TIME


def test_every_row_says_who_says_so() -> None:
    for (kind, field), sensor in SENSORS.items():
        assert sensor.source, (kind, field)
        assert "2312.02741" in sensor.source or "assumed" in sensor.source or "help text" in sensor.source
        assert field_behind(kind, field) == field


def test_options_take_the_place_of_the_table() -> None:
    options = nvml_options({"update_ms": 50, "window_ms": 50})
    sensor = options.sensor.over(sensor_of(UNKNOWN, "power"))
    assert sensor.known and sensor.source == "declared by options of this meter"
    assert reading_of(sensor, period_ns=50 * MS, follows=True).kind is ReadingKind.MEAN
    half = nvml_options({"window_ms": 50}).sensor.over(sensor_of(UNKNOWN, "power"))
    assert not half.known and half.window_ms == 50
    filtered = nvml_options({"update_ms": 15, "tau_ms": 300}).sensor.over(sensor_of("kepler", "power"))
    assert filtered.known and reading_of(filtered, period_ns=15 * MS, follows=True).tau_ns == 300 * MS


def test_registers_are_asked_much_oftener_than_they_are_written_or_seldom() -> None:
    def beat(update: str, poll_ms: float = 0.0, shortest_ms: float = 4.0) -> tuple[float, bool]:
        timing = timing_of(
            [sensor_of(update, "power")], poll_ms, driver="nvml", option="poll_ms", shortest_ms=shortest_ms
        )
        return timing.poll_ns / MS, timing.follows

    assert beat("ga100") == (20.0, True)
    assert beat("volta") == (4.0, True)
    assert beat("volta", shortest_ms=20.0) == (24.0, False)
    assert beat("turing", 250.0) == (250.0, False)
    assert beat("turing", 30.0) == (30.0, True)
    with pytest.raises(SpecError, match="missed and some read twice") as caught:
        beat("turing", 100.0)
    assert "33.3" in caught.value.hint and "115" in caught.value.hint
    counters = timing_of([], 0.0, driver="nvml", option="poll_ms", shortest_ms=4.0)
    assert counters.poll_ns == 20 * MS


@pytest.mark.parametrize(
    "options",
    [
        {"poll": 3},
        {"poll_ms": -1},
        {"poll_ms": 0.5},
        {"poll_ms": "fast"},
        {"library": ""},
        {"library": "a b"},
        {"frozen_s": 0},
        {"max_power_w": float("nan")},
        {"cuda_order": "bus"},
        {"window_ms": 0},
        {"unit": "W"},
    ],
)
def test_wrong_options_are_refused(options: dict[str, str | float]) -> None:
    with pytest.raises(SpecError):
        nvml_options(options)
    with pytest.raises(SpecError):
        smi_options({**options, "library": "x"})
