"""Edges are stamped when they come; what came together is spread as back-to-back work would have it."""

import itertools
import os
import subprocess
import sys
import time

import pytest

from drivers.simulated.rig.pin_listener import MERGED, NEW_WRITER, RECORD, spread


def test_one_edge_is_stamped_now():
    assert spread([1], 5_000_000, 9_000_000) == [9_000_000]
    assert spread([0], 5_000_000, 9_000_000) == [9_000_000]


def test_an_end_and_the_next_begin_in_one_read_keep_their_order_and_a_short_gap():
    assert spread([0, 1], 5_000_000, 9_000_000) == [8_990_000, 9_000_000]


@pytest.mark.parametrize("levels", [[1, 0], [0, 1, 0], [1, 0, 1], [0, 1, 0, 1, 0], [1, 0, 1, 0, 1, 0]])
def test_whole_stretches_missed_get_a_length(levels):
    times = spread(levels, 5_000_000, 9_000_000)
    assert times[-1] == 9_000_000 and times[0] > 5_000_000
    assert all(b > a for a, b in itertools.pairwise(times))
    assert spread(levels, 0, 9_000_000_000)[0] >= 9_000_000_000 - 5_000_000  # not since the last edge hours ago


def test_a_writer_its_edges_and_its_death_at_work_are_told(tmp_path):
    fifo = tmp_path / "pin"
    os.mkfifo(fifo)
    argv = [sys.executable, "-m", "drivers.simulated.rig.pin_listener", str(fifo)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as listener:
        writer = os.open(fifo, os.O_WRONLY)
        sent = []
        for byte in b"0100110":
            sent.append(time.monotonic_ns())
            os.write(writer, bytes([byte]))
            time.sleep(0.02)
        os.write(writer, b"1")
        time.sleep(0.05)
        os.close(writer)
        heard = [read_record(listener) for _ in range(7)]
        again = os.open(fifo, os.O_WRONLY)
        os.write(again, b"0101")
        more = [read_record(listener) for _ in range(5)]
        os.close(again)
        listener.terminate()
    assert [code for _, code in heard] == [NEW_WRITER, 1, 0, 1, 0, 1, 0]
    for (t_ns, _), k in zip(heard[1:5], (1, 2, 4, 6), strict=True):
        assert 0 <= t_ns - sent[k] < 20_000_000
    assert [code for _, code in more] == [NEW_WRITER, 1, 0, 1, MERGED]


def read_record(process):
    assert process.stdout is not None
    return RECORD.unpack(process.stdout.read(RECORD.size))
