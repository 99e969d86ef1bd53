"""What a model is once it can run: a file, its inputs and its signature with every axis resolved."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.generic]


@dataclass(frozen=True)
class TensorSignature:
    """One input of a model: numpy dtype name, and each dimension as a size or the name of a dynamic axis.

    `value_range`: [low, high) of generated integers, from the model's metadata, if it says so.
    """

    name: str
    dtype: str
    dims: tuple[int | str, ...]
    value_range: tuple[int, int] | None = None

    def shape(self, axes: Mapping[str, int]) -> tuple[int, ...]:
        """The resolved shape; KeyError names an axis that `axes` lacks."""
        return tuple(d if isinstance(d, int) else axes[d] for d in self.dims)


@dataclass(frozen=True)
class PreparedModel:
    """A model ready to be deployed.

    `path`: the model file on this host; `sha256`: of its bytes; `inputs`: name -> array as the signature wants
    it (empty for a file that is not ONNX, which only the runtime `command` can run); `inputs_path`,
    `inputs_sha256`: the same inputs as an .npz file.
    """

    path: Path
    sha256: str
    inputs: Mapping[str, Array]
    signature: tuple[TensorSignature, ...]
    inputs_path: Path | None = None
    inputs_sha256: str | None = None
    axes: Mapping[str, int] = field(default_factory=dict)
