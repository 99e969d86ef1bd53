"""The trace-event document keeps the rules of its format, and its slices lie where the power says they do."""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from analysis.report.material import Material
from analysis.report.perfetto import Document, trace_events
from harness.core.timeline import Phase

MakeMaterial = Callable[..., Material]
NEEDED = {
    "M": {"name", "pid", "args"},
    "C": {"name", "pid", "ts", "args"},
    "X": {"name", "cat", "pid", "tid", "ts", "dur"},
}


def document_of(material: Material, **given: Any) -> Document:
    document = trace_events(material, **given)
    assert document is not None
    return document


def check_rules(document: Document) -> dict[str, list[dict[str, Any]]]:
    """Events by phase type, after everything the format asks for was checked on what is written to the file."""

    def refuse(text: str) -> None:
        raise AssertionError(f"{text} is not JSON")

    data = json.loads(document.to_bytes(), parse_constant=refuse)
    assert data["displayTimeUnit"] == "ms"
    assert set(data) == {"displayTimeUnit", "otherData", "traceEvents"}
    by_type: dict[str, list[dict[str, Any]]] = defaultdict(list)
    last, named = -1.0, set()
    for event in data["traceEvents"]:
        assert event["ph"] in NEEDED, event
        assert NEEDED[event["ph"]] <= event.keys(), event
        by_type[event["ph"]].append(event)
        if event["ph"] == "M":
            assert event["name"] in ("process_name", "thread_name")
            assert isinstance(event["args"]["name"], str)
            assert last < 0, "names come first"
            named.add((event["pid"], event.get("tid")))
            continue
        assert event["ts"] >= max(last, 0)
        last = event["ts"]
        if event["ph"] == "C":
            assert all(isinstance(v, int | float) for v in event["args"].values())
        else:
            assert event["dur"] >= 0
            assert (event["pid"], event["tid"]) in named, "a thread without a name"
    check_nesting(by_type["X"])
    return by_type


def check_nesting(slices: list[dict[str, Any]]) -> None:
    """On one thread a slice lies within the one that is open or after it, never across its end."""
    threads: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for event in slices:
        threads[event["pid"], event["tid"]].append(event)
    for events in threads.values():
        open_until: list[float] = []
        for event in events:
            while open_until and event["ts"] >= open_until[-1] - 1e-6:
                open_until.pop()
            end = event["ts"] + event["dur"]
            assert not open_until or end <= open_until[-1] + 2e-3, event
            open_until.append(end)


@pytest.mark.parametrize("stamped", [False, True], ids=["profile", "stamps"])
def test_a_run_with_layers_keeps_the_rules(stamped: bool, material: MakeMaterial) -> None:
    found = material(layers=12, stamped=stamped, gap_s=0.0)
    document = document_of(found)
    events = check_rules(document)
    inferences = [e for e in events["X"] if e["name"] == "inference" and e["cat"] == "measured"]
    layers = [e for e in events["X"] if e["cat"] == "layer"]
    assert len(inferences) == found.result.n
    assert len(layers) == 12 * found.result.n
    assert ("layers: times of the profile pass, scaled onto each inference" in document.metadata["notes"]) == (
        not stamped
    )
    assert document.metadata["manifest_sha256"] == found.analysis.manifest_sha256
    assert document.metadata["simulated"] is True


def test_power_is_high_under_the_inferences(material: MakeMaterial) -> None:
    """The lag of 0.7 s of this meter is taken out: else half of the samples would lie in the idle stretches."""
    events = check_rules(document_of(material()))
    power = [(e["ts"], e["args"]["W"]) for e in events["C"] if e["name"] == "power"]
    t, watt = np.array(power).T
    spans = [e for e in events["X"] if e["name"] == "measured"]
    inside = np.zeros(len(t), bool)
    for span in spans:
        inside |= (t > span["ts"]) & (t < span["ts"] + span["dur"])
    assert np.median(watt[inside]) > 4.5
    assert np.quantile(watt[inside], 0.05) > 3.0, "shifted by the lag, the measured stretches hold no idle power"
    for one in (e for e in events["X"] if e["cat"] == "measured"):
        assert any(s["ts"] - 1 <= one["ts"] and one["ts"] + one["dur"] <= s["ts"] + s["dur"] + 1 for s in spans)
    idle = next(e for e in events["X"] if e["name"] == str(Phase.STANDBY_BEFORE))
    assert np.median(watt[(t > idle["ts"]) & (t < idle["ts"] + idle["dur"])]) < 2.3
    standby = [e["args"]["W"] for e in events["C"] if e["name"] == "standby"]
    assert standby
    assert np.median(standby) == pytest.approx(2.0, abs=0.1)


def test_many_events_are_thinned_and_said_to_be(material: MakeMaterial) -> None:
    found = material(layers=12)
    document = document_of(found, most=8_000)
    check_rules(document)
    assert len(document.events) <= 8_000 + 10
    assert any(note.startswith("power:") for note in document.metadata["notes"])
    assert any(note.startswith("layers:") and "measured inferences" in note for note in document.metadata["notes"])


def test_lost_readings_are_a_slice_and_not_a_zero(material: MakeMaterial) -> None:
    events = check_rules(document_of(material(lose=0.02)))
    assert [e for e in events["X"] if e["name"] == "no readings"]
    assert min(e["args"]["W"] for e in events["C"] if e["name"] == "power") > 1.0


def test_overlapping_kernels_get_threads_of_their_own(material: MakeMaterial) -> None:
    found = material(layers=6)
    assert found.profile is not None
    late = found.profile.end_ns.copy()
    late[:, 1] = late[:, 3]  # kernel 1 runs on while 2 and 3 run
    document = document_of(dataclasses.replace(found, profile=dataclasses.replace(found.profile, end_ns=late)))
    events = check_rules(document)
    assert len({e["tid"] for e in events["X"] if e["cat"] == "layer"}) > 1


def test_a_run_whose_clocks_could_not_be_tied_says_so(material: MakeMaterial) -> None:
    found = material(active_w=2.0, gap_w=2.0)
    assert found.result.reason == "clocks"
    document = document_of(found)
    check_rules(document)
    assert any("lag" in note for note in document.metadata["notes"])
