"""Every rule against arithmetic done by hand, which stands in the test as it was done."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

MS, BLOCKED = "com.microsoft", "com.microsoft.nchwc"

# what, op, inputs, output, attributes, (MACs, other operations, elementary functions), parameters, traffic in bytes
CASES: list[tuple[str, str, str, str, dict[str, Any], tuple[int, int, int], int, int]] = [
    # 2 rows of 100 -> 10: 2 x 100 x 10 MACs, a bias each of 20 outputs; (200 + 1010 + 20) x 4 B
    ("linear", "Gemm", "x 2 100, w 100 10, w 10", "x 2 10", {}, (2000, 20, 0), 1010, 4920),
    # transB: W is [10, 100]; alpha scales 20 outputs
    ("linear, transposed and scaled", "Gemm", "x 2 100, w 10 100", "x 2 10", {"transB": 1, "alpha": 0.5},
     (2000, 20, 0), 1000, 4880),
    # a bias and a ReLU: two operations each of 20 outputs
    ("fused linear", "FusedGemm", "x 2 100, w 100 10, w 10", "x 2 10", {"domain": MS, "activation": "Relu"},
     (2000, 40, 0), 1010, 4920),
    # 3 x 7 rows of 16 -> 32: 21 x 16 x 32
    ("matmul with weights", "MatMul", "x 3 7 16, w 16 32", "x 3 7 32", {}, (10752, 0, 0), 512, (336 + 512 + 672) * 4),
    # scores of 4 heads: 4 x 10 x 10 outputs of 48; alpha
    ("scores", "FusedMatMul", "x 1 4 10 48, x 1 4 10 48", "x 1 4 10 10",
     {"domain": MS, "transB": 1, "alpha": 0.144}, (19200, 400, 0), 0, (1920 + 1920 + 400) * 4),
    # b i k, k j -> b i j with b 2, i 3, k 5, j 7: 2 x 3 x 5 x 7
    ("einsum", "Einsum", "x 2 3 5, w 5 7", "x 2 3 7", {"equation": "bik,kj->bij"}, (210, 0, 0), 35, (30 + 35 + 42) * 4),
    # 64 x 112 x 112 outputs, each 3 x 7 x 7; a bias each
    ("convolution", "Conv", "x 1 3 224 224, w 64 3 7 7, w 64", "x 1 64 112 112",
     {"strides": [2, 2], "pads": [3, 3, 3, 3]}, (118013952, 802816, 0), 9472, (150528 + 9472 + 802816) * 4),
    # blocked, with a tensor added and a ReLU: 3 operations each of 8 x 4 x 4 outputs; 8 inputs each
    ("blocked convolution with sum", "Conv", "x 1 8 4 4, w 8 8 1 1, w 8, x 1 8 4 4", "x 1 8 4 4",
     {"domain": BLOCKED, "activation": "Relu"}, (1024, 384, 0), 72, (128 + 72 + 128 + 128) * 4),
    # each of 2 x 16 x 9 x 9 outputs sums 3 x 3 of its own channel
    ("depthwise", "Conv", "x 2 16 9 9, w 16 1 3 3", "x 2 16 9 9", {"group": 16, "pads": [1, 1, 1, 1]},
     (23328, 0, 0), 144, (2592 + 144 + 2592) * 4),
    # 3 groups of 8 -> 4 channels: 12 x 5 x 5 outputs, each 8
    ("grouped", "Conv", "x 1 24 5 5, w 12 8 1 1", "x 1 12 5 5", {"group": 3}, (2400, 0, 0), 96, (600 + 96 + 300) * 4),
    # dilation spreads the kernel, it does not enlarge it: 4 x 6 x 6 outputs, each 2 x 9
    ("dilated", "FusedConv", "x 1 2 10 10, w 4 2 3 3", "x 1 4 6 6",
     {"domain": MS, "dilations": [2, 2], "activation": "HardSigmoid"}, (2592, 576, 0), 72, (200 + 72 + 144) * 4),
    # 1-D: 6 x 20 outputs, each 4 x 5
    ("convolution in one dimension", "Conv", "x 1 4 24, w 6 4 5", "x 1 6 20", {}, (2400, 0, 0), 120, 336 * 4),
    # 3-D: 2 x 4 x 4 x 4 outputs, each 3 x 27
    ("convolution in three dimensions", "Conv", "x 1 3 6 6 6, w 2 3 3 3 3", "x 1 2 4 4 4", {},
     (10368, 0, 0), 162, (648 + 162 + 128) * 4),
    # each of 8 x 5 x 5 inputs is multiplied with 4 x 2 x 2 weights; 4 x 10 x 10 outputs get a bias
    ("transposed convolution", "ConvTranspose", "x 1 8 5 5, w 8 4 2 2, w 4", "x 1 4 10 10", {"strides": [2, 2]},
     (3200, 400, 0), 132, (200 + 132 + 400) * 4),
    # channels last: 5 x 5 x 8 outputs, each 4 x 9; sigmoid
    ("channels last", "NhwcFusedConv", "x 1 5 5 4, w 8 4 3 3, w 8", "x 1 5 5 8",
     {"domain": MS, "activation": "Sigmoid"}, (7200, 200, 200), 296, (100 + 296 + 200) * 4),
    # 8 bits: 4 x 3 x 3 outputs, each 2 x 4; requantising 3 and a bias: 4 x 36; 2 x 16 + 32 + 16 (int32 bias) + 36 B
    ("quantised convolution", "QLinearConv",
     "x:uint8 1 2 4 4, w, w:uint8, w:int8 4 2 2 2, w, w:int8, w, w:uint8, w:int32 4", "x:uint8 1 4 3 3", {},
     (288, 144, 0), 36, 32 + 32 + 16 + 36),
    ("integer convolution", "ConvInteger", "x:uint8 1 2 4 4, w:int8 4 2 2 2", "x:int32 1 4 3 3", {},
     (288, 0, 0), 32, 32 + 32 + 144),
    # windows of 3 x 3 over 8 x 5 x 5 outputs: 1800 comparisons
    ("maximum pooling", "MaxPool", "x 1 8 11 11", "x 1 8 5 5", {"kernel_shape": [3, 3], "strides": [2, 2]},
     (0, 1800, 0), 0, (968 + 200) * 4),
    # 2 x 2: 3 additions and a division each of 4 x 4 x 4 outputs
    ("average pooling", "AveragePool", "x 1 4 8 8", "x 1 4 4 4", {"kernel_shape": [2, 2], "strides": [2, 2]},
     (0, 256, 0), 0, (256 + 64) * 4),
    # 48 additions and a division each of 10 channels
    ("global pooling", "GlobalAveragePool", "x 1 10 7 7", "x 1 10 1 1", {}, (0, 490, 0), 0, (490 + 10) * 4),
    # one multiply-add per element; gain, shift, mean, variance
    ("batch normalisation", "BatchNormalization", "x 1 6 4 4, w 6, w 6, w 6, w 6", "x 1 6 4 4", {},
     (96, 0, 0), 24, (96 + 24 + 96) * 4),
    # 5 per element, a root for each of 10 rows
    ("layer normalisation", "LayerNormalization", "x 2 5 64, w 64, w 64", "x 2 5 64", {},
     (0, 3200, 10), 128, (640 + 128 + 640) * 4),
    # the sum first: 6 per element
    ("skip layer normalisation", "SkipLayerNormalization", "x 2 5 64, x 2 5 64, w 64, w 64", "x 2 5 64",
     {"domain": MS}, (0, 3840, 10), 128, (640 + 640 + 128 + 640) * 4),
    # 3 per element
    ("RMS normalisation", "SimplifiedLayerNormalization", "x 2 5 64, w 64", "x 2 5 64", {"axis": -1},
     (0, 1920, 10), 64, (640 + 64 + 640) * 4),
    # 5 x 2 x 8 x 9, a root for each of 2 images x 4 groups
    ("group normalisation", "GroupNormalization", "x 2 8 3 3, w 8, w 8", "x 2 8 3 3", {"num_groups": 4, "opset": 21},
     (0, 720, 8), 16, (144 + 16 + 144) * 4),
    # a root for each of 2 x 8 channels
    ("instance normalisation", "InstanceNormalization", "x 2 8 3 3, w 8, w 8", "x 2 8 3 3", {},
     (0, 720, 16), 16, (144 + 16 + 144) * 4),
    # a window of 5, scale, shift: 7; a power and (in the 7) a division
    ("local response normalisation", "LRN", "x 1 6 2 2", "x 1 6 2 2", {"size": 5}, (0, 168, 24), 0, 192),
    ("ReLU", "Relu", "x 3 5", "x 3 5", {}, (0, 15, 0), 0, 120),
    ("sigmoid", "Sigmoid", "x 3 5", "x 3 5", {}, (0, 0, 15), 0, 120),
    ("hard swish", "HardSwish", "x 3 5", "x 3 5", {}, (0, 75, 0), 0, 120),
    # x/2 (1 + erf(x / sqrt 2)): 4 and an erf
    ("GELU", "Gelu", "x 3 5", "x 3 5", {"domain": MS}, (0, 60, 15), 0, 120),
    # a bias on each: 5 and an erf; the bias is 5 x 4 B
    ("GELU with bias", "BiasGelu", "x 3 5, w 5", "x 3 5", {"domain": MS}, (0, 75, 15), 5, 140),
    # 7 and a tanh, and the bias
    ("fast GELU", "FastGelu", "x 3 5, w 5", "x 3 5", {"domain": MS}, (0, 120, 15), 5, 140),
    # broadcasting: one addition per output
    ("addition", "Add", "x 2 8 4, x 8 1", "x 2 8 4", {}, (0, 64, 0), 0, (64 + 8 + 64) * 4),
    ("sum of three", "Sum", "x 10, x 10, x 10", "x 10", {}, (0, 20, 0), 0, 160),
    # a scalar constant is no weight
    ("scaling", "Mul", "x 10, w", "x 10", {}, (0, 10, 0), 0, 80),
    # rows of 10: maximum, subtraction, sum, division, and an exponential
    ("softmax", "Softmax", "x 1 4 10 10", "x 1 4 10 10", {"axis": -1}, (0, 1600, 400), 0, 3200),
    # 12 elements added to 3 results, each divided once
    ("mean", "ReduceMean", "x 3 4", "x 3 1", {"axes": [1], "keepdims": 1}, (0, 15, 0), 0, 60),
    # 12 steps x 2 sequences x 32 units x 4 gates x (16 + 32) MACs; per unit 5 functions, 4 operations, 4 biases
    ("LSTM", "LSTM", "x 12 2 16, w 1 128 16, w 1 128 32, w 1 256", "x 12 1 2 32", {"hidden_size": 32},
     (147456, 6144, 3840), 6400, (384 + 6400 + 768) * 4),
    # two directions, 3 gates: 2 x 12 x 2 x 32 units x 3 x 48; 3 functions, 5 operations, no bias
    ("GRU, both directions", "GRU", "x 12 2 16, w 2 96 16, w 2 96 32", "x 12 2 2 32",
     {"hidden_size": 32, "direction": "bidirectional"}, (221184, 7680, 4608), 9216, (384 + 9216 + 1536) * 4),
    # 5 x 3 x 8 units x (4 + 8); a ReLU each
    ("RNN", "RNN", "x 5 3 4, w 1 8 4, w 1 8 8", "x 5 1 3 8", {"hidden_size": 8, "activations": ["Relu"]},
     (1440, 120, 0), 96, (60 + 96 + 120) * 4),
    # 2 x 10 rows x 64 x 192 projections; 2 x 4 heads x 10 x 10 scores x (16 + 16); 4 + 1 each, biases 2 x 10 x 192
    ("attention with projections", "Attention", "x 2 10 64, w 64 192, w 192", "x 2 10 64",
     {"domain": MS, "num_heads": 4}, (245760 + 25600, 4000 + 3840, 800), 12480, (1280 + 12480 + 1280) * 4),
    # 8 queries on 20 keys, 4 heads of 16: 4 x 8 x 20 x 32
    ("attention without", "MultiHeadAttention", "x 1 8 64, x 1 20 64, x 1 20 64", "x 1 8 64",
     {"domain": MS, "num_heads": 4}, (20480, 3200, 640), 0, (512 + 1280 + 1280 + 512) * 4),
    # 6 of 1000 rows of 32 are read; int64 indices
    ("embedding", "Gather", "w 1000 32, x:int64 2 3", "x 2 3 32", {}, (0, 0, 0), 32000, 192 * 4 + 6 * 8 + 192 * 4),
    ("concatenation", "Concat", "x 1 4 3, x 1 2 3", "x 1 6 3", {"axis": 1}, (0, 0, 0), 0, 144),
    ("transposition", "Transpose", "x 4 3", "x 3 4", {"perm": [1, 0]}, (0, 0, 0), 0, 96),
    ("reshape without a copy", "Reshape", "x 4 3, w:int64 2", "x 3 4", {}, (0, 0, 0), 0, 0),
    # 3 of 100 rows of 4 are read and written
    ("slice", "Slice", "x 100 4, w:int64 1, w:int64 1", "x 3 4", {}, (0, 0, 0), 0, 96),
    # 4 x 16 -> 8: 512 MACs, 3 to requantise each of 32
    ("quantised matmul", "QLinearMatMul", "x:uint8 4 16, w, w:uint8, w:int8 16 8, w, w:int8, w, w:uint8", "x:uint8 4 8",
     {}, (512, 96, 0), 128, 64 + 128 + 32),
    # extremes 2, divide, add, clip 3: 5 x 64
    ("dynamic quantisation", "DynamicQuantizeLinear", "x 4 16", "x:uint8 4 16, x, x:uint8", {}, (0, 320, 0), 0,
     256 + 64 + 4 + 1),
    ("dequantisation", "DequantizeLinear", "x:uint8 4 16, w, w:uint8", "x 4 16", {}, (0, 128, 0), 0, 64 + 256),
    # 4 bits: 2 rows x 64 x 16; dequantising 2 each of 1024 weights; packed into 512 B
    ("matmul of 4 bits", "MatMulNBits", "x 2 64, w:uint8 16 2 16, w 32", "x 2 16",
     {"domain": MS, "K": 64, "N": 16, "bits": 4, "block_size": 32}, (2048, 2048, 0), 1024, 512 + 512 + 128),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_a_kernel_is_counted_as_by_hand(case: Any, features: SimpleNamespace) -> None:
    _, op, inputs, output, attributes, work, parameters, traffic_bytes = case
    found = features.count(op, inputs, output, **attributes)
    assert found.problem == ""
    assert (found.macs, found.other_ops, found.special_ops) == work
    assert found.parameters == parameters
    assert found.traffic_bytes == traffic_bytes


def test_a_mac_is_two_flops_and_nothing_else_is_in_them(features: SimpleNamespace) -> None:
    found = features.count("Gemm", "x 2 100, w 100 10, w 10", "x 2 10")
    assert (found.macs, found.flops) == (2000, 4000)
    assert features.count("Relu", "x 9", "x 9").flops == 0


def test_shape_and_geometry_are_told(features: SimpleNamespace) -> None:
    found = features.count(
        "Conv", "x 2 16 9 9, w 16 1 3 3", "x 2 16 7 7", group=16, dilations=[1, 1], pads=[0, 0, 0, 0]
    )
    assert found.op_class == "depthwise"
    assert (found.in_channels, found.out_channels, found.groups) == (16, 16, 16)
    assert (found.kernel, found.strides, found.pads, found.dilations) == ((3, 3), (1, 1), (0, 0, 0, 0), (1, 1))
    assert (found.weight_bits, found.activation_bits) == (32, 32)
    recurrent = features.count("LSTM", "x 12 2 16, w 2 128 16, w 2 128 32", "x 12 2 2 32", hidden_size=32)
    assert (recurrent.sequence_length, recurrent.directions, recurrent.hidden) == (12, 2, 32)
    heads = features.count("MultiHeadAttention", "x 1 8 64, x 1 20 64, x 1 20 64", "x 1 8 64", domain=MS, num_heads=4)
    assert (heads.heads, heads.sequence_length, heads.context_length) == (4, 8, 20)
    packed = features.count(
        "MatMulNBits", "x 2 64, w:uint8 16 2 16, w 32", "x 2 16", domain=MS, K=64, N=16, bits=4, block_size=32
    )
    assert (packed.weight_bits, packed.activation_bits, packed.weight_elements) == (4, 32, 1024)


def test_before_opset_13_softmax_runs_over_all_axes_behind_its_own(features: SimpleNamespace) -> None:
    assert features.count("Softmax", "x 2 3 5", "x 2 3 5", opset=11).rows == 2
    assert features.count("Softmax", "x 2 3 5", "x 2 3 5", opset=13).rows == 6


@pytest.mark.parametrize(
    ("op", "domain", "why"),
    [("NonMaxSuppression", "", "no counting rule"), ("Relu", "acme.example", "no counting rule")],
)
def test_what_is_not_known_is_never_zero(op: str, domain: str, why: str, features: SimpleNamespace) -> None:
    found = features.count(op, "x 3 5", "x 3 5", domain=domain)
    assert why in found.problem
    assert found.op_class == "unknown"
    counts = (found.macs, found.flops, found.other_ops, found.parameters, found.traffic_bytes, found.output_bytes)
    assert counts == (None,) * 6
    assert found.input_shapes == ((3, 5),)


def test_weights_that_do_not_fit_are_refused(features: SimpleNamespace) -> None:
    found = features.count("Conv", "x 1 3 8 8, w 6 3 3 3", "x 1 7 6 6")
    assert found.macs is None
    assert "do not fit" in found.problem
