"""Descriptions are checked when they are read: what they name must exist, and errors say in which line."""

from __future__ import annotations

from pathlib import Path

import pytest

from drivers.visa.description import SHIPPED, find_description, load_description, shipped
from drivers.visa.options import VisaOptions
from harness.core.errors import SpecError
from harness.core.ports import MeterRequest

WT310 = (SHIPPED / "wt310.yaml").read_text("utf-8")


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_description_loads_and_says_where_its_facts_are_from(name: str) -> None:
    described = find_description(instrument=name)
    this = described.instrument
    assert len(this.manual) > 60
    for channel in this.channels.values():
        for limits in channel.accuracy:
            assert len(limits.source) > 20, "limits without a source"


@pytest.mark.parametrize(
    ("before", "after", "line_of", "words", "hint"),
    [
        ("coupling: {default: RMS,", "coupling: {default: AC,", "coupling: {", "none of its choices", "RMS, DC"),
        (":INP:SYNC {sync}", ":INP:SYNC {synk}", ":INP:SYNC", "{synk} stands for nothing", "did you mean 'sync'?"),
        ("items: [u, i, p, wh,", "items: [u, i, q, wh,", "- {query:", "there is no item 'q'", "the items are"),
        ("items: [u, i, p, wh,", "items: [u, i, -, wh,", "  p: {unit", "the item 'p' is never read", "leave it out"),
        ("items: [u, i, p, wh,", "items: [u, i, i, wh,", "- {query:", "the item 'i' is read twice", 'write "-"'),
        ("of: [p]", "of: [u]", "  power:", "multiplies V", "W, J or Wh"),
        ("kind: mean", "kind: counter", "kind: counter", "in W is said to be a counter", "J and Wh are counters"),
        ("kind: mean", "kind: part_time", "  power:", "part_time, of unknown window_s", "add window_s"),
        ("must_be: voltage", "must_be: volts", "  u_range", "there is no range 'volts'", "ranges"),
        ("level: u", "level: v", "    level:", "there is no item 'v'", "the items are"),
        ("update_s: update_s", "update_s: sync", "  update_s: sync", "'sync' is not a number everywhere", ""),
        ("style: polled", "style: polled\n  every: 3", "  every:", "unknown key 'every'", ""),
        ("steps: [15, 30,", "steps: [30, 15,", "    steps:", "from the smallest to the largest", ""),
        ("(?P<model>", "(", "identify:", "no group (?P<model>...)", "*IDN?"),
        ("- when: {coupling: DC}", "- when: {copling: DC}", "- when:", "an option 'copling'", "coupling"),
    ],
)
def test_what_does_not_fit_is_named_with_its_line(
    tmp_path: Path, before: str, after: str, line_of: str, words: str, hint: str
) -> None:
    assert before in WT310
    text = WT310.replace(before, after, 1)
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(SpecError) as caught:
        load_description(path)
    assert words in caught.value.message
    assert hint in caught.value.hint
    wanted = next(k for k, line in enumerate(text.splitlines(), 1) if line_of in line)
    assert caught.value.line is not None and abs(caught.value.line - wanted) <= 1
    assert caught.value.file == str(path)


def test_what_a_buffered_instrument_would_never_be_asked_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text((SHIPPED / "ngu.yaml").read_text("utf-8") + 'unchanged: [":FLOG:SRAT?"]\n', "utf-8")
    with pytest.raises(SpecError, match="settings of a buffered instrument are not asked again"):
        load_description(path)


def test_a_command_that_no_line_could_carry_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(WT310.replace(":INP:CFAC 3", ":INP:CFAC 3 \u00b5"), "utf-8")
    with pytest.raises(SpecError, match="plain ASCII"):
        load_description(path)


def test_an_unknown_instrument_is_answered_with_the_nearest() -> None:
    with pytest.raises(SpecError, match="no description of the instrument 'wt31'") as caught:
        find_description(instrument="wt31")
    assert "did you mean 'wt310'?" in caught.value.hint


def options(**given: str | int | float) -> VisaOptions:
    return VisaOptions.parse(MeterRequest("wall", {"resource": "X::INSTR", "instrument": "wt310", **given}))


def test_commands_hold_what_the_user_means_in_the_instruments_words() -> None:
    made = options(update_s=0.50, coupling="dc", element=2)
    commands = made.commands(made.described.instrument.configure)
    assert {":INP:MODE DC", ":INP:SYNC VOLTAGE", ":RATE 500MS", ":NUM:NORM:ITEM3 P,2"} <= set(commands)
    assert made.text(":NUM:NORM:ITEM1 U,{element}") == ":NUM:NORM:ITEM1 U,2"
    assert made.update_s == 0.5 and made.holds({"coupling": "DC"}) and not made.holds({"coupling": "RMS"})


def test_one_of_instrument_and_description_is_needed() -> None:
    for given in ({"instrument": ""}, {"description": "here.yaml"}):
        with pytest.raises(SpecError, match="needs one of instrument and description"):
            options(**given)


def test_every_range_and_every_option_can_be_chosen() -> None:
    for name in shipped():
        described = find_description(instrument=name)
        given: dict[str, str | int | float] = {"resource": "X::INSTR", "instrument": name}
        given |= {f"{range_name}_range": r.steps[-1][0] for range_name, r in described.instrument.ranges.items()}
        for range_name, section in described.instrument.ranges.items():
            for size, _ in section.steps:
                made = VisaOptions.parse(MeterRequest("m", {**given, f"{range_name}_range": size}))
                assert made.ranges[range_name] == size
        for option, declared in described.instrument.options.items():
            for said, text in declared.choices:
                made = VisaOptions.parse(MeterRequest("m", {**given, option: said}))
                assert made.said[option] == (said, text)
