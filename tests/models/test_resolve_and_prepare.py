"""From a reference in a campaign to files on disk: what is resolved, what is refused and in which words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto

from harness.core.errors import SpecError
from harness.models.resolve import file_sha256, prepare_model, resolve_model


def resolve(reference: str | Path, base: Path, batch: int = 1, axes=None, cache: Path | None = None, **kw):
    return resolve_model(
        str(reference), batch, axes or {}, kw.pop("seed", 0), base, cache=cache or base / "cache", **kw
    )


def test_a_zoo_network(cache: Path, tmp_path: Path) -> None:
    spec = resolve("zoo:squeezenet", tmp_path, 4, cache=cache)
    assert (spec.name, spec.source, spec.batch) == ("squeezenet", "zoo:squeezenet", 4)
    assert dict(spec.axes) == {"batch": 4}
    prepared = prepare_model(spec, cache)
    assert file_sha256(prepared.path) == prepared.sha256 == spec.sha256
    assert prepared.inputs["data_0"].shape == (4, 3, 224, 224) and prepared.inputs["data_0"].dtype == np.float32
    assert prepared.inputs_path is not None and file_sha256(prepared.inputs_path) == prepared.inputs_sha256
    with np.load(prepared.inputs_path) as kept:
        assert np.array_equal(kept["data_0"], prepared.inputs["data_0"])


def test_preparing_twice_gives_the_same_bytes_and_builds_once(cache: Path, tmp_path: Path) -> None:
    spec = resolve("gen:transformer", tmp_path, 2, cache=cache)
    assert dict(spec.axes) == {"batch": 2, "sequence": 64}
    first = prepare_model(spec, cache)
    built = first.path.stat().st_mtime_ns
    again = prepare_model(spec, cache)
    assert again.inputs_sha256 == first.inputs_sha256 and again.path.stat().st_mtime_ns == built
    tokens = first.inputs["tokens"]
    assert tokens.dtype == np.int64 and tokens.max() > 1000 and tokens.min() >= 0  # the range the model declares


def test_the_seed_is_part_of_the_source(cache: Path, tmp_path: Path) -> None:
    plain, seeded = (resolve("gen:lstm", tmp_path, cache=cache, seed=s) for s in (0, 9))
    assert (plain.source, seeded.source) == ("gen:lstm", "gen:lstm#9")
    assert plain.sha256 != seeded.sha256
    assert prepare_model(seeded, cache).sha256 == seeded.sha256


def test_a_damaged_cache_is_built_anew(tmp_path: Path) -> None:
    spec = resolve("gen:lstm", tmp_path)
    path = prepare_model(spec, tmp_path / "cache").path
    data = bytearray(path.read_bytes())
    data[1000] ^= 0xFF
    path.write_bytes(data)
    assert file_sha256(prepare_model(spec, tmp_path / "cache").path) == spec.sha256


@pytest.mark.parametrize("axis", ["batch", "N", "batch_size", None])
def test_the_batch_axis_has_many_names(make_onnx, tmp_path: Path, axis: str | None) -> None:
    spec = resolve(make_onnx([axis, 4]), tmp_path, 6)
    assert dict(spec.axes) == {axis or "x.0": 6}
    assert prepare_model(spec, tmp_path / "cache").inputs["x"].shape == (6, 4)


def test_a_relative_path_and_its_absolute_source(make_onnx, tmp_path: Path) -> None:
    make_onnx([1, 4], "my net-2.onnx")
    spec = resolve("my net-2.onnx", tmp_path)
    assert spec.name == "my_net_2" and Path(spec.source) == tmp_path / "my net-2.onnx"


def test_unresolved_axes_are_named_with_what_to_write(make_onnx, tmp_path: Path) -> None:
    path = make_onnx(["batch", "time", 4])
    with pytest.raises(SpecError, match=r"without a size: time; inputs: x float32\[batch, time, 4\]") as caught:
        resolve(path, tmp_path)
    assert "axes: {time: SIZE}" in caught.value.hint
    assert dict(resolve(path, tmp_path, 2, {"time": 9}).axes) == {"batch": 2, "time": 9}


@pytest.mark.parametrize(
    ("dims", "batch", "axes", "says"),
    [
        (["batch", 4], 1, {"sequence": 3}, "has no dynamic axis 'sequence'; it has: batch"),
        (["batch", "t", 4], 1, {"t": 0}, "axis t .* must be at least 1, not 0"),
        ([1, 4], 8, {}, r"cannot run batch 8: its inputs are x float32\[1, 4\]"),
        (["batch", 4], 0, {}, "batch 0 .* must be at least 1"),
    ],
)
def test_axes_that_do_not_fit(make_onnx, tmp_path: Path, dims, batch: int, axes, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        resolve(make_onnx(dims), tmp_path, batch, axes)


def test_files_that_are_no_models(make_onnx, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nothing\.onnx does not exist"):
        resolve("nothing.onnx", tmp_path)
    (tmp_path / "text.onnx").write_text("this is not a model at all, only words")
    with pytest.raises(SpecError, match=r"text\.onnx is not ONNX: \w+"):
        resolve("text.onnx", tmp_path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    with pytest.raises(SpecError, match=r"empty\.onnx is not (valid )?ONNX: \w+"):
        resolve("empty.onnx", tmp_path)
    whole = make_onnx([1, 4]).read_bytes()
    (tmp_path / "half.onnx").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SpecError, match=r"half\.onnx is not (valid )?ONNX: \w+"):
        resolve("half.onnx", tmp_path)


def test_an_operator_without_its_input(make_onnx, tmp_path: Path) -> None:
    model = onnx.load(make_onnx([1, 4]))
    model.graph.node[1].input[0] = "missing"
    (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(SpecError, match=r"bad\.onnx is not valid ONNX: .*"):
        resolve("bad.onnx", tmp_path)


def test_what_the_runtime_takes_is_taken_even_if_the_checker_frowns(make_onnx, tmp_path: Path) -> None:
    path = make_onnx([1, 4])
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    with pytest.raises(onnx.checker.ValidationError):
        onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    assert prepare_model(resolve(path, tmp_path), tmp_path / "cache").inputs["x"].shape == (1, 4)


def test_weights_in_other_files_are_refused(make_onnx, tmp_path: Path) -> None:
    model = onnx.load(make_onnx([1, 4]))
    onnx.save(model, tmp_path / "out.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(SpecError, match=r"keeps weights in other files \(weights\.bin\)") as caught:
        resolve("out.onnx", tmp_path)
    assert "save_as_external_data=False" in caught.value.hint


def test_a_model_that_changed_since_the_plan(make_onnx, tmp_path: Path) -> None:
    path = make_onnx([1, 4])
    spec = resolve(path, tmp_path)
    model = onnx.load(path)
    model.producer_name = "somebody else"
    onnx.save(model, path)
    with pytest.raises(SpecError, match="not the one that was planned"):
        prepare_model(spec, tmp_path / "cache")
    path.unlink()
    with pytest.raises(SpecError, match="cannot be read"):
        prepare_model(spec, tmp_path / "cache")


def test_unknown_references(tmp_path: Path) -> None:
    for reference in ("zoo:resnet51", "gen:gru"):
        with pytest.raises(SpecError, match=reference) as caught:
            resolve(reference, tmp_path)
        assert "known:" in caught.value.hint


def test_what_the_command_runtime_may_run(tmp_path: Path) -> None:
    (tmp_path / "net.plan").write_bytes(b"TensorRT")
    spec = resolve("net.plan", tmp_path, 2, runtime="command")
    prepared = prepare_model(spec, tmp_path / "cache")
    assert prepared.inputs == {} and prepared.inputs_path is None and prepared.path.read_bytes() == b"TensorRT"
    with pytest.raises(SpecError, match="is not ONNX"):
        resolve("net.plan", tmp_path)


def test_strings_need_a_file(make_onnx, tmp_path: Path) -> None:
    path = make_onnx([1, 4], elem_type=TensorProto.STRING)
    with pytest.raises(SpecError, match="input 'x' of type object cannot be generated") as caught:
        resolve(path, tmp_path)
    assert "inputs: FILE.npz" in caught.value.hint


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({}, "lacks x"),
        ({"y": np.zeros(3)}, "lacks x and has unknown y; the model's inputs are x"),
        ({"x": np.zeros((2, 4))}, "x is float64, the model wants float32"),
        ({"x": np.zeros((3, 4), np.float32)}, r"x has shape \[3, 4\], the model wants \[2, 4\] \(batch, 4\)"),
    ],
)
def test_inputs_that_do_not_fit(make_onnx, tmp_path: Path, arrays, says: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(SpecError, match=says):
        resolve(make_onnx(["batch", 4]), tmp_path, 2, inputs_npz="x.npz")


def test_inputs_files_that_cannot_be_read(make_onnx, tmp_path: Path) -> None:
    path = make_onnx([1, 4])
    with pytest.raises(SpecError, match=r"x\.npz does not exist"):
        resolve(path, tmp_path, inputs_npz="x.npz")
    (tmp_path / "x.npz").write_text("words")
    with pytest.raises(SpecError, match=r"x\.npz is not a readable \.npz file"):
        resolve(path, tmp_path, inputs_npz="x.npz")
    np.save(tmp_path / "x.npy", np.zeros(3))
    with pytest.raises(SpecError, match=r"x\.npy is not a readable \.npz file"):
        resolve(path, tmp_path, inputs_npz="x.npy")


def test_given_inputs_are_hashed(make_onnx, tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.ones((1, 4), np.float32))
    spec = resolve(make_onnx([1, 4]), tmp_path, inputs_npz="x.npz")
    assert spec.inputs_sha256 == file_sha256(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", x=np.zeros((1, 4), np.float32))
    with pytest.raises(SpecError, match=r"inputs file .* is not the one that was planned"):
        prepare_model(spec, tmp_path / "cache")


def test_the_note_beside_a_cached_model_is_plain(tmp_path: Path) -> None:
    resolve("gen:lstm", tmp_path)
    note = next((tmp_path / "cache" / "models").glob("*.json"))
    assert set(json.loads(note.read_text())) == {"bytes", "sha256"}
