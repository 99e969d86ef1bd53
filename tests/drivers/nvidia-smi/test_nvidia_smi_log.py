"""Logs of real cards, schemas v10 to v13: every name of the power node is read, and N/A is missing, never 0."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.nvidia.readings import Missing
from drivers.nvidia.xml_log import NotALog, parse_log

DATA = Path(__file__).parent / "data"
WHOLE = Path(__file__).parents[4] / "shared/data/text-fixtures/nvidia-smi-xml"
NONE = Missing("N/A")
CARDS = {  # schema, driver, class of sensor, largest limit in W, power in mW by field
    "gtx-1070-ti-v10": (10, "", "pascal", 0.0, {"power": NONE}),
    "quadro-p400-418.43": (None, "418.43", "pascal", 0.0, {"power": NONE}),
    "tesla-t4-v11-515.105.01": (11, "515.105.01", "turing", 70.0, {"power": 26780}),
    "a10g-v11-515.105.01": (11, "515.105.01", "ampere", 300.0, {"power": 25580}),
    "rtx-3080-v12-536.40": (12, "536.40", "ampere", 336.0, {"power": 22780, "module-power": NONE}),
    "rtx-3080-v13-595.58.03": (
        13,
        "595.58.03",
        "ampere",
        336.0,
        {
            "average": 139620,
            "instant": 142330,
            "module": NONE,
            "module-average": NONE,
            "memory": NONE,
            "memory-average": NONE,
        },
    ),
}


@pytest.mark.parametrize("card", CARDS)
def test_a_captured_log_gives_the_card_and_its_power(card: str) -> None:
    schema, driver, kind, limit_w, power = CARDS[card]
    log = parse_log((DATA / f"{card}.xml").read_bytes())
    [gpu] = log.machine.gpus
    assert (log.schema, log.machine.driver, gpu.kind, gpu.limit_w) == (schema, driver, kind, limit_w)
    assert log.power_mw[gpu.uuid] == power
    assert gpu.index == 0 and gpu.uuid.startswith("GPU-") and not gpu.mig and gpu.instances == ()
    assert {name for name, value in power.items() if value == NONE} == {name for name, _ in gpu.refused}


@pytest.mark.parametrize("card", CARDS)
def test_the_whole_log_says_the_same_as_its_excerpt(card: str) -> None:
    names = {"quadro-p400-418.43": "quadro-p400", "gtx-1070-ti-v10": "gtx-1070-ti"}
    name = names.get(card) or card.replace("-515.105.01", "").replace("-536.40", "").replace("-595.58.03", "")
    path = next((p for p in (WHOLE / f"{name}.xml", WHOLE / f"{name.replace('-v11', '')}.xml") if p.exists()), None)
    if path is None:
        pytest.skip("the whole logs are not here")
    whole, excerpt = parse_log(path.read_bytes()), parse_log((DATA / f"{card}.xml").read_bytes())
    assert whole.power_mw == excerpt.power_mw and whole.machine.gpus == excerpt.machine.gpus


def test_gpus_are_counted_by_pci_bus_and_a_lost_one_keeps_its_number() -> None:
    text = (DATA / "tesla-t4-v11-515.105.01.xml").read_text("utf-8")
    begin, end = text.index("<gpu "), text.index("</gpu>") + len("</gpu>")
    one = text[begin:end]
    other = one.replace("00:1E.0", "00:1D.0").replace("GPU-d37e67a5", "GPU-00000000")
    lost = other.replace("00:1D.0", "00:1C.0").replace("GPU-00000000-91dd-3774-a5cb-99096249601a", "GPU is lost")
    machine = parse_log((text[:begin] + one + other + lost + text[end:]).encode()).machine
    assert [(gpu.index, gpu.uuid[:12]) for gpu in machine.gpus] == [(1, "GPU-00000000"), (2, "GPU-d37e67a5")]
    assert machine.left_out == {"GPU 00000000:00:1C.0": "GPU is lost"}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "nothing was printed"),
        (b"NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", "couldn't communicate"),
        (b"<nvidia_smi_log><gpu></nvidia_smi_log>", "no XML"),
        (b"<other></other></nvidia_smi_log>", "no XML"),
        (b'<!DOCTYPE x [<!ENTITY a "b">]><nvidia_smi_log></nvidia_smi_log>', "entities"),
    ],
)
def test_what_is_no_log_says_what_it_is(data: bytes, words: str) -> None:
    with pytest.raises(NotALog, match=words):
        parse_log(data)


def test_a_truncated_log_is_refused() -> None:
    data = (DATA / "rtx-3080-v13-595.58.03.xml").read_bytes()
    for size in range(0, len(data) - 20, 97):
        with pytest.raises(NotALog):
            parse_log(data[:size])
