"""Counts of well-known networks against published ones; where a topology differs, the difference is worked out.

Published: torchvision's table of weights (num_params, GFLOPS, which counts a multiply-accumulate as one), as of version
0.20; V. Sze et al., Proc. IEEE 105 (2017), table II (AlexNet 724 M MACs, 61 M weights; GoogLeNet 1.43 G, 7.0 M;
ResNet-50 3.9 G, 25.5 M); X. Zhang et al., CVPR 2018, table 1 (ShuffleNet); pytorchcv's table (BN-Inception 2.05 G).
All count convolutions and dense layers, biases left out of the MACs, normalisation left out.
"""

from __future__ import annotations

import functools

import pytest
from onnx import TensorProto, helper

from analysis.features.extract import features_of_model
from analysis.features.record import LayerFeatures, OpClass
from analysis.features.totals import total
from harness.models import generated, zoo

pytestmark = pytest.mark.slow  # drawing the weights of VGG-19 and ZFNet takes most of a minute
PRODUCTS = {OpClass.CONVOLUTION, OpClass.DEPTHWISE, OpClass.DENSE, OpClass.MATMUL}


@functools.cache
def layers(name: str) -> tuple[LayerFeatures, ...]:
    return features_of_model(zoo.build(name, 0), {"batch": 1}, batch=1)


def products(name: str) -> int:
    """MACs of convolutions and dense layers."""
    return sum(layer.macs or 0 for layer in layers(name) if layer.op_class in PRODUCTS)


def not_learned(name: str) -> int:
    """Elements of batch normalisation that others do not count: mean and variance. In DenseNet, which came from Caffe,
    gain and shift are a Mul and an Add, and those of the normalisation itself are constants too."""
    held = sum(layer.parameters or 0 for layer in layers(name) if layer.op == "BatchNormalization")
    return held if name == "densenet121" else held // 2


@pytest.mark.parametrize("name", zoo.NAMES)
def test_every_operator_of_the_zoo_is_counted(name: str) -> None:
    whole = total(layers(name))
    assert whole.uncounted == ()
    assert whole.macs is not None
    assert whole.flops == 2 * whole.macs


@pytest.mark.parametrize(
    ("name", "macs", "parameters"),
    [
        ("vgg19", 19.63e9, 143_667_240),  # torchvision VGG19_Weights
        ("resnet50", 4.09e9, 25_557_032),  # torchvision ResNet50_Weights
        ("densenet121", 2.83e9, 7_978_856),  # torchvision DenseNet121_Weights
        ("squeezenet", 0.35e9, 1_235_496),  # torchvision SqueezeNet1_1_Weights: the light network is version 1.1
    ],
)
def test_networks_whose_topology_is_torchvisions(name: str, macs: float, parameters: int) -> None:
    """MACs to the digits that are published, parameters exactly."""
    assert products(name) == pytest.approx(macs, rel=3e-3)
    found = total(layers(name)).parameters
    assert found is not None
    assert found - not_learned(name) == parameters


def test_squeezenet_1_0() -> None:
    """torchvision SqueezeNet1_0_Weights: 0.82 G, 1 248 424 parameters. No light network is it, so it is built here."""
    found = total(features_of_model(squeezenet_1_0()))
    assert found.macs == pytest.approx(0.82e9, rel=3e-3)
    assert found.parameters == 1_248_424


def squeezenet_1_0() -> bytes:
    """Iandola et al., arXiv:1602.07360, table 1, on 224 x 224; weights have shapes and no values."""
    nodes, weights = [], []

    def conv(source: str, cin: int, cout: int, kernel: int, *, stride: int = 1, pad: int = 0) -> str:
        name = f"c{len(nodes)}"
        weights.append(TensorProto(name=f"{name}.w", data_type=1, dims=[cout, cin, kernel, kernel]))
        weights.append(TensorProto(name=f"{name}.b", data_type=1, dims=[cout]))
        nodes.append(
            helper.make_node("Conv", [source, f"{name}.w", f"{name}.b"], [name], strides=[stride] * 2, pads=[pad] * 4)
        )
        return name

    def pool(source: str) -> str:
        nodes.append(
            helper.make_node("MaxPool", [source], [f"p{len(nodes)}"], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
        )
        return str(nodes[-1].output[0])

    x, width = pool(conv("x", 3, 96, 7, stride=2)), 96
    fires = ((16, 64), (16, 64), (32, 128), None, (32, 128), (48, 192), (48, 192), (64, 256), None, (64, 256))
    for fire in fires:
        if fire is None:
            x = pool(x)
            continue
        squeezed = conv(x, width, fire[0], 1)
        parts = [conv(squeezed, fire[0], fire[1], 1), conv(squeezed, fire[0], fire[1], 3, pad=1)]
        nodes.append(helper.make_node("Concat", parts, [f"j{len(nodes)}"], axis=1))
        x, width = nodes[-1].output[0], 2 * fire[1]
    last = conv(x, width, 1000, 1)
    value = helper.make_tensor_value_info
    graph = helper.make_graph(nodes, "g", [value("x", 1, [1, 3, 224, 224])], [value(last, 1, None)], weights)
    data: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]).SerializeToString()
    return data


def test_googlenet() -> None:
    """Sze et al.: 1.43 G MACs, 7.0 M weights (Szegedy et al.: 1.5 G operations). BVLC's version, without side heads."""
    assert products("inception_v1") == pytest.approx(1.43e9, rel=3e-3)
    assert total(layers("inception_v1")).parameters == pytest.approx(7.0e6, rel=3e-3)


def test_inception_v2() -> None:
    """BN-Inception: 2.05 G MACs, 11.3 M parameters; within 2 %, since reductions differ between implementations."""
    assert products("inception_v2") == pytest.approx(2.05e9, rel=0.02)
    assert total(layers("inception_v2")).parameters == pytest.approx(11.3e6, rel=0.02)


def test_alexnet() -> None:
    """724 M MACs are for images of 227 x 227; the light network has 224 x 224, whose maps are 54, 26, 12 wide, not 55,
    27, 13: each convolution shrinks by the square of that, dense layers stay as they are."""
    found = [layer for layer in layers("bvlc_alexnet") if layer.op_class in PRODUCTS]
    assert [layer.groups for layer in found[:5]] == [1, 2, 1, 2, 2]
    larger = [(55 / 54) ** 2, (27 / 26) ** 2, *[(13 / 12) ** 2] * 3, 1.0, 1.0, 1.0]
    scaled = sum((layer.macs or 0) * factor for layer, factor in zip(found, larger, strict=True))
    assert scaled == pytest.approx(724e6, rel=2e-3)
    assert products("bvlc_alexnet") == 654_560_384
    assert total(layers("bvlc_alexnet")).parameters == pytest.approx(61e6, rel=1e-3)


def test_shufflenet() -> None:
    """Table 1 has 133 M for 4 groups at full width. The light network has half of its channels (136, 272, 544) but
    bottlenecks as wide as their output instead of a quarter: near it by design, not equal."""
    assert products("shufflenet") == pytest.approx(133e6, rel=0.1)
    widths = {layer.out_channels for layer in layers("shufflenet") if layer.op_class is OpClass.DEPTHWISE}
    assert widths == {112, 136, 272, 544} or widths >= {136, 272, 544}


def test_generated_lstm_by_hand() -> None:
    """64 steps: 4 x 256 x (80 + 256) + 4 x 256 x (256 + 256) MACs each, and 256 x 128 at the end."""
    found = features_of_model(generated.build("lstm", 0), {"batch": 1, "sequence": 64})
    assert total(found).macs == 64 * (4 * 256 * 336 + 4 * 256 * 512) + 256 * 128


def test_generated_transformer_by_hand() -> None:
    """4 blocks on 64 tokens of width 192: 4 S D^2 + 2 S S D + 2 S D F; 192 x 128 at the end. The lengths of its slices
    are computed from the shape of its input."""
    found = features_of_model(generated.build("transformer", 0), {"batch": 1, "sequence": 64})
    whole = total(found)
    assert whole.macs == 4 * (4 * 64 * 192**2 + 2 * 64 * 64 * 192 + 2 * 64 * 192 * 768) + 192 * 128
    # embedding, positions, blocks, 9 gains, head
    assert whole.parameters == 2000 * 192 + 1024 * 192 + 4 * (4 * 192**2 + 2 * 192 * 768) + 9 * 192 + 193 * 128
