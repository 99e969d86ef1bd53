"""Fused attention: B sequences, S queries, T keys, h heads of q, k width d and v width e.

MACs B h S T (d + e), plus the projections where they are inside (com.microsoft Attention: B S D x columns).
Softmax over B h S T scores: 4 operations and an exponential each; scaling is one more, a mask one more.
Masked products are counted: a causal mask saves work only in some runtimes.
"""

from __future__ import annotations

from typing import Any

from analysis.features.node import Count, Node, Uncountable
from analysis.features.operators.normalisation import LAYER_OPS
from analysis.features.record import OpClass

SOFTMAX_OPS, SCALE_OPS = 4, 1


def attention(node: Node) -> Count:
    """Attention of com.microsoft (with projections) or of ONNX (opset 23, without)."""
    return _projecting(node) if node.domain == "com.microsoft" else _plain(node)


def _projecting(node: Node) -> Count:
    """Inputs: X [B, S, D], weights [D, q + k + v], bias, mask, past [2, B, h, P, d]."""
    x, w = node.input(0).dims, node.input(1).dims
    heads = node.number("num_heads", 0)
    if len(x) != 3 or len(w) != 2 or heads == 0:
        raise Uncountable(f"Attention of input {x}, weights {w} and {heads} heads")
    q, _, v = tuple(node.attributes.get("qkv_hidden_sizes", ())) or (w[1] // 3,) * 3
    past = node.input(4).dims[3] if node.has(4) else 0
    core = _core(
        batch=x[0], heads=heads, queries=x[1], keys=x[1] + past, qk=q // heads, v=v // heads, masked=node.has(3)
    )
    projected = x[0] * x[1] * w[1]
    return _count(core, node, macs=projected * x[2], other=projected * node.has(2), control=frozenset({3, 6}))


def _plain(node: Node) -> Count:
    """Inputs Q, K, V as [B, S, h d] with head attributes or as [B, h, S, d]; mask, past key, past value."""
    q, k, v = (node.input(i).dims for i in range(3))
    past = node.input(4).dims[2] if node.has(4) else 0
    if len(q) == 4:
        core = _core(batch=q[0], heads=q[1], queries=q[2], keys=k[2] + past, qk=q[3], v=v[3], masked=node.has(3))
        return _count(core, node)
    heads, shared = node.number("q_num_heads", 0), node.number("kv_num_heads", 0)
    if not heads or not shared or len(q) != 3:
        raise Uncountable(f"Attention of queries {q} with {heads} heads")
    core = _core(
        batch=q[0], heads=heads, queries=q[1], keys=k[1] + past, qk=q[2] // heads, v=v[2] // shared, masked=node.has(3)
    )
    return _count(core, node)


def multi_head(node: Node) -> Count:
    """MultiHeadAttention of com.microsoft: Q [B, S, D], K and V [B, T, D] or already split [B, h, T, d]; or packed."""
    heads = node.number("num_heads", 0)
    q = node.input(0).dims
    if heads == 0 or len(q) != 3 or not node.has(1) or not node.has(2):
        raise Uncountable(f"MultiHeadAttention with packed operands (queries {q}, {heads} heads)")
    k, v = node.input(1).dims, node.input(2).dims
    past = node.input(6).dims[2] if node.has(6) else 0
    keys, v_width = (k[2], v[3]) if len(k) == 4 else (k[1], v[2] // heads)
    core = _core(
        batch=q[0], heads=heads, queries=q[1], keys=keys + past, qk=q[2] // heads, v=v_width,
        masked=node.has(4) or node.has(5),
    )  # fmt: skip
    biased = sum(node.input(i).elements for i in range(3)) if node.has(3) else 0
    return _count(core, node, other=biased, control=frozenset({4}))


def grouped_query(node: Node) -> Count:
    """GroupQueryAttention without a past, or with one that grows (a shared buffer does not say how much is in use)."""
    heads, shared = node.number("num_heads", 0), node.number("kv_num_heads", 0)
    q = node.input(0).dims
    if not heads or not shared or len(q) != 3:
        raise Uncountable(f"GroupQueryAttention of queries {q} with {heads} heads")
    width = q[2] // heads if node.has(1) else q[2] // (heads + 2 * shared)
    past = 0
    if node.has(3):
        past = node.input(3).dims[2]
        if past and node.output(1).dims[2] != past + q[1]:
            raise Uncountable("GroupQueryAttention with a shared buffer for keys: its length is not their number")
    if node.number("do_rotary", 0) == 1:
        raise Uncountable("GroupQueryAttention with rotary embedding inside")
    core = _core(batch=q[0], heads=heads, queries=q[1], keys=q[1] + past, qk=width, v=width, masked=True)
    return _count(core, node, control=frozenset({5, 6}))


def rotary(node: Node) -> Count:
    """RotaryEmbedding: x cos + rotated x sin: two multiplications and one addition per element."""
    return Count(OpClass.ELEMENTWISE, other_ops=3 * node.input(0).elements)


def embed_layer_norm(node: Node) -> Count:
    """EmbedLayerNormalization: words + positions (+ segments, where there are any), then layer normalisation."""
    out = node.output()
    width, rows = out.dims[-1], out.elements // out.dims[-1]
    segments = node.has(1) and node.has(4)
    read = {2: out.elements, 3: out.dims[-2] * width}
    if segments:
        read[4] = out.elements
    return Count(
        OpClass.EMBEDDING, other_ops=(LAYER_OPS + 1 + segments) * out.elements, special_ops=rows, read=read,
        control=frozenset({7, 8}), shape={"rows": rows},
    )  # fmt: skip


def _core(*, batch: int, heads: int, queries: int, keys: int, qk: int, v: int, masked: bool) -> dict[str, Any]:
    scores = batch * heads * queries * keys
    return {
        "macs": scores * (qk + v), "other": scores * (SOFTMAX_OPS + SCALE_OPS + masked), "special": scores,
        "shape": {"sequence_length": queries, "context_length": keys, "heads": heads},
    }  # fmt: skip


def _count(
    core: dict[str, Any], node: Node, *, macs: int = 0, other: int = 0, control: frozenset[int] = frozenset()
) -> Count:
    if node.number("do_rotary", 0) == 1:
        raise Uncountable(f"{node.op} with rotary embedding inside")
    return Count(
        OpClass.ATTENTION, macs=core["macs"] + macs, other_ops=core["other"] + other, special_ops=core["special"],
        control=control, shape=core["shape"],
    )  # fmt: skip


RULES = {
    "Attention": attention, "MultiHeadAttention": multi_head, "GroupQueryAttention": grouped_query,
    "RotaryEmbedding": rotary, "EmbedLayerNormalization": embed_layer_norm,
}  # fmt: skip
