"""Which class an operator belongs to, for colours and for shares: what it computes, not how it was fused."""

from __future__ import annotations

_NAMED = {
    "convolution": "Conv FusedConv NhwcConv NhwcFusedConv QLinearConv ConvInteger ConvTranspose",
    "matrix product": "Gemm FusedGemm MatMul FusedMatMul MatMulInteger MatMulNBits QLinearMatMul QGemm Einsum "
    "DynamicQuantizeMatMul TransposeMatMul MatMulIntegerToFloat",
    "recurrent": "LSTM GRU RNN DynamicQuantizeLSTM",
    "attention": "Attention MultiHeadAttention QAttention GroupQueryAttention Softmax LogSoftmax",
    "normalisation": "BatchNormalization LayerNormalization SkipLayerNormalization SimplifiedLayerNormalization LRN "
    "InstanceNormalization GroupNorm EmbedLayerNormalization",
    "activation": "Relu LeakyRelu PRelu Sigmoid Tanh HardSigmoid HardSwish Clip Elu Selu Gelu BiasGelu FastGelu "
    "QuickGelu Erf Mish",
    "pooling": "MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool QLinearAveragePool ReduceMean "
    "QLinearGlobalAveragePool",
    "elementwise": "Add Mul Sub Div Pow Sqrt Sum Exp Neg Where Min Max QLinearAdd QLinearMul",
    "data movement": "Reshape Transpose Concat Split Slice Gather Squeeze Unsqueeze Flatten Pad Expand Cast Identity "
    "Shape Tile Resize Upsample ReorderInput ReorderOutput QuantizeLinear DequantizeLinear MemcpyToHost MemcpyFromHost",
    "outside kernels": "outside",
}
OTHER, SEVERAL = "other", "several"
CLASSES = (*_NAMED, SEVERAL, OTHER)
_CLASS_OF = {op: name for name, ops in _NAMED.items() for op in ops.split()}


def class_of(op: str) -> str:
    """Class of an operator type; `other` if it is none of ours."""
    return _CLASS_OF.get(op, OTHER)


def class_of_ops(ops: list[str]) -> str:
    """Class of a group of layers: theirs if they agree, else `several`."""
    found = {class_of(op) for op in ops}
    return found.pop() if len(found) == 1 else SEVERAL if found else OTHER
