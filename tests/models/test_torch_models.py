"""`torch:` networks and files that torch wrote: the same bytes each time, the same outputs in every form."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from harness.core.errors import SpecError
from harness.models import torch_zoo
from harness.models.reference import compare_outputs, reference_outputs
from harness.models.resolve import file_sha256, prepare_model, resolve_model

needs_torch = pytest.mark.skipif(
    torch_zoo.torch_version() is None, reason="needs the extra torch: pip install 'joulebench[torch]'"
)

WRITE = """
import sys, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import torch

class Two(torch.nn.Module):
    def forward(self, left, right):
        return left + right, (left - right, left * right)

folder = Path(sys.argv[1])
example = (torch.ones(2, 3), torch.full((2, 3), 2.0))
torch.jit.trace(Two(), example).save(str(folder / "two.pt"))
torch.export.save(torch.export.export(Two(), example), folder / "two.pt2")
torch.save({"weight": torch.ones(3)}, folder / "weights.pt")
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A TorchScript program, an exported program and a state_dict, as a user's own script writes them."""
    folder = tmp_path_factory.mktemp("written")
    subprocess.run([sys.executable, "-c", WRITE, str(folder)], check=True, timeout=120, capture_output=True)
    left, right = np.arange(6, dtype=np.float32).reshape(2, 3), np.full((2, 3), 0.5, np.float32)
    np.savez(folder / "named.npz", right=right, left=left)
    np.savez(folder / "placed.npz", left, right)
    np.savez(folder / "wrong.npz", a=left, b=right)
    return folder


@needs_torch
@pytest.mark.slow
@pytest.mark.parametrize("name", torch_zoo.NAMES)
def test_both_forms_of_a_network_compute_the_same_for_every_batch(name: str, cache: Path, tmp_path: Path) -> None:
    found = {}
    for runtime, suffix in (("onnxruntime", ".onnx"), ("torch", ".pt")):
        for batch in (1, 3):
            spec = resolve_model(f"torch:{name}", batch, {}, 3, tmp_path, cache=cache, runtime=runtime)
            assert spec.name == name and dict(spec.axes)["batch"] == batch
            prepared = prepare_model(spec, cache)
            assert prepared.path.suffix == suffix and prepared.sha256 == spec.sha256
            given = next(iter(prepared.inputs.values()))
            assert len(given) == batch
            # Generated inputs differ with the model's bytes: feed the one form's to the other through a file.
            np.savez(tmp_path / f"{batch}.npz", **prepared.inputs) if runtime == "onnxruntime" else None
            shared = resolve_model(
                f"torch:{name}", batch, {}, 3, tmp_path, cache=cache, runtime=runtime, inputs_npz=f"{batch}.npz"
            )
            outputs = reference_outputs(prepare_model(shared, cache))
            assert outputs is not None
            found[runtime, batch] = next(iter(outputs.values()))
    for batch in (1, 3):
        onnx_form, script = found["onnxruntime", batch], found["torch", batch]
        assert onnx_form.shape == (batch, 100)
        assert compare_outputs({"y": script}, {"y": onnx_form}, 1e-3).ok
    spread = found["torch", 3]
    assert np.abs(spread[0] - spread[1]).max() > 0.05 * np.abs(spread).max()  # the output depends on the input


@needs_torch
@pytest.mark.parametrize("runtime", ["onnxruntime", "torch"])
def test_the_same_name_and_seed_give_the_same_bytes(runtime: str, cache: Path, tmp_path: Path) -> None:
    spec = resolve_model("torch:convnet", 1, {}, 3, tmp_path, cache=cache, runtime=runtime)
    data = prepare_model(spec, cache).path.read_bytes()
    assert torch_zoo.build("convnet", 3, torch_zoo.form_for(runtime)) == data
    assert str(Path(torch_zoo.__file__).parents[2]).encode() not in data  # no path of this machine
    if runtime == "torch":
        assert torch_zoo.build("convnet", 4, "torchscript") != data


@needs_torch
def test_what_torch_exported_is_plain_onnx(cache: Path, tmp_path: Path) -> None:
    spec = resolve_model("torch:mobilenet", 1, {}, 3, tmp_path, cache=cache)
    assert spec.source == "torch:mobilenet/onnx#3"
    model = onnx.load(prepare_model(spec, cache).path)
    assert model.opset_import[0].version == torch_zoo.OPSET
    grouped = [
        a.i for n in model.graph.node if n.op_type == "Conv" for a in n.attribute if a.name == "group" and a.i > 1
    ]
    assert len(grouped) == 17  # a depthwise convolution in each inverted residual
    assert not any(n.metadata_props for n in model.graph.node)


@needs_torch
def test_torchscript_keeps_its_records_aligned_and_without_dates(cache: Path, tmp_path: Path) -> None:
    spec = resolve_model("torch:convnet", 1, {}, 3, tmp_path, cache=cache, runtime="torch")
    path = prepare_model(spec, cache).path
    with zipfile.ZipFile(path) as archive:
        for record in archive.infolist():
            assert record.date_time[0] == 1980 and not record.filename.endswith(".debug_pkl")
            header = path.read_bytes()[record.header_offset : record.header_offset + 30]
            data_at = (
                record.header_offset
                + 30
                + int.from_bytes(header[26:28], "little")
                + int.from_bytes(header[28:30], "little")
            )
            assert data_at % 64 == 0


@needs_torch
@pytest.mark.parametrize("file", ["two.pt", "two.pt2"])
@pytest.mark.parametrize("inputs", ["named.npz", "placed.npz"])
def test_a_users_program_and_its_inputs(written: Path, cache: Path, file: str, inputs: str) -> None:
    spec = resolve_model(file, 2, {}, 0, written, cache=cache, runtime="torch", inputs_npz=inputs)
    assert spec.source == str(written / file) and spec.sha256 == file_sha256(written / file)
    outputs = reference_outputs(prepare_model(spec, cache))
    assert outputs is not None and set(outputs) == {"output_0", "output_1.0", "output_1.1"}
    left = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.array_equal(outputs["output_0"], left + 0.5)
    assert np.array_equal(outputs["output_1.0"], left - 0.5)


@needs_torch
def test_a_users_program_that_is_asked_wrongly(written: Path, cache: Path, tmp_path: Path) -> None:
    def resolve(file: str, batch: int = 2, **kw: str):
        return resolve_model(file, batch, {}, 0, written, cache=cache, **{"runtime": "torch", **kw})

    with pytest.raises(SpecError, match="does not say what its inputs look like") as caught:
        resolve("two.pt")
    assert "inputs: FILE.npz" in caught.value.hint
    with pytest.raises(SpecError, match="holds weights or a pickled module"):
        resolve("weights.pt", inputs_npz="named.npz")
    with pytest.raises(SpecError, match=r"cannot run batch 5: its inputs are .*right float32\[2, 3\]"):
        resolve("two.pt", 5, inputs_npz="named.npz")
    with pytest.raises(SpecError, match="onnxruntime cannot run") as caught:
        resolve("two.pt", runtime="onnxruntime")
    assert "runtime: {name: torch}" in caught.value.hint
    wrong = resolve("two.pt", inputs_npz="wrong.npz")
    with pytest.raises(SpecError, match="are called a, b, its forward takes left, right"):
        reference_outputs(prepare_model(wrong, cache))


def test_onnx_under_torch_is_refused_with_what_to_write(make_onnx, tmp_path: Path) -> None:
    make_onnx([1, 4])
    for reference in ("net.onnx", "zoo:squeezenet", "gen:lstm"):
        with pytest.raises(SpecError, match="ONNX, which the runtime torch cannot run") as caught:
            resolve_model(reference, 1, {}, 0, tmp_path, cache=tmp_path / "cache", runtime="torch")
        assert "onnxruntime" in caught.value.hint and "torch:NAME" in caught.value.hint


def test_files_that_torch_did_not_write(tmp_path: Path) -> None:
    (tmp_path / "mine.pt").write_text("weights?")
    with pytest.raises(SpecError, match=r"mine\.pt is no archive that torch wrote"):
        resolve_model("mine.pt", 1, {}, 0, tmp_path, runtime="torch")
    with zipfile.ZipFile(tmp_path / "mine.pt2", "w") as archive:
        archive.writestr("notes.txt", "nothing")
    with pytest.raises(SpecError, match="holds no exported program"):
        resolve_model("mine.pt2", 1, {}, 0, tmp_path, runtime="torch")
    with pytest.raises(SpecError, match="unknown model 'torch:alexnet'") as caught:
        resolve_model("torch:alexnet", 1, {}, 0, tmp_path)
    assert "mobilenet" in caught.value.hint


def test_without_torch_a_network_is_refused_and_outputs_stay_unchecked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(torch_zoo, "torch_version", lambda: None)
    torch_zoo.version_tag.cache_clear()
    with pytest.raises(SpecError, match="torch:convnet is built by torch") as caught:
        resolve_model("torch:convnet", 1, {}, 0, tmp_path, cache=tmp_path / "cache")
    torch_zoo.version_tag.cache_clear()
    assert caught.value.hint == "pip install 'joulebench[torch]'"
    with zipfile.ZipFile(tmp_path / "mine.pt", "w") as archive:
        archive.writestr("mine/code/__torch__.py", "class M: ...")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 4), np.float32))
    spec = resolve_model("mine.pt", 1, {}, 0, tmp_path, runtime="torch", inputs_npz="x.npz")
    assert reference_outputs(prepare_model(spec, tmp_path / "cache")) is None
