"""`layers` of a protocol: what may be asked for of which runtime, and that old runs keep their identity."""

from __future__ import annotations

from typing import Any

import pytest

HEAD = "bench: lab\nmodels: [zoo:a]\n"


def test_layers_are_part_of_the_protocol_and_off_unless_asked_for(lab: Any) -> None:
    (off,) = lab.resolve(HEAD)
    assert off.protocol.layers == "off" and "layers" not in off.canonical()
    (said,) = lab.resolve(HEAD + "protocol: {layers: 'off'}\n")
    assert said.run_id == off.run_id
    (asked,) = lab.resolve(HEAD + "protocol: {layers: profile, profile_inferences: 20}\n")
    assert (asked.protocol.layers, asked.protocol.profile_inferences) == ("profile", 20)
    assert asked.run_id != off.run_id


def test_off_needs_no_quotes(lab: Any) -> None:
    (spec,) = lab.resolve(HEAD + "protocol: {layers: off}\n")
    assert spec.protocol.layers == "off"


COMMAND = "runtime: {name: command, command: [x, '{n}']}\n"
REFUSALS = {
    "command": (
        COMMAND + "protocol: {layers: profile}\n",
        4,
        "`command` cannot say when its kernels run",
        "layers: off",
    ),
    "torch instances": (
        "runtime: {name: torch}\nprotocol: {layers: instances}\n",
        4,
        "torch cannot stamp",
        "layers: profile",
    ),
    "count without": ("protocol: {profile_inferences: 20}\n", 3, "no effect with layers: off", "layers: profile"),
    "too many": ("protocol: {layers: profile, profile_inferences: 501}\n", 3, "profile_inferences", ""),
    "unknown": ("protocol: {layers: everything}\n", 3, "layers", ""),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_profiled_is_refused_with_its_line(lab: Any, case: str) -> None:
    text, line, says, mend = REFUSALS[case]
    error = lab.refusal(HEAD + text)
    assert f"campaign.yaml:{line}:" in str(error) and says in error.message and mend in error.hint
