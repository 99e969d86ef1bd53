"""Files that a command writes for a person to keep and to name: YAML that nothing overwrites."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from harness.core.errors import SpecError


def write_new(path: Path, head: str, data: Mapping[str, Any]) -> None:
    """`data` (mappings, lists, scalars) beneath the comment `head`. SpecError if the file exists already."""
    yaml = YAML(pure=True)  # keeps the order of the keys
    yaml.default_flow_style = False
    try:
        with path.open("x", encoding="utf-8") as out:
            out.write(head)
            yaml.dump(dict(data), out)
    except FileExistsError:
        raise SpecError(f"{path} exists already", hint="give another file name; nothing is overwritten") from None
    except OSError as error:
        raise SpecError(f"cannot write {path}: {error.strerror}", hint="give a writable directory") from None
