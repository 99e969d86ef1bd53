"""What a sampler has read and nobody has fetched yet: compact, bounded, and handed out so that nothing is lost.

Chunks are numbered. A chunk is kept until the host asks for what comes after it, so a request that is repeated
after a broken link gets the same bytes again.
"""

import array
import collections
import errno
import sys
import threading

BATCH_ROWS = 256
CHUNK_BYTES = 1 << 16
CHUNK_ROWS = 1 << 12
LEAST_BYTES = 2 * CHUNK_BYTES


class SampleBuffer:
    """Rows of (begin, end, values) with `width` values each: bytes, or the errno of a read that failed.

    Whoever samples appends to `rows` and calls `pack` every BATCH_ROWS: an append costs next to nothing, while
    packing each row by itself, behind a sleep and with cold caches, took longer than reading the files.
    A chunk's bytes are, little-endian: int64 begins, int64 ends, int32 sizes (row by row; -errno for a failed
    read), then the values one after another. Beyond `limit_bytes` further rows are counted in `lost` and dropped;
    one row from the first to the last of them takes their place, with the errno that was among them, or ENOBUFS.
    """

    def __init__(self, width, limit_bytes):
        self.width = width
        self.rows = []
        self.packed = self.lost = 0  # rows
        self._limit = max(limit_bytes, LEAST_BYTES)
        self._held = 0
        self._chunks = collections.OrderedDict()  # number -> (rows, bytes)
        self._number = 0
        self._loss = None  # [begin, end, values] of what was dropped since there was room
        self._lock = threading.Lock()
        self._clear()

    def _clear(self):
        self._begins, self._ends = array.array("q"), array.array("q")
        self._sizes, self._data = array.array("i"), bytearray()

    def pack(self):
        """Takes `rows` in; those for which there is no room are lost, and counted."""
        with self._lock:
            self._pack()

    def _pack(self):
        count = len(self.rows)
        rows = self.rows[:count]
        del self.rows[:count]
        if self._held >= self._limit:
            self.lost += count
            self._drop(rows)
            return
        self.packed += count
        self._own_up()
        for row in rows:
            self._add(*row)
            if len(self._data) >= CHUNK_BYTES or len(self._begins) >= CHUNK_ROWS:
                self._seal()

    def _add(self, begin, end, values):
        self._begins.append(begin)
        self._ends.append(end)
        for value in values:
            if type(value) is int:
                self._sizes.append(-value)
            else:
                self._sizes.append(len(value))
                self._data += value

    def _drop(self, rows):
        for begin, end, values in rows:
            if self._loss is None:
                self._loss = [begin, end, [errno.ENOBUFS] * len(values)]
            self._loss[1] = end
            for k, value in enumerate(values):
                if type(value) is int:
                    self._loss[2][k] = value

    def _own_up(self):
        if self._loss is not None:
            self._add(*self._loss)
            self._loss = None

    def _seal(self):
        rows = len(self._begins)
        if rows == 0:
            return
        columns = (self._begins, self._ends, self._sizes)
        if sys.byteorder == "big":
            for column in columns:
                column.byteswap()
        self._number += 1
        packed = b"".join([column.tobytes() for column in columns] + [bytes(self._data)])
        self._chunks[self._number] = rows, packed
        self._held += len(packed)
        self._clear()

    def seal(self):
        """All that was read so far lies in chunks; the number of the last one (0: none yet)."""
        with self._lock:
            self._pack()
            self._own_up()
            self._seal()
            return self._number

    def after(self, number):
        """(number, rows, bytes) of the first chunk after `number`, or None; those up to `number` are let go."""
        with self._lock:
            while self._chunks:
                first = next(iter(self._chunks))
                if first > number:
                    rows, packed = self._chunks[first]
                    return first, rows, packed
                self._held -= len(self._chunks.pop(first)[1])
            return None
