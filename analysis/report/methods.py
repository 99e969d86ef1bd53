"""A methods paragraph for a paper, written from what was really done and never from what is usual."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from analysis.report.headline import is_gross
from analysis.report.material import Material, own_version
from analysis.report.quantities import si
from harness.core.result import EnergyResult
from harness.core.spec import MeterBinding
from harness.core.trace import Accuracy, ReadingKind

KINDS = {
    ReadingKind.POINT: "readings are instantaneous values",
    ReadingKind.MEAN: "each reading is the mean over its period",
    ReadingKind.OVERLAPPING: "each reading is a mean over a window longer than its period",
    ReadingKind.FILTERED: "readings pass an exponential filter",
    ReadingKind.PART_TIME: "each reading is a mean over a part of its period",
    ReadingKind.COUNTER: "readings are those of an energy counter",
}
STATES = {
    "active-idle": "Active-idle standby (agent alive, model loaded, nothing spinning)",
    "deep-idle": "Deep-idle standby (no process had a model loaded)",
}
MODELS = {
    "line": "the mean of both brackets, moved by what their levels say of drift; warmth of the work is not subtracted",
    "temperature": "that of a board as warm as the work made it, by regression on the board's own temperature",
}
PLANES = {"dc_input": "the DC input", "wall": "the mains socket", "rail": "a supply rail", "package": "the package"}


def methods(material: Material) -> str:
    """Plain text, one paragraph."""
    sentences = [
        *_simulated(material), _what(material), *_board(material), *_meter(material, material.spec.meters[0]),
        *_others(material), *_protocol(material), *_formula(material.result), *_standby(material.result),
        *_uncertainty(material.result), *_layers(material), _outcome(material.result), _version(material),
    ]  # fmt: skip
    return " ".join(sentences)


def campaign_methods(materials: Sequence[Material]) -> str:
    """One paragraph for runs of one campaign: what they share in full, what differs as a list."""
    first = materials[0]
    models = list(dict.fromkeys(f"{m.spec.model.name} (batch {m.spec.model.batch})" for m in materials))
    boards = list(dict.fromkeys(m.spec.board.name for m in materials))
    valid = sum(m.result.reason is None for m in materials)
    n = sorted({m.result.n for m in materials})
    counts = f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"
    same = len({(m.spec.protocol, m.spec.meters, m.spec.runtime) for m in materials}) == 1
    text = [
        *_simulated(first),
        f"{len(materials)} runs were measured on {_and(boards)}: {_and(models)}; {valid} yielded a figure, and "
        f"{len(materials) - valid} were refused with a stated reason.",
        f"A run holds {counts} measured inferences.",
        *_board(first),
        *_meter(first, first.spec.meters[0]), *_others(first), *_protocol(first), *_formula(first.result),
        *_uncertainty(first.result),
        "Parts of the budget that belong to the bench (gain and zero of the meter) are common to its runs and "
        "cancel in "
        "ratios.",
    ]  # fmt: skip
    if not same:
        text.append(
            "Protocol, meters or runtime are not the same in all runs; board, meter and protocol are described for "
            f"the run {first.run_id}, the others in their own reports."
        )
    return " ".join([*text, _version(first, several=len(materials) > 1)])


def _and(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else ", ".join(names[:-1]) + " and " + names[-1]


def _simulated(material: Material) -> list[str]:
    if not material.simulated:
        return []
    return ["SIMULATED DATA: the power was produced by a simulated bench and read by a simulated meter."]


def _what(material: Material) -> str:
    imported = material.document("import")
    if imported:
        origin = ", ".join(str(value) for _, value in material.spec.tags) or "another program's files"
        kind = "gross" if material.spec.protocol.measurand == "gross" else "dynamic"
        return (
            f"The {kind} energy of one {material.unit} was worked out from a measurement that others made ({origin}; "
            f"network as the source names it: {material.spec.model.name}).{_levels(material)}"
        )
    model, runtime, result = material.spec.model, material.spec.runtime, material.result
    told = material.document("runtime")
    version = told.get("version") or runtime.version
    kind = "gross" if is_gross(result) else "dynamic"
    with_version = f"{runtime.name} {version}" if version else runtime.name
    options = f"{runtime.threads} thread{'' if runtime.threads == 1 else 's'}"
    if runtime.name == "onnxruntime":
        options += f", spinning {runtime.spinning}, graph optimisation {runtime.optimisation}"
    providers = told.get("providers")
    if isinstance(providers, list) and providers:
        options += f", {', '.join(map(str, providers))}"
    return (
        f"The {kind} energy of one {material.unit} of {model.name} ({model.source}, SHA-256 {model.sha256[:12]}, batch "
        f"{model.batch}) was measured with {with_version} ({options})."
    )


def _levels(material: Material) -> str:
    if "levels" not in material.result.details:
        return ""
    return (
        " Readings are too slow to be cut at the marks: levels of work and rest were solved by their overlap with the "
        "marked load, and energy is level times marked time."
    )


def _board(material: Material) -> list[str]:
    if material.document("import"):
        return []
    board, state = material.spec.board, material.document("board_state")
    agent, before = material.document("agent"), state.get("before")
    facts = []
    if isinstance(before, dict):
        if before.get("cpu_model"):
            facts.append(str(before["cpu_model"]))
        if before.get("kernel"):
            facts.append(f"Linux {before['kernel']}")
        facts.append(f"governor {before['governor']}" if before.get("governor") else "governor not known")
    elif agent.get("system"):
        facts.append(str(agent["system"]))
    if board.cpus:
        facts.append(f"pinned to CPUs {', '.join(map(str, board.cpus))}")
    how = {"local": "the measuring host itself", "ssh": "reached over SSH"}.get(board.transport, board.transport)
    return [f"The board was {board.name} ({'; '.join([how, *facts])})."]


def _meter(material: Material, binding: MeterBinding) -> list[str]:
    info = material.meters.get(binding.name)
    if info is None:
        return [f"The meter {binding.name} ({binding.driver}) recorded nothing."]
    rails = binding.total_rails or tuple(rail for _, rail in binding.rails)
    channel = next((c for c in info.channels if c.name in {c for c, _ in binding.rails}), info.channels[0])
    reading = channel.reading
    own = [("driver", info.driver), ("serial", info.serial), ("firmware", info.firmware)]
    facts = ", ".join(f"{name} {value}" for name, value in own if value)
    text = (
        f"Power was read by {info.model} ({facts}) at "
        f"{PLANES.get(binding.plane, binding.plane)} ({'+'.join(rails)}), one reading each "
        f"{si(reading.period_ns * 1e-9, 's')}; {KINDS[reading.kind]}."
    )
    return [text, *_correction(binding), _accuracy(binding, material.result.details.get("accuracy"), channel.accuracy)]


def _correction(binding: MeterBinding) -> list[str]:
    calibration = binding.calibration
    if calibration is None:
        return []
    against = f" ({calibration.method})" if calibration.method else ""
    return [f"Its readings were corrected by a calibration of {calibration.date} by {calibration.by}{against}."]


def _accuracy(binding: MeterBinding, used: Mapping[str, Any] | None, accuracy: Accuracy | None) -> str:
    if used is not None and binding.accuracy_rel is None:
        accuracy = Accuracy(used["gain_rel"], used["offset_w"], source=used["source"])
    if binding.accuracy_rel is not None:
        offset = f" and {si(binding.accuracy_offset_w, 'W')}" if binding.accuracy_offset_w is not None else ""
        return f"Its limits of error are {100 * binding.accuracy_rel:g} %{offset} (calibration of the bench)."
    if accuracy is None:
        return "Nobody states its accuracy, so joules are those that this meter reads."
    source = f" ({accuracy.source})" if accuracy.source else ""
    return f"Its limits of error are {100 * accuracy.gain_rel:g} % and {si(accuracy.offset_w, 'W')}{source}."


def _others(material: Material) -> list[str]:
    others = list(material.spec.meters[1:])
    if not others:
        return []
    names = _and([f"{b.name} ({b.driver}, {PLANES.get(b.plane, b.plane)})" for b in others])
    return [f"Beside it recorded {names}; their figures stand beside and are not merged."]


def _protocol(material: Material) -> list[str]:
    protocol, result = material.spec.protocol, material.result
    if protocol.alignment == "declared":
        return [
            f"The trace was imported: {result.n} {material.unit}s, whose stamps are declared to lie on the meter's own "
            f"time axis to within {si(protocol.alignment_u_s, 's')}."
        ]
    gap = (
        "back to back" if protocol.gap == "back-to-back"
        else f"with a random pause of 0 to {si(protocol.gap_max_s, 's')} after each"
    )  # fmt: skip
    lead = f"{si(protocol.lead_in_s, 's')} of uncounted inferences before and {si(protocol.lead_out_s, 's')} after them"
    text = [
        f"In {result.starts} process start{'' if result.starts == 1 else 's'}, after {si(protocol.warm_up_s, 's')} "
        "of "
        f"warm-up, {result.n} inferences in all were measured {gap}, with {lead}.",
        f"{STATES[protocol.standby_state]} was measured for "
        f"{si(protocol.standby_s, 's')} before the first and after the last start, once power had settled; standby "
        f"at the time of the inferences is {MODELS[protocol.standby_model]}."
        if protocol.measurand != "gross" else "Standby was not measured.",
    ]  # fmt: skip
    if protocol.probe_pauses:
        text.append(
            f"The power between two inferences was read off {protocol.probe_pauses} pauses of "
            f"{si(protocol.probe_pause_s, 's')} in each start."
        )
    text.append(
        "The meter's clock was tied to the board's by the lower envelope of arrival delays and by pings, and the "
        "remaining lag by correlating power with a coded marker of load before and after each start."
    )
    if protocol.dark:
        text.append("The link to the board was cut while it measured.")
    return text


def _formula(result: EnergyResult) -> list[str]:
    if is_gross(result):
        return ["Gross energy is E = (integral of P dt over the measured time - energy of gaps) / n."]
    return [
        "Dynamic energy is E = (integral of P dt over the measured time - energy of the gaps - P_standby * T) / n, "
        "with T the time spent in the n inferences; the energy of the gaps is a line of its own."
    ]


def _standby(result: EnergyResult) -> list[str]:
    brackets = result.details.get("standby_brackets_w")
    if not isinstance(brackets, list) or not brackets:
        return []
    return [f"The brackets read {_and([si(float(w), 'W', digits=4) for w in brackets])}."]


def _uncertainty(result: EnergyResult) -> list[str]:
    if not result.budget:
        return []
    dof = result.details.get("effective_dof")
    free = f" ({dof:.1f} here)" if isinstance(dof, int | float) else ""
    parts = _and([f"{p.name} ({p.type})" for p in result.budget])
    return [
        f"The budget of uncertainty (JCGM 100:2008) has the parts {parts}; the 95 % interval is by "
        f"Monte Carlo (JCGM 101:2008), with the scatter as one Student part at the effective degrees of freedom of "
        f"Welch and Satterthwaite{free}."
    ]


def _layers(material: Material) -> list[str]:
    report, profile, mode = material.result.layers, material.profile, material.spec.protocol.layers
    if report is None or not report.layers or profile is None:
        return []
    cost = profile.cost_rel
    slower = f", which slowed inferences by {100 * cost:.2g} %" if cost == cost else ""
    count = len(profile.inference_ns)
    if mode == "instances":
        how = f"Every measured inference was stamped kernel by kernel ({profile.source})"
    else:
        how = (
            f"Kernels were timed in a pass of their own over {count} inferences ({profile.source}){slower}, and "
            "scaled onto the measured ones"
        )
    return [f"{how}; layers that the meter cannot tell apart are given as groups."]


def _outcome(result: EnergyResult) -> str:
    if result.reason is not None:
        return f"The run yielded no figure ({result.reason})."
    flags = f" with the flags {', '.join(result.flags)}" if result.flags else ""
    coverage = f" Readings cover {100 * result.coverage:.2f} % of the measured time." if result.coverage else ""
    return f"The result is valid{flags}.{coverage}"


def _version(material: Material, *, several: bool = False) -> str:
    measured = material.manifest.get("provenance", {}).get("packages", {}).get("joulebench")
    how = "imported" if material.document("import") else "measured"
    by = f"{how} with joulebench {measured}, " if measured else ""
    whose = "run directories' manifests (first: " if several else "run directory's manifest ("
    digest = material.analysis.manifest_sha256
    return f"Data were {by}analysed with joulebench {own_version()}; SHA-256 of the {whose}{digest})."
