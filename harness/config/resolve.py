"""From a campaign file to RunSpecs. Touches no hardware; nothing later looks at a configuration file again.

How a model reference becomes bytes with a hash is handed in as `resolve_model`, so that this module needs
neither onnx nor the network zoo.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.config.bench import Bench, load_bench
from harness.config.complain import did_you_mean, validated
from harness.config.lookup import config_dirs, find_config
from harness.config.profiles import PROFILES
from harness.config.schema import CampaignFile, ProtocolSection, RuntimeSection
from harness.config.yaml_lines import Document, load_yaml
from harness.core.spec import BoardSpec, ModelSpec, ProtocolSpec, RunSpec, RuntimeSpec


class ResolveModel(Protocol):
    """What `harness.models.resolve.resolve_model` is: reference -> ModelSpec, without touching hardware."""

    def __call__(
        self,
        reference: str,
        batch: int,
        axes: Mapping[str, int],
        seed: int,
        base_dir: Path,
        *,
        inputs_npz: str | None = None,
        runtime: str = "onnxruntime",
    ) -> ModelSpec: ...


@dataclass(frozen=True)
class Campaign:
    """A campaign file, read and checked, with its name."""

    name: str
    document: Document
    file: CampaignFile


def load_campaign(path: Path) -> Campaign:
    """Read and check a campaign file by itself; SpecError with file and line."""
    document = load_yaml(path)
    file = validated(document, CampaignFile, "the campaign")
    return Campaign(file.name or path.stem, document, file)


def resolve_campaign(
    path: Path, *, simulated: bool, resolve_model: ResolveModel, configs: Path | None = None
) -> tuple[RunSpec, ...]:
    """All runs of a campaign, in the file's order. SpecError for the first thing that cannot be measured as written.

    `simulated` marks the runs; it does not choose meters. `configs` is searched first for benches, boards, meters.
    """
    campaign = load_campaign(path)
    document, file = campaign.document, campaign.file
    dirs = config_dirs(configs, start=path.resolve().parent)
    protocol = resolve_protocol(document, file.protocol)
    runtimes = [_runtime(document, section, index) for index, section in enumerate(file.runtime)]
    for runtime in runtimes:
        _refuse_layers(document, protocol, runtime)
    benches = _benches(document, file, dirs, path)
    specs = []
    for (index, section), batch, runtime in itertools.product(enumerate(file.models), file.batch, runtimes):
        at = document.nearest(("models", index))
        with document.blame((*at, "inputs") if section.inputs else at):
            model = resolve_model(
                section.model, batch, section.axes, file.seed, path.resolve().parent,
                inputs_npz=section.inputs, runtime=runtime.name,
            )  # fmt: skip
        for bench, repetition in itertools.product(benches, range(file.repetitions)):
            specs.append(
                RunSpec(
                    campaign=campaign.name,
                    bench=bench.name,
                    board=bench.board,
                    meters=bench.meters,
                    model=model,
                    runtime=runtime,
                    protocol=protocol,
                    repetition=repetition,
                    seed=file.seed,
                    simulated=simulated,
                    tags=(*sorted(file.tags.items()), *bench.tags),
                    plane_models=bench.plane_models,
                )
            )
    _refuse_duplicates(document, file, specs)
    return tuple(specs)


def _benches(document: Document, file: CampaignFile, dirs: Sequence[Path], path: Path) -> list[Bench]:
    """The benches in the file's order. Names must tell them, and their boards, apart: runs carry names only."""
    benches: list[Bench] = []
    for index, name in enumerate(file.bench):
        at = document.nearest(("bench", index))
        with document.blame(at):
            bench = load_bench(find_config("benches", name, dirs, beside=path.parent), dirs)
        for other in benches:
            if other.name == bench.name:
                raise document.error(
                    f"the bench {bench.name!r} is named twice",
                    at,
                    hint="leave one out; to measure more often use `repetitions`; two benches need two file names",
                )
            if other.board.name == bench.board.name and _place(other.board) != _place(bench.board):
                raise document.error(
                    f"the benches {other.name!r} and {bench.name!r} have two different boards called "
                    f"{bench.board.name!r}",
                    at,
                    hint="rename one of the two board files",
                )
        benches.append(bench)
    return benches


def _place(board: BoardSpec) -> tuple[str, str | None, str | None]:
    return board.transport, board.address, board.directory


def resolve_protocol(document: Document, section: ProtocolSection, *, base: ProtocolSpec | None = None) -> ProtocolSpec:
    """The profile (`base`, if given, where the file names none) with the file's fields in it, checked as a whole."""
    if section.profile not in PROFILES:
        raise document.error(
            f"there is no protocol profile {section.profile!r}",
            ("protocol", "profile"),
            hint=did_you_mean(section.profile, PROFILES),
        )
    given = {k: v for k, v in section.model_dump(exclude={"profile"}).items() if v is not None}
    numbers = {f.name: f.type for f in dataclasses.fields(ProtocolSpec)}
    given = {k: float(v) if numbers[k] == "float" else v for k, v in given.items()}
    named = base is None or "profile" in section.model_fields_set
    protocol = dataclasses.replace(PROFILES[section.profile] if named or base is None else base, **given)

    def refuse(field: str, message: str, hint: str) -> None:
        raise document.error(message, ("protocol", field), hint=hint)

    if "inferences" in given and "measure_s" in given:
        refuse("measure_s", "both inferences and measure_s are given", "keep one: a number of inferences or a time")
    if protocol.inferences is not None and protocol.inferences < protocol.starts:
        refuse(
            "inferences",
            f"{protocol.inferences} inferences cannot be shared by {protocol.starts} process starts",
            f"ask for at least {protocol.starts} inferences, or for fewer starts",
        )
    if protocol.settle_max_s < protocol.settle_min_s:
        refuse(
            "settle_max_s" if "settle_max_s" in given else "settle_min_s",
            f"settle_max_s is {protocol.settle_max_s:g}, less than settle_min_s {protocol.settle_min_s:g}",
            "raise settle_max_s or lower settle_min_s",
        )
    if "gap_max_s" in given and protocol.gap != "dithered":
        refuse("gap_max_s", "gap_max_s has no effect with gap: back-to-back", "add `gap: dithered`, or leave it out")
    if "profile_inferences" in given and protocol.layers == "off":
        refuse(
            "profile_inferences", "profile_inferences has no effect with layers: off",
            "add `layers: profile`, or leave it out",
        )  # fmt: skip
    if len(set(protocol.marker_bits)) < 2:
        refuse("marker_bits", "marker_bits needs both 0 and 1: a marker without edges marks nothing", "leave it out")
    return protocol


def _runtime(document: Document, section: RuntimeSection, index: int) -> RuntimeSpec:
    at = document.nearest(("runtime", index))
    if section.name == "command" and not section.command:
        raise document.error(
            "the runtime `command` needs a command", at, hint="add `command: [program, argument, ...]`"
        )  # fmt: skip
    if section.name != "command" and section.command:
        raise document.error(
            f"a command is given, but the runtime is {section.name}", (*at, "command"), hint="write `name: command`"
        )
    return RuntimeSpec(**section.model_dump())


def _refuse_layers(document: Document, protocol: ProtocolSpec, runtime: RuntimeSpec) -> None:
    """Not every runtime says when its kernels run."""
    at = ("protocol", "layers")
    if protocol.layers != "off" and runtime.name == "command":
        raise document.error(
            f"layers: {protocol.layers} is asked for, but the runtime `command` cannot say when its kernels run",
            at,
            hint="write `layers: off`, or measure the model with the runtime onnxruntime or torch",
        )
    if protocol.layers == "instances" and runtime.name != "onnxruntime":
        raise document.error(
            f"layers: instances is asked for, but the runtime {runtime.name} cannot stamp measured kernels",
            at,
            hint="write `layers: profile`, or take the runtime onnxruntime",
        )


def _refuse_duplicates(document: Document, file: CampaignFile, specs: list[RunSpec]) -> None:
    for name, entries in (("models", file.models), ("batch", file.batch), ("runtime", file.runtime)):
        for index, entry in enumerate(entries):
            if entry in entries[:index]:
                raise document.error(
                    f"{name}[{index + 1}] is the same as {name}[{entries.index(entry) + 1}]",
                    (name, index),
                    hint="leave it out; to measure more often use `repetitions`",
                )
    seen: dict[str, RunSpec] = {}
    for spec in specs:
        if spec.run_id in seen:
            raise document.error(
                f"two runs would be the same measurement: {spec.run_id}",
                ("models",),
                hint="two entries name the same model; leave one out",
            )
        seen[spec.run_id] = spec
