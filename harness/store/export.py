"""A trace as CSV, for people who want a spreadsheet rather than a notebook."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.csv

from harness.core.trace import MeterInfo, Trace
from harness.store.run_reader import RunReader

_UNITS = {"A": "a", "V": "v", "W": "w", "J": "j"}
_CHUNK_ROWS = 1 << 18


def export_csv(reader: RunReader, meter: str, path: Path) -> int:
    """Write the readings of `meter` to `path`; returns the number of rows.

    Columns: `t_ns` (end of each reading on the meter's clock), `<channel>_power_w` for each power channel,
    then each calibrated column with its unit in the name (`main_a`, `main_voltage_v`, `package-0_j`: a
    counter's raw value, not unwrapped). A value without calibration is an empty field, never 0. The first
    line is a comment that names run, clock and whether it is simulated: `pandas.read_csv(path, comment="#")`.
    """
    trace = reader.trace(meter)
    columns = _columns(trace)
    table = pa.table({name: _nullable(values) for name, values in columns.items()})
    with path.open("wb") as file:
        simulated = "true" if reader.simulated else "false"
        head = f"# joulebench run={reader.run_id} meter={meter} clock={trace.info.clock} simulated={simulated}\n"
        file.write(head.encode())
        options = pyarrow.csv.WriteOptions(quoting_style="none", batch_size=4096)
        with pyarrow.csv.CSVWriter(file, table.schema, write_options=options) as writer:
            for batch in table.to_batches(max_chunksize=_CHUNK_ROWS):
                writer.write_batch(batch)
    return len(trace)


def _columns(trace: Trace) -> dict[str, npt.NDArray[np.generic]]:
    columns: dict[str, npt.NDArray[np.generic]] = {"t_ns": trace.t_ns}
    for channel in trace.info.channels:
        if channel.quantity == "power_w":
            columns[f"{channel.name}_power_w"] = trace.power_w(channel.name)
    for column in trace.info.columns:
        columns.setdefault(_header(trace.info, column.name), trace.values(column.name))
    return columns


def _header(info: MeterInfo, name: str) -> str:
    unit = next(c.unit for c in info.columns if c.name == name)
    suffix = f"_{_UNITS.get(unit, unit)}"
    return name if name.endswith(suffix) else name + suffix


def _nullable(values: npt.NDArray[np.generic]) -> pa.Array:
    return pa.array(values, from_pandas=True) if values.dtype.kind == "f" else pa.array(values)
