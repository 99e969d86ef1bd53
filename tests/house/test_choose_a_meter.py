"""The page that tells which meter to take: every meter file is in it, and its figures are those of the files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness.config.bench import load_meter

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/howto/choose-a-meter.md").read_text("utf-8")
EXAM = (ROOT / "docs/exam.md").read_text("utf-8").split("## What it said")[1]
FILES = sorted((ROOT / "device_configs/meters").glob("*.yaml"))
PAGE_OF = {"pi5-pmic": "pi5-pmic", "monsoon-serial": "monsoon"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_meter_file_has_a_row(path: Path) -> None:
    driver = load_meter(path)[1].driver
    assert f"../meters/{PAGE_OF.get(driver, driver)}.md" in PAGE
    if driver == "visa":
        assert path.stem.upper() in PAGE.upper(), f"{path.stem} is not in docs/howto/choose-a-meter.md"


@pytest.mark.parametrize(
    ("name", "said"),
    [("monsoon-hvpm", "1 %"), ("joulescope", "1 %"), ("ppk2", "12 %"), ("rapl", "5 % package"), ("nvml", "10 %"),
     ("tegrastats-nano", "5 %"), ("battery", "5 %")],
)  # fmt: skip
def test_limits_are_those_of_the_meter_files(name: str, said: str) -> None:
    _, file = load_meter(ROOT / f"device_configs/meters/{name}.yaml")
    gains = {a.gain_rel for c in file.channels.values() for a in c.accuracy or ()}
    percent = float(said.split()[0]) / 100
    assert any(abs(gain - percent) < 1e-9 for gain in gains), f"{name}: the page says {said}, the file {sorted(gains)}"
    driver = file.driver
    row = next(line for line in PAGE.splitlines() if line.startswith("| [") and f"meters/{driver}.md" in line)
    assert said in row


def test_figures_of_the_exam_are_those_of_its_page() -> None:
    table = PAGE[PAGE.index("| Simulated meter |") :]
    for line in [row for row in table.splitlines() if row.startswith("| `")]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`([\w-]+)`", cells[0]):
            theirs = next(row for row in EXAM.splitlines() if row.startswith(f"| `{name}` |"))
            median, apart, below = (cell.split(",")[0].strip() for cell in theirs.strip("|").split("|")[1:4])
            assert median in cells[2]
            assert apart in cells[3]
            assert below in cells[4]
