"""Characterisation files: what `joulebench meters characterise` writes and a bench names."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from harness.config.complain import each_once, validated
from harness.config.facts import Date, NotNegative, Positive, Relative, Section, Text
from harness.config.yaml_lines import load_yaml
from harness.config.yaml_new import write_new
from harness.core.character import ChannelCharacter, Characterisation

HEAD = """# What a coded load showed of one unit's readings. Times in s; u95: half widths, 95 %.
# kinds: of reading; several: the load could not tell them apart. delay: from the end of the window to the stamp.
"""
Kind = Literal["point", "mean", "overlapping", "filtered", "part_time"]


class CharacterisedChannelSection(Section):
    """Kernel of one channel's readings."""

    channel: Text
    kinds: Annotated[tuple[Kind, ...], Field(min_length=1)]
    update_s: Positive
    update_u95_s: NotNegative
    window_s: NotNegative
    window_u95_s: NotNegative
    tau_s: NotNegative
    tau_u95_s: NotNegative
    delay_s: float
    delay_u95_s: NotNegative
    rise_s: NotNegative
    rise_u95_s: NotNegative
    duty: Relative
    duty_u95: NotNegative
    gain: float | None = None
    gain_u95: NotNegative | None = None
    offset_w: float | None = None
    offset_u95_w: NotNegative | None = None


class CharacterFile(Section):
    """The character of one unit, as `joulebench meters characterise` writes it."""

    serial: str
    date: Date
    load: Text
    channels: Annotated[tuple[CharacterisedChannelSection, ...], Field(min_length=1)]
    against: str = ""


def load_character(path: Path) -> Characterisation:
    """The characterisation in a file. SpecError with file and line."""
    document = load_yaml(path)
    file = validated(document, CharacterFile, "the characterisation")
    each_once(document, [c.channel for c in file.channels], "characterised")
    channels = tuple(ChannelCharacter(**c.model_dump()) for c in file.channels)
    return Characterisation(file.serial, file.date, file.load, channels, file.against)


def write_character(found: Characterisation, path: Path) -> None:
    """Write a characterisation file. SpecError if there is one already: it is never overwritten."""
    data = dataclasses.asdict(found)
    data["channels"] = [
        {k: list(v) if isinstance(v, tuple) else v for k, v in c.items() if v is not None} for c in data["channels"]
    ]
    write_new(path, HEAD, data)
