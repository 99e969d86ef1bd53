"""`joulebench dataset build`: which runs are meant, and what is said about the dataset that was made of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

from harness.cli.look import roots_of
from harness.cli.results import console, print_json
from harness.core.errors import SpecError
from harness.core.spec import RunSpec
from harness.store.find import RunStatus, find_run, list_runs
from harness.store.layout import MANIFEST


def build(
    selectors: Sequence[str], *, out: Path, mix_simulated: bool, allow: Sequence[str], root: Path | None, as_json: bool
) -> None:
    from analysis.dataset.build import build_dataset

    paths = runs_of(selectors, root)
    built = build_dataset(paths, out, allow=allow, mix_simulated=mix_simulated, source_model=source_model)
    if as_json:
        print_json(built.to_json())
        return
    text = console()
    text.print(
        f"{built.network_count} networks and {built.layer_count} layers of {built.run_count} runs", highlight=False
    )
    for run, reason in built.invalid:
        text.print(f"[yellow]no row for {run}: invalid, {reason}[/]", highlight=False, soft_wrap=True)
    for run, reason in built.without_layers:
        text.print(f"[yellow]no layers of {run}: {reason}[/]", highlight=False, soft_wrap=True)
    for path in built.files:
        print(path)


def runs_of(selectors: Sequence[str], root: Path | None) -> list[Path]:
    """Finished runs that are meant: run directories, ids, campaign files (their folder) and folders of runs."""
    found: list[Path] = []
    for selector in selectors:
        given = Path(selector)
        folder = given.with_suffix("") if given.suffix in (".yaml", ".yml") else given
        if folder.is_dir() and not (folder / MANIFEST).is_file():
            below = [e.path for e in list_runs(folder) if e.status is RunStatus.FINISHED]
            if not below:
                raise SpecError(f"no finished run in {folder}", hint="measure: joulebench run CAMPAIGN")
            found += below
        elif folder != given:
            raise SpecError(
                f"{given} has no runs: there is no folder {folder}", hint=f"measure: joulebench run {given}"
            )
        else:
            found.append(find_run(selector, roots_of(root)))
    return found


def source_model(spec: RunSpec) -> bytes | None:
    """The model of a run whose kernels are not counted, if it is here and still the one that was measured; else None.

    A network of torch is exported to ONNX: the same layers with the same shapes.
    """
    from harness.models.resolve import prepare_model

    if spec.model.source.startswith("import:"):
        return None
    scheme, _, rest = spec.model.source.partition(":")
    try:
        if scheme == "torch":
            name, _, seed = rest.partition("#")
            return exported(name.partition("/")[0], int(seed or 0))
        path = prepare_model(spec.model).path
    except SpecError:
        return None
    return path.read_bytes() if path.suffix == ".onnx" else None


@functools.lru_cache(maxsize=8)
def exported(name: str, seed: int) -> bytes:
    """A network of torch as ONNX. SpecError where torch is not installed."""
    from harness.models import torch_zoo

    return torch_zoo.build(name, seed, "onnx")
