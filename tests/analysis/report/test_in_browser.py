"""Pages opened in a real browser: nothing is wrong on its console, the trace draws, zooms and answers.

Skipped without Chromium (package `chromium`).
"""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.report.campaign import load_campaign, write_campaign_report
from analysis.report.material import Material
from analysis.report.run_page import run_page

MakeMaterial = Callable[..., Material]
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium")

DRIVE = """
<script>
window.addEventListener("load", () => requestAnimationFrame(() => requestAnimationFrame(() => {
  const said = {}, figure = document.querySelector("figure.trace"), trace = figure.trace, canvas = trace.canvas;
  const box = canvas.getBoundingClientRect(), width = () => trace.b - trace.a, whole = trace.d.seconds;
  const at = (x) => ({ clientX: box.left + x * box.width, clientY: box.top + 100, bubbles: true, cancelable: true });
  said.whole = Math.abs(width() - whole) < 1e-9;
  canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: -240, ...at(0.5) }));
  said.wheel = width() / whole;
  const before = trace.a;
  canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
  said.arrow = (trace.a - before) / width();
  canvas.dispatchEvent(new KeyboardEvent("keydown", { key: "0" }));
  said.home = width() / whole;
  figure.querySelector("button[data-do=in]").click();
  said.button = width() / whole;
  trace.show("inference"); trace.paint();
  said.resolution = trace.resolution.textContent;
  trace.hover = (trace.a + trace.b) / 2; trace.paint();
  said.readout = trace.readout.textContent;
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  const colour = (_, k) => pixels.slice(4 * k, 4 * k + 3).join();
  said.colours = new Set(Array.from({ length: pixels.length / 4 }, colour)).size;
  const table = document.querySelector("table.layers");
  if (table) {
    const energies = () => [...table.tBodies[0].rows].map((r) => Number(r.dataset.energy));
    table.querySelector("button[data-key=energy]").click();
    said.sorted = energies();
    table.querySelector("button[data-key=order]").click();
    said.order = [...table.tBodies[0].rows].map((r) => Number(r.dataset.order));
  }
  document.documentElement.dataset.said = JSON.stringify(said);
})));
</script></body>"""


def opened(page: Path, profile: Path, *, fragment: str = "", flags: tuple[str, ...] = ()) -> str:
    """The document as the browser has it after its scripts ran; fails on anything said on its console."""
    assert BROWSER is not None
    command = [
        BROWSER, "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr",
        f"--user-data-dir={profile}",
        "--virtual-time-budget=8000", "--window-size=1200,2000", *flags, "--dump-dom", f"{page.as_uri()}{fragment}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert not said, said
    assert "data-error" not in done.stdout.split(">", 3)[1]
    return done.stdout


def driven(page: bytes, tmp_path: Path) -> dict[str, Any]:
    """What the page did when wheel, keys and buttons were used."""
    path = tmp_path / "driven.html"
    path.write_bytes(page.replace(b"</body>", DRIVE.encode()))
    found = re.search(r'data-said="([^"]*)"', opened(path, tmp_path / "browser"))
    assert found, "the page did not get as far as its end"
    said: dict[str, Any] = json.loads(html.unescape(found[1]))
    return said


@pytest.mark.slow
def test_a_page_with_layers_answers_wheel_keys_and_buttons(material: MakeMaterial, tmp_path: Path) -> None:
    said = driven(run_page(material(layers=20, group=3)), tmp_path)
    assert said["whole"]
    assert said["wheel"] == pytest.approx(1 / 2.718, rel=0.01)
    assert said["arrow"] == pytest.approx(0.2, rel=0.01)
    assert said["home"] == pytest.approx(1)
    assert said["button"] == pytest.approx(0.5)
    assert "Every single reading is drawn (one each 200 µs)" in said["resolution"]
    assert re.search(
        r"measured of start \d · inference \d+ .*layer layer_\d+/\w+", re.sub(r"\s+", " ", said["readout"])
    )
    assert said["colours"] > 20
    assert said["sorted"] == sorted(said["sorted"], reverse=True)
    assert said["order"] == sorted(said["order"])


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings", [{"n": 0}, {"active_w": 2.0, "gap_w": 2.0}, {"lose": 0.6}], ids=["no_inferences", "clocks", "lossy"]
)
def test_a_refused_run_opens_without_errors(settings: dict[str, Any], material: MakeMaterial, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_bytes(run_page(material(**settings)))
    shown = opened(page, tmp_path / "browser", flags=("--force-dark-mode",))
    assert re.search(r'data-ready="[01]"', shown)
    assert "No figure" in shown


@pytest.mark.slow
def test_a_campaign_opens_without_errors(SmallWorld: Any, tmp_path: Path) -> None:
    paths = [SmallWorld(seed=k, active_w=4.0 + k).run(tmp_path).path for k in (1, 2)]
    written = write_campaign_report(load_campaign(paths), out=tmp_path / "page")
    assert 'data-ready="2"' in opened(written.html, tmp_path / "browser")
