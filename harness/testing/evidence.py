"""What each driver that we ship was tested on that its own author did not make up: one place, held by a house test.

`files`: in this repository. `from_device`: they hold bytes or text that a device, or its vendor's tool, gave; else
examples of datasheets and published formats, or a stand-in that `words` owns up to.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Evidence:
    """`words`: what it is, for the table."""

    words: str
    files: tuple[str, ...]
    from_device: bool = True


EVIDENCE = {
    "battery": Evidence(
        "units and attributes of the kernel's documentation; no capture of a battery yet",
        ("tests/drivers/battery/test_battery.py",),
        from_device=False,
    ),
    "ina219": Evidence(
        "the datasheet's examples, vectors of the protocol, and the shipped firmware run in a simulator",
        ("tests/drivers/ina219/test_ina219_vectors.py", "tests/firmware"),
        from_device=False,
    ),
    "ina219-text": Evidence(
        "line formats of six published sketches; numbers typed in",
        ("tests/drivers/ina219-text/data", "tests/drivers/ina219-text/test_ina219_text_vectors.py"),
        from_device=False,
    ),
    "ina2xx": Evidence(
        "figures of the datasheets and of the kernel's sources",
        ("tests/drivers/ina2xx/test_ina2xx_vectors.py",),
        from_device=False,
    ),
    "joulescope": Evidence(
        "fields of the maker's own package, checked against the source of its binding; no message of an instrument yet",
        ("tests/drivers/joulescope/test_joulescope_vectors.py",),
        from_device=False,
    ),
    "monsoon": Evidence(
        "a simulated second, which the vendor's own library reads alike",
        ("tests/drivers/monsoon/data/hvpm-1s.bin", "tests/drivers/monsoon/test_monsoon_official.py"),
        from_device=False,
    ),
    "monsoon-serial": Evidence(
        "frames and formulas of three published hosts; no capture of a unit yet",
        ("tests/drivers/monsoon-serial/test_serial_lvpm_vectors.py",),
        from_device=False,
    ),
    "nvidia-smi": Evidence(
        "logs of six cards (schemas v10 to v13), published rows and words, a captured CSV",
        ("tests/drivers/nvidia-smi/data", "tests/drivers/nvidia-smi/test_nvidia_smi_log.py"),
    ),
    "nvml": Evidence(
        "numbers and layouts of NVIDIA's own Python binding; no recording of a library yet",
        ("tests/drivers/nvml/test_nvml_vectors.py",),
        from_device=False,
    ),
    "pi5-pmic": Evidence(
        "published lines of vcgencmd pmic_read_adc",
        ("tests/drivers/pmic/data/lines.txt", "tests/drivers/pmic/test_pmic.py"),
    ),
    "ppk2": Evidence(
        "a real unit's calibration, published with ppk2-rs; currents are those of the unmodified package ppk2-api",
        ("tests/drivers/ppk2/data/ppk2-hw9173-metadata.txt", "tests/drivers/ppk2/test_ppk2.py"),
    ),
    "rapl": Evidence(
        "powercap trees of an i5-13500 and of procfs's test fixtures",
        ("tests/drivers/rapl/data/powercap__i5-13500.txt", "tests/drivers/rapl/data/procfs_powercap.ttar"),
    ),
    "replay": Evidence(
        "a table exported from a simulated bench",
        ("tests/drivers/replay/data", "tests/drivers/replay/test_replay.py"),
        from_device=False,
    ),
    "visa": Evidence(
        "answers on record of a WT310 and a DP832A, examples of manuals; no capture of an instrument yet",
        ("tests/drivers/visa/test_visa_vectors.py",),
        from_device=False,
    ),
    "tegrastats": Evidence(
        "published lines of every board from TX1 to Thor",
        ("tests/drivers/tegrastats/data/lines.txt", "tests/drivers/tegrastats/test_tegrastats_lines.py"),
    ),
}
