"""What a bench file binds to what, held against what the meter turned out to be."""

from __future__ import annotations

from harness.core.errors import SpecError
from harness.core.spec import MeterBinding
from harness.core.trace import MeterInfo


def live_channel(binding: MeterBinding, info: MeterInfo) -> str:
    """The channel the judge watches: the first one bound to a total rail; SpecError if there is none."""
    for channel, rail in binding.rails:
        if rail in binding.total_rails:
            try:
                return info.channel(channel).name
            except KeyError as error:
                raise SpecError(
                    f"bench meter {binding.name!r} binds channel {channel!r}, which {info.model} {info.serial} "
                    f"does not have; it has {[c.name for c in info.channels]}",
                    hint="correct `rails` of this meter in the bench file",
                ) from error
    raise SpecError(
        f"no rail of meter {binding.name!r} is declared in `total`", hint="declare the total in the bench file"
    )


def check_total(binding: MeterBinding, info: MeterInfo) -> None:
    """SpecError if the declared total holds a channel and a part of it: that energy would count twice.

    Drivers say so in `MeterInfo.details` as `part_of:<channel>`; a part of a part is a part.
    """
    summed = {channel for channel, rail in binding.rails if rail in binding.total_rails}
    for channel in sorted(summed):
        whole, seen = info.details.get(f"part_of:{channel}"), {channel}
        while whole is not None and whole not in summed and whole not in seen:
            seen.add(whole)
            whole = info.details.get(f"part_of:{whole}")
        if whole in summed - {channel}:
            raise SpecError(
                f"the total of meter {binding.name!r} holds {whole!r} and {channel!r}, which is a part of it",
                hint=f"leave the rail of {channel!r} out of `total` in the bench file; it is still recorded",
            )


def check_calibration(binding: MeterBinding, info: MeterInfo) -> None:
    """SpecError if the calibration that the bench names is of another unit."""
    calibration = binding.calibration
    if calibration is not None and calibration.serial != info.serial:
        raise SpecError(
            f"the calibration of meter {binding.name!r} is of serial {calibration.serial!r}, "
            f"this one is {info.serial!r}",
            hint="name the calibration of this very unit in the bench file, or none",
        )
