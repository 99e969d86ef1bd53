"""The decoder of inas/1 under any chunking, damage and garbage: it never raises, never invents, and finds back."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.ina219.codec import InasDecoder
from drivers.ina219.messages import Counted, Event, Message, Samples, line, line_frame, samples_frame


def _binary(seq: int, count: int = 3, epoch: int = 1) -> bytes:
    t = np.arange(count) * 532 + 1000 * seq
    return samples_frame(Samples(seq, t, t % 7 - 3, t % 5 * 8 + 2, epoch), dt_us=532 if count > 1 else 0)


TEXT = b"".join(line(f"S,{k},{1000 + 4260 * k},{-3 + k},10002") for k in range(30)) + line("T,7f31,1014500")
MIXED = (
    b"\xf0boot\r\n" + line("H,inas/1,uid=1") + TEXT + b"\0" + b"".join(_binary(3 * k) for k in range(20))
    + line_frame("E,i2c_nack,n=1,t=5") + b"\0" + line("Q,sent=1,ovr=0,i2c=0,late=0") + TEXT
)  # fmt: skip


def _plain(messages: list[Message]) -> list[str]:
    return [repr(m) for m in messages]


def _fed(data: bytes, cuts: list[int]) -> tuple[list[str], dict[str, int], bool]:
    decoder = InasDecoder()
    edges = [0, *sorted(c % (len(data) + 1) for c in cuts), len(data)]
    found = [m for a, b in pairwise(edges) for m in decoder.feed(data[a:b])]
    return _plain(found), decoder.take_counts(), decoder.binary


def test_text_binary_and_text_again() -> None:
    found, counts, binary = _fed(MIXED, [])
    assert len(found) == 1 + 31 + 20 + 1 + 1 + 31
    assert counts == {"noise_lines": 1}
    assert not binary


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, len(MIXED)), max_size=60))
def test_any_chunking_gives_the_same(cuts: list[int]) -> None:
    assert _fed(MIXED, cuts) == _fed(MIXED, [])


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=1500), st.lists(st.integers(0, 1500), max_size=20))
def test_garbage_in_any_chunks_gives_the_same_and_never_raises(data: bytes, cuts: list[int]) -> None:
    assert _fed(data, cuts) == _fed(data, [])


@settings(max_examples=300, deadline=None, derandomize=True)  # 16 bits of checksum let one line of 65536 through
@given(st.data())
def test_damage_loses_lines_but_invents_none(data: st.DataObject) -> None:
    raw = bytearray(MIXED)
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(raw) - 1))
        match data.draw(st.sampled_from(["flip", "drop", "insert", "zero"])):
            case "flip":
                raw[at] ^= 1 << data.draw(st.integers(0, 7))
            case "drop":
                del raw[at]
            case "insert":
                raw.insert(at, data.draw(st.integers(0, 255)))
            case "zero":
                raw[at] = 0
    decoder = InasDecoder()
    found = _plain(decoder.feed(bytes(raw)))
    whole, _, _ = _fed(MIXED, [])
    assert set(found) <= set(whole)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=2000))
def test_it_finds_back_after_any_garbage(data: bytes) -> None:
    decoder = InasDecoder()
    decoder.feed(data)
    decoder.feed(b"\r\n" * 300)  # an idle stretch, longer than anything that could be half received
    found = decoder.feed(b"\r\n" + line("Q,sent=7,ovr=0,i2c=0,late=0") + line("STAT?"))
    found += decoder.feed(line("Q,sent=8,ovr=0,i2c=0,late=0"))
    assert Counted({"sent": 8, "ovr": 0, "i2c": 0, "late": 0}) in found


def test_a_line_that_lost_its_end_costs_only_itself() -> None:
    good = line("S,1,2,3,4")
    decoder = InasDecoder()
    found = decoder.feed(good[:9] + good + good)
    assert len(found) == 2
    assert decoder.counts["bad_lines"] == 0 or decoder.counts["bad_lines"] == 1


def test_a_reset_device_is_heard_in_binary_mode() -> None:
    decoder = InasDecoder()
    decoder.feed(b"\0" + _binary(0) + _binary(3)[:9])
    (found,) = decoder.feed(b"\r\n" + line("H,inas/1,uid=1"))
    assert "Hello" in repr(found)
    assert not decoder.binary


def test_values_out_of_bounds_and_unknown_kinds_are_counted() -> None:
    decoder = InasDecoder()
    bad = ["S,65536,1,2,3", "S,1,2,40000,3", "S,1,2,3", "X,1", "C,1,cfg=399F", "T,1", "S,01x,2,3,4", "E"]
    assert decoder.feed(b"".join(map(line, bad))) == []
    assert decoder.take_counts() == {"unknown_lines": len(bad)}


def test_unknown_keys_are_no_reason_to_refuse() -> None:
    (event,) = InasDecoder().feed(line("E,brownout,n=1,t=5,mood=bad"))
    assert event == Event("brownout", {"n": "1", "t": "5", "mood": "bad"})
