"""What needs torch on the host, as a process of its own: building `torch:` networks, running a file for reference.

    python -m harness.models.torch_worker build NAME SEED onnx|torchscript OUT
    python -m harness.models.torch_worker outputs MODEL INPUTS.npz OUT.npz

A process of its own, since torch takes two seconds and 250 MiB that neither planning nor recording should carry, and
because TorchScript names its classes by how many were made before: only a fresh process gives the same bytes again.
"""

from __future__ import annotations

import argparse
import io
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch

from harness.boards.agent.basics import AgentError
from harness.boards.agent.runtime_torch import exported_arguments, in_order, last_line, named_tensors, to_array
from harness.models.prepared import Array
from harness.models.torch_networks import network
from harness.models.torch_zoo import OPSET, RANGES, SIGNATURES

REFUSED = 3  # exit status: the last line of standard error is for the user
SEQUENCE_EXAMPLE = 16


def example(name: str) -> torch.Tensor:
    """An input to trace with; batch 2, so that no axis of it is taken for a broadcast one."""
    (wanted,) = SIGNATURES[name]
    shape = wanted.shape({"batch": 2, "sequence": SEQUENCE_EXAMPLE})
    if wanted.dtype == "int64":
        return torch.zeros(shape, dtype=torch.int64)
    return torch.zeros(shape)


def torchscript(name: str, seed: int) -> bytes:
    """The network as TorchScript: dates fixed, notes about source lines (this machine's paths) left out."""
    with torch.no_grad():
        traced = torch.jit.trace(network(name, seed), (example(name),), check_trace=False)
    packed = io.BytesIO()
    torch.jit.save(traced, packed)
    return _without_notes(packed.getvalue())


def _without_notes(data: bytes) -> bytes:
    """The same archive without `*.debug_pkl`; every record plain and at a multiple of 64 bytes."""
    written = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(written, "w") as target:
        for record in sorted(source.infolist(), key=lambda r: r.header_offset):
            if record.filename.endswith(".debug_pkl") or record.filename.endswith(".data/serialization_id"):
                continue
            entry = zipfile.ZipInfo(record.filename, (1980, 1, 1, 0, 0, 0))
            begin = written.tell() + 30 + len(entry.filename.encode()) + 4
            padding = -begin % 64
            entry.extra = b"FB" + padding.to_bytes(2, "little") + b"Z" * padding
            target.writestr(entry, source.read(record), zipfile.ZIP_STORED)
    return written.getvalue()


def onnx_model(name: str, seed: int) -> bytes:
    """The network through torch's exporter to ONNX; notes about source lines are left out."""
    (wanted,) = SIGNATURES[name]
    dynamic = {k: torch.export.Dim(d, min=1, max=1 << 14) for k, d in enumerate(wanted.dims) if isinstance(d, str)}
    if "sequence" in wanted.dims:
        dynamic[wanted.dims.index("sequence")] = torch.export.Dim("sequence", min=1, max=512)
    made = torch.onnx.export(
        network(name, seed), (example(name),), None, dynamo=True, opset_version=OPSET, verbose=False,
        input_names=[wanted.name], output_names=["scores"], dynamic_shapes=(dynamic,),
    )  # fmt: skip
    return _bare(made.model_proto, name)


def _bare(model: object, name: str) -> bytes:
    import onnx

    assert isinstance(model, onnx.ModelProto)
    for part in (model.graph, *model.graph.node, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    del model.graph.value_info[:], model.metadata_props[:]
    model.graph.name = name
    helper_values = {f"joulebench.range.{key}": f"{low} {high}" for key, (low, high) in RANGES.get(name, {}).items()}
    onnx.helper.set_model_props(model, helper_values)
    onnx.checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def outputs(model: Path, inputs: Path) -> dict[str, Array]:
    """The outputs of a TorchScript file or torch.export archive, run as it is on one thread."""
    with np.load(inputs, allow_pickle=False) as kept:
        given = {name: torch.from_numpy(kept[name].copy()) for name in kept.files}
    if model.suffix == ".pt2":
        program = torch.export.load(model)
        run, arguments = program.module(), exported_arguments(program)
    else:
        run = torch.jit.load(str(model), map_location="cpu")
        arguments = [argument.name for argument in run.forward.schema.arguments[1:]]
        run.eval()
    values = tuple(value for _, value in in_order(given, arguments, model.name))
    with torch.inference_mode():
        made = named_tensors(run(*values), torch.Tensor)
    return {name: to_array(value) for name, value in made.items()}


def main() -> int:
    """Exit status 0, or 3 with the reason as the last line of standard error."""
    parser = argparse.ArgumentParser(description="builds and runs torch models for joulebench")
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build")
    build.add_argument("name")
    build.add_argument("seed", type=int)
    build.add_argument("form", choices=("onnx", "torchscript"))
    build.add_argument("out", type=Path)
    run = commands.add_parser("outputs")
    run.add_argument("model", type=Path)
    run.add_argument("inputs", type=Path)
    run.add_argument("out", type=Path)
    options = parser.parse_args()
    warnings.simplefilter("ignore")  # that TorchScript will go away some day is no news to who asked for it
    torch.set_num_threads(1)
    try:
        if options.command == "build":
            make = onnx_model if options.form == "onnx" else torchscript
            options.out.write_bytes(make(options.name, options.seed))
        else:
            np.savez(options.out, allow_pickle=False, **outputs(options.model, options.inputs))
    except AgentError as error:
        sys.stderr.write(f"\n{error.message}\n")
        return REFUSED
    except Exception as error:  # noqa: BLE001 - whatever torch raises is the answer
        sys.stderr.write(f"\n{type(error).__name__}: {last_line(error)}\n")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
