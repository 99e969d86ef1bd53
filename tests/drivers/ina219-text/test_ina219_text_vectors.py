"""Lines as published sketches print them (see data/README), through the tolerant reader; and what it refuses."""

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.ina219.text_codec import LineSplitter, TextDecoder
from drivers.ina219.text_fields import named_field, number
from drivers.ina219.text_formats import Columns, Record, given_columns, header_of, read_pairs, recognise
from drivers.ina219.text_rows import Recipe, TextRows
from harness.core.errors import SpecError

DATA = Path(__file__).parent / "data"


def read(name: str, columns: str = "") -> list[Record]:
    lines = LineSplitter().feed(b"cut\n" + (DATA / name).read_bytes())
    form = given_columns(columns) if columns else recognise(lines, shunt_ohm=0.1)
    assert form is not None
    decoder = TextDecoder(form)
    return [record for line in lines for record in decoder.line(line)]


def si(record: Record) -> dict[str, float]:
    return {quantity: value.nano * 1e-9 for quantity, value in record.values.items()}


@pytest.mark.parametrize(
    ("name", "columns", "first", "count"),
    [
        (
            "adafruit-getcurrent.txt", "",
            {"bus": 4.98, "shunt": 12.30e-3, "load": 4.99, "current": 0.1230, "power": 0.612}, 10,
        ),
        ("esp32-practice.txt", "", {"voltage": 5.01, "current": 0.01230, "power": 0.0615}, 9),
        ("luca-bondi-millis.txt", "", {"bus": 4.96, "shunt": 40.30e-3, "load": 5.0, "current": 0.4030}, 12),
        ("luca-bondi-header.txt", "", {"bus": 4.96, "shunt": 40.30e-3, "load": 5.0, "current": 0.4030}, 11),
        ("getcurrent-csv.txt", "millis,load_v,current_ma", {"load": 5.0, "current": 0.4030}, 12),
        ("blanks.txt", "millis,current_ma,power_mw", {"current": 0.4030, "power": 2.0}, 12),
        ("json.txt", "", {"bus": 4.964, "current": 0.4030}, 12),
    ],
)  # fmt: skip
def test_published_formats(name: str, columns: str, first: dict[str, float], count: int) -> None:
    records = read(name, columns)
    assert len(records) == count
    assert si(records[0]) == pytest.approx(first)


@pytest.mark.parametrize("name", ["getcurrent-csv.txt", "blanks.txt"])
def test_unnamed_columns_are_not_guessed(name: str) -> None:
    with pytest.raises(SpecError) as caught:
        read(name)
    assert "3 columns" in caught.value.message
    assert 'columns: "millis,bus_v,current_ma"' in caught.value.hint


def test_five_columns_that_do_not_prove_themselves_are_refused() -> None:
    lines = [f"{20 * k},4.96,40.30,4.90,403.00" for k in range(20)]  # load is not bus + shunt
    with pytest.raises(SpecError, match="5 columns"):
        recognise(lines, shunt_ohm=0.1)
    amps = [f"{20 * k},4.96,40.30,5.00,0.40" for k in range(20)]  # the last is not mA
    with pytest.raises(SpecError, match="5 columns"):
        recognise(amps, shunt_ohm=0.1)
    other = [f"{20 * k},4.96,40.30,5.00,403.00" for k in range(20)]
    with pytest.raises(SpecError, match="5 columns"):
        recognise(other, shunt_ohm=0.01)
    assert isinstance(recognise(other, shunt_ohm=0.1), Columns)


def test_an_idle_board_proves_nothing() -> None:
    """Below 5 mV the printed digits hide the proof: better no answer than the wrong one."""
    lines = [f"{20 * k},5.00,0.10,5.00,1.00" for k in range(20)]
    with pytest.raises(SpecError):
        recognise(lines, shunt_ohm=0.1)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("BusV[V]", "bus_v"), ("ShuntV[mV]", "shunt_mv"), ("Current (mA)", "current_ma"), ("current_ma", "current_ma"),
        ("power_mW", "power_mw"), ("millis", "millis"), ("Time (ms)", "millis"), ("voltage_V", "voltage_v"),
        ("load voltage [V]", "load_v"), ("-", "-"), ("micros", "micros"), ("current_ua", "current_ua"),
    ],
)  # fmt: skip
def test_names_with_units(text: str, name: str) -> None:
    found = named_field(text)
    assert found is not None
    assert found.name == name


@pytest.mark.parametrize(
    "text", ["current", "voltage", "bus_ma", "temp_c", "power_v", "", "5.00", "current_kg", "time"]
)
def test_names_without_a_unit_or_with_a_wrong_one_mean_nothing(text: str) -> None:
    assert named_field(text) is None
    assert header_of(f"millis,{text}") is None


@pytest.mark.parametrize("text", ["nan", "inf", "ovf", "", "--", "1e5", "0x10", "1,5", "12.3.4", "٣"])
def test_what_is_no_printed_decimal(text: str) -> None:
    assert number(text, 0) is None


def test_printed_decimals_are_exact() -> None:
    value = number("403.40", -3)
    assert value is not None
    assert (value.nano, value.digit_nano) == (403_400_000, 10_000)
    negative = number("-0.10", -3)
    assert negative is not None
    assert negative.nano == -100_000


def test_units_are_read_on_every_line() -> None:
    pairs = read_pairs("Current: 1.02 A")
    assert pairs is not None
    assert pairs[0][1].nano == 1_020_000_000
    assert read_pairs("Current: 1.02") is None
    assert read_pairs("Current: 1.02 V") is None
    two = read_pairs("Bus Voltage: 4.98 V, Current: 12.30 mA")
    assert two is not None
    assert [q for q, _ in two] == ["bus", "current"]


def test_a_group_that_lost_a_line_is_no_record() -> None:
    whole = "Voltage: 5.01 V\nCurrent: 12.30 mA\nPower: 61.50 mW\n"
    text = "cut\n" + whole * 10 + "Voltage: 5.01 V\nPower: 61.50 mW\n" + whole * 10
    lines = LineSplitter().feed(text.encode())
    form = recognise(lines, shunt_ohm=0.1)
    assert form is not None
    decoder = TextDecoder(form)
    assert len([r for line in lines for r in decoder.line(line)]) == 19


def test_a_lost_decimal_point_does_not_make_a_hundredfold_reading() -> None:
    decoder = TextDecoder(given_columns("millis,load_v,current_ma"))
    good = [decoder.line(f"{20 * k},5.00,403.40") for k in range(20)]
    assert all(good)
    for bad in ("400,5.00,40340", "420,500,403.40", "440,5.00,4403.40", "460,5.00,403.4", "480,55.00,403.40"):
        assert decoder.line(bad) == []
    assert decoder.take_bad() == 5


@pytest.mark.parametrize(
    ("quantities", "options", "words"),
    [
        ({"bus", "shunt", "load", "current", "power"}, {}, "current x (bus)"),
        ({"bus", "shunt", "current"}, {"load_side": False}, "current x (bus + printed shunt voltage)"),
        ({"load", "current"}, {}, "current x (load - current x 0.1 ohm)"),
        ({"load", "shunt", "current"}, {}, "current x (load - printed shunt voltage)"),
        ({"load", "current"}, {"load_side": False}, "current x (load)"),
        ({"current", "power"}, {}, "power as printed"),
        ({"current"}, {"supply_v": 5.1}, "current x (supply_v - current x 0.1 ohm)"),
    ],
)
def test_where_power_comes_from(quantities: set[str], options: dict[str, object], words: str) -> None:
    given = {"load_side": True, "supply_v": None, "shunt_ohm": 0.1} | options
    assert Recipe.of(frozenset(quantities), **given).words == words  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("quantities", "load_side"), [({"current"}, True), ({"bus"}, True), ({"current", "power"}, False), (set(), True)]
)
def test_no_power_without_what_it_takes(quantities: set[str], load_side: bool) -> None:
    with pytest.raises(SpecError):
        Recipe.of(frozenset(quantities), load_side=load_side, supply_v=None, shunt_ohm=0.1)


def test_milliseconds_wrap_after_49_7_days() -> None:
    form = given_columns("millis,bus_v,current_ma")
    recipe = Recipe.of(frozenset({"bus", "current"}), load_side=True, supply_v=None, shunt_ohm=0.1)
    rows = TextRows(recipe, wrap_us=form.wrap_us, period_ns=20_000_000)
    start = (1 << 32) - 50
    for k in range(8):
        (record,) = form.parse(f"{(start + 20 * k) % (1 << 32)},5.00,100.00") or []
        rows.add(record, 10**12 + 20_000_000 * k)
    block = rows.take({})
    assert block is not None
    assert (block.t_ns[1:] - block.t_ns[:-1]).tolist() == [20_000_000] * 7
    assert not block.gaps


TEXT = b"cut\r\n" + (DATA / "luca-bondi-millis.txt").read_bytes() + b"\xff\xfe\r\n" + b"x" * 700 + b"\r\n7,1\r\n"


def _fed(data: bytes, cuts: list[int]) -> list[str]:
    splitter = LineSplitter()
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    return [line for a, b in pairwise(edges) for line in splitter.feed(data[a:b])]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(TEXT)), max_size=50))
def test_any_chunking_gives_the_same_lines(cuts: list[int]) -> None:
    assert _fed(TEXT, cuts) == _fed(TEXT, [])


FORMS = [given_columns("millis,bus_v,current_ma"), given_columns("bus_v,shunt_mv,load_v,current_ma")]


@settings(max_examples=400, deadline=None)
@given(
    st.binary(max_size=800) | st.text(alphabet='0123456789.,-:; mAVW\n{}"currentbuspower', max_size=800).map(str.encode)
)
def test_garbage_never_raises(data: bytes) -> None:
    lines = LineSplitter().feed(b"\n" + data + b"\n")
    for form in FORMS:
        decoder = TextDecoder(form)
        for line in lines:
            decoder.line(line)
    try:
        form = recognise(lines, shunt_ohm=0.1)
    except SpecError:
        return
    if form is not None:
        decoder = TextDecoder(form)
        for line in lines:
            decoder.line(line)
