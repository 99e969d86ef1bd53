"""`torch:NAME`: small networks written in torch, of kinds people export from it; weights by seed, batch free.

Weights come from numpy's generator, layer by layer by name, so that neither torch's version nor the machine draws
others. Imported only by the process that exports them (harness.models.torch_worker): torch is an extra.
"""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

VOCABULARY, LONGEST, WIDTH = 2000, 512, 128
CLASSES = 100


class ConvNet(nn.Module):
    """Plain convolutions with batch normalisation, as on small boards' first day: images [batch, 3, 64, 64]."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 32, 64, 128, 128)
        blocks = [
            layer
            for cin, cout in itertools.pairwise(widths)
            for layer in (
                nn.Conv2d(cin, cout, 3, padding=1, bias=False),
                nn.BatchNorm2d(cout),
                nn.ReLU(),
                nn.MaxPool2d(2),
            )
        ]
        self.features = nn.Sequential(*blocks)
        self.scores = nn.Linear(128 * 4 * 4, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.features(images).flatten(1))
        return scores


class InvertedResidual(nn.Module):
    """Expand, filter each channel by itself, project (Sandler et al. 2018)."""

    def __init__(self, cin: int, cout: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = cin * expansion
        self.residual = stride == 1 and cin == cout
        self.steps = nn.Sequential(
            nn.Conv2d(cin, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(),
            nn.Conv2d(hidden, cout, 1, bias=False), nn.BatchNorm2d(cout),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        filtered: Tensor = self.steps(x)
        return x + filtered if self.residual else filtered


class MobileNet(nn.Module):
    """The body of MobileNetV2 at width 0.5: images [batch, 3, 96, 96]."""

    STAGES = ((1, 8, 1, 1), (6, 16, 2, 2), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1))

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, 16, 3, 2, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6()]
        width = 16
        for expansion, cout, count, stride in self.STAGES:
            for k in range(count):
                layers.append(InvertedResidual(width, cout, stride=stride if k == 0 else 1, expansion=expansion))
                width = cout
        self.features = nn.Sequential(*layers, nn.Conv2d(width, 640, 1, bias=False), nn.BatchNorm2d(640), nn.ReLU6())
        self.scores = nn.Linear(640, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.scores(self.features(images).mean((2, 3)))
        return scores


class Block(nn.Module):
    """A pre-norm encoder block whose attention is torch's own scaled_dot_product_attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.project = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.qkv(self.norm1(x)).reshape(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        fed: Tensor = x + self.down(nn.functional.gelu(self.up(self.norm2(x))))
        return fed


class Transformer(nn.Module):
    """Three encoder blocks of width 128, mean-pooled: tokens [batch, sequence <= 512]."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.places = nn.Embedding(VOCABULARY, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.blocks = nn.ModuleList([Block(WIDTH, 4) for _ in range(3)])
        self.norm, self.scores = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, CLASSES)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        scores: Tensor = self.scores(self.norm(x).mean(1))
        return scores


NETWORKS: dict[str, Callable[[], nn.Module]] = {"convnet": ConvNet, "mobilenet": MobileNet, "transformer": Transformer}


def network(name: str, seed: int) -> nn.Module:
    """Network `name` in evaluation mode, all its weights drawn by `seed`."""
    made = NETWORKS[name]().eval()
    branches = {
        f"{k}.steps.6.weight" for k, m in made.named_modules() if isinstance(m, InvertedResidual) and m.residual
    }
    values = {}
    for key, old in made.state_dict().items():
        if key.endswith("num_batches_tracked"):
            values[key] = old
            continue
        rng = np.random.default_rng([seed, zlib.crc32(f"torch/{name}/{key}".encode())])
        gain = 0.4 if key in branches else 1.0  # a residual sum adds variance each time
        values[key] = torch.from_numpy((gain * _drawn(rng, key, tuple(old.shape))).astype(np.float32))
    made.load_state_dict(values)
    return made


def _drawn(rng: np.random.Generator, key: str, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if key.endswith("running_var"):
        return rng.uniform(0.8, 1.25, shape)
    if key.endswith("weight") and len(shape) == 1:  # the gain of a normalisation
        return rng.uniform(0.8, 1.2, shape)
    if key.endswith("weight") and key.startswith(("words", "places")):
        return rng.standard_normal(shape)
    if key.endswith("weight"):
        # Rows of sum 0: the mean behind a ReLU, the same for every input, would otherwise grow from layer to layer.
        fan_in = int(np.prod(shape[1:]))
        rows = rng.standard_normal((shape[0], fan_in))
        rows -= rows.mean(axis=1, keepdims=True)
        gain = 1.7 if len(shape) == 4 else 1.0
        rows *= gain / np.sqrt(fan_in)
        return rows.reshape(shape)
    return 0.05 * rng.standard_normal(shape)
