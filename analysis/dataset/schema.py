"""Columns of the dataset: one table from which files, their metadata, docs/dataset.md and the card are made.

History of the schema (a dataset of every version must go on loading, see read.py):
  1  first version
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import pyarrow as pa

SCHEMA_VERSION = 1
METADATA = b"joulebench_dataset"
LAYERS, NETWORKS = "layers", "networks"

TYPES = {
    "text": pa.string(), "integer": pa.int64(), "number": pa.float64(), "yes/no": pa.bool_(),
    "texts": pa.list_(pa.string()), "integers": pa.list_(pa.int64()),
}  # fmt: skip
"""Kind of a column -> its type in Parquet. In CSV lists are joined by `;`."""


@dataclass(frozen=True)
class Column:
    """One column: its name, its kind, its unit ("" if it has none), what it says, and in which tables it is."""

    name: str
    kind: str
    unit: str
    description: str
    tables: tuple[str, ...] = (LAYERS, NETWORKS)


_L, _N = (LAYERS,), (NETWORKS,)

COLUMNS = (
    # identity
    Column("run_id", "text", "", "the run: model, batch, repetition, hash of its resolved spec"),
    Column("model", "text", "", "name of the network"),
    Column("model_source", "text", "", "where it came from: zoo:, gen:, torch:, import:, or the name of a file"),
    Column("model_sha256", "text", "", "hash of the model's bytes (imported: of the source)"),
    Column("batch", "integer", "", "inputs that one inference takes"),
    Column("axes", "text", "", "sizes of dynamic axes, `name=size`, joined by a space"),
    Column("repetition", "integer", "", "which repetition of the same measurement, from 0"),
    Column("campaign", "text", "", "name of the campaign"),
    Column("simulated", "yes/no", "", "true if any of it came from a simulator"),
    Column("layer", "text", "", "name of the layer or group in the result", _L),
    Column("row", "integer", "", "position in the result, in order of execution", _L),
    Column("kernels", "texts", "", "executed kernels that the row covers; empty for time outside of kernels", _L),
    Column("group", "texts", "", "layers that the meter cannot tell apart; null for a layer of its own", _L),
    Column("op", "text", "", "operator in the runtime's graph; of a group: its operators joined by `+`", _L),
    Column("op_class", "text", "", "kind of kernel; `mixed` of a group of several, `outside` of none", _L),
    Column("source_nodes", "texts", "", "nodes of the model as it was given, where they can be traced", _L),
    # what was measured
    Column("status", "text", "", "`valid`: only valid results have rows"),
    Column("energy_j", "number", "J", "dynamic energy in one inference, above standby; null if only gross is known"),
    Column("u_j", "number", "J", "standard uncertainty of energy_j"),
    Column("interval_low_j", "number", "J", "95 % interval of energy_j, lower end"),
    Column("interval_high_j", "number", "J", "95 % interval of energy_j, upper end"),
    Column("gross_energy_j", "number", "J", "energy in one inference, standby included"),
    Column("gross_u_j", "number", "J", "standard uncertainty of gross_energy_j", _N),
    Column("gross_interval_low_j", "number", "J", "95 % interval of gross_energy_j, lower end", _N),
    Column("gross_interval_high_j", "number", "J", "95 % interval of gross_energy_j, upper end", _N),
    Column("gap_energy_j", "number", "J", "dynamic energy of the gap after an inference, never part of it", _N),
    Column("proportional_j", "number", "J", "the inference's energy shared by time alone, for comparison", _L),
    Column("duration_s", "number", "s", "mean time in one inference"),
    Column("n", "integer", "", "measured inferences"),
    Column("starts", "integer", "", "process starts that they were measured in"),
    Column("standby_w", "number", "W", "power of active-idle standby", _N),
    Column("standby_u_w", "number", "W", "standard uncertainty of standby_w", _N),
    Column("coverage", "number", "", "share of the measured time that readings cover", _N),
    Column("leverage", "number", "", "standby power over dynamic power", _N),
    Column("layers_sum_j", "number", "J", "sum over the rows of layers; null without layers", _N),
    Column("layers_difference_j", "number", "J", "that sum minus energy_j", _N),
    Column("layers_difference_u_j", "number", "J", "standard uncertainty of layers_difference_j", _N),
    Column("layers_close", "yes/no", "", "do sum and energy_j agree? null without layers", _N),
    Column("flags", "texts", "", "warnings by name (docs/errors.md)"),
    # features
    Column("features_of", "text", "", "`executed` kernels, `source` model (none is counted), or null: not known"),
    Column("layer_count", "integer", "", "kernels (or nodes of the source) that the features are summed over"),
    Column("macs", "integer", "MAC", "multiply-accumulates, biases left out"),
    Column("flops", "integer", "FLOP", "2 x macs; other operations are not in it"),
    Column("other_ops", "integer", "", "additions, multiplications, divisions, comparisons outside the MACs"),
    Column("special_ops", "integer", "", "evaluations of exp, tanh, sigmoid, erf, square root, power"),
    Column("parameters", "integer", "", "elements of learned tensors, shared ones once"),
    Column("weight_elements", "integer", "", "elements of weights read"),
    Column("input_elements", "integer", "", "elements of activations read"),
    Column("output_elements", "integer", "", "elements written"),
    Column("weight_bytes", "integer", "B", "bytes of weights read, each tensor once"),
    Column("input_bytes", "integer", "B", "bytes of activations read, each tensor once"),
    Column("output_bytes", "integer", "B", "bytes written"),
    Column("traffic_bytes", "integer", "B", "sum of the three"),
    Column("uncounted", "texts", "", "kernels whose counts are not known, and why; sums with them are null"),
    Column("weight_bits", "integer", "bit", "width of a weight; null for groups, as all down to output_shape", _L),
    Column("activation_bits", "integer", "bit", "width of an activation", _L),
    Column("in_channels", "integer", "", "input channels, or length of the summed axis of a dense layer", _L),
    Column("out_channels", "integer", "", "output channels, or columns of a dense layer", _L),
    Column("groups", "integer", "", "groups of a convolution", _L),
    Column("kernel_shape", "integers", "", "size of the window", _L),
    Column("strides", "integers", "", "strides of the window", _L),
    Column("pads", "integers", "", "padding at the begins, then at the ends", _L),
    Column("dilations", "integers", "", "dilations of the window", _L),
    Column("rows", "integer", "", "vectors that a dense layer multiplies, rows of a normalisation or softmax", _L),
    Column("sequence_length", "integer", "", "steps of a recurrent layer, queries of attention", _L),
    Column("context_length", "integer", "", "keys of attention", _L),
    Column("heads", "integer", "", "heads of attention", _L),
    Column("directions", "integer", "", "directions of a recurrent layer", _L),
    Column("hidden", "integer", "", "hidden size of a recurrent layer", _L),
    Column("activation", "text", "", "activation fused into the kernel; null if none", _L),
    Column("input_shape", "integers", "", "shape of the first activation", _L),
    Column("output_shape", "integers", "", "shape of the first output", _L),
    # how
    Column("meter", "text", "", "name of the meter in the bench"),
    Column("meter_driver", "text", "", "its driver"),
    Column("plane", "text", "", "where it taps: dc_input, wall, rail, package"),
    Column("channel", "text", "", "rails whose sum is the figure"),
    Column("accuracy_rel", "number", "", "limit of its gain error; null if nobody states it"),
    Column("accuracy_offset_w", "number", "W", "limit of its zero error"),
    Column("accuracy_source", "text", "", "who says so"),
    Column("measurand", "text", "", "what the figure claims, in words"),
    Column("measurand_kind", "text", "", "`dynamic` (above standby) or `gross`"),
    Column("protocol_profile", "text", "", "profile of the protocol: quick, standard, ..."),
    Column("gap", "text", "", "back-to-back, or dithered: a pause after every inference"),
    Column("gap_max_s", "number", "s", "longest pause of `dithered`; null for back-to-back"),
    Column("standby_s", "number", "s", "length of each standby bracket; null without standby"),
    Column("layers_mode", "text", "", "off; profile: kernels timed apart; instances: in the measured inferences"),
    Column("profiler_cost_rel", "number", "", "by what share the profiler slows an inference"),
    Column("board", "text", "", "name of the board"),
    Column("transport", "text", "", "how it is reached; null if it was imported"),
    Column("cpu_model", "text", "", "its processor"),
    Column("machine", "text", "", "its architecture"),
    Column("governor", "text", "", "CPU governor while it was measured; null if the board does not say"),
    Column("cpus", "integers", "", "CPUs the agent was bound to; empty: not bound"),
    Column("temperature_before_c", "number", "C", "hottest zone before; null if the board does not say"),
    Column("temperature_after_c", "number", "C", "hottest zone after"),
    Column("runtime", "text", "", "name of the runtime"),
    Column("runtime_version", "text", "", "its version, as it said itself"),
    Column("providers", "texts", "", "its execution providers"),
    Column("threads", "integer", "", "its threads; null, as the two below, where nobody set them"),
    Column("spinning", "text", "", "do idle workers spin?"),
    Column("optimisation", "text", "", "graph optimisation: disabled, basic, extended, all"),
    # from where
    Column("origin", "text", "", "of an imported measurement: where it is from; null for our own"),
    Column("measured_unix_s", "number", "s", "when the run was begun; null if it was imported"),
    Column("manifest_sha256", "text", "", "hash of the run's manifest, hence of all its raw data"),
    Column("graph_sha256", "text", "", "hash of the runtime's optimised graph; null if it was not kept"),
    Column("measured_by", "text", "", "version of joulebench that measured; null if it was imported"),
    Column("analysed_by", "text", "", "version of joulebench that analysed and counted"),
)  # fmt: skip


def columns_of(table: str) -> tuple[Column, ...]:
    """The columns of `layers` or `networks`, in order."""
    return tuple(column for column in COLUMNS if table in column.tables)


def schema_of(table: str) -> pa.Schema:
    """The Arrow schema of a table: descriptions and units as metadata of the fields, the version as its own."""
    fields = [
        pa.field(c.name, TYPES[c.kind], metadata={"unit": c.unit, "description": c.description})
        for c in columns_of(table)
    ]
    said = json.dumps({"schema_version": SCHEMA_VERSION, "table": table})
    return pa.schema(fields, metadata={METADATA: said.encode()})


def markdown_of(table: str) -> str:
    """The columns as a Markdown table, as it stands in docs/dataset.md."""
    lines = ["| column | kind | unit | says |", "|---|---|---|---|"]
    lines += [f"| `{c.name}` | {c.kind} | {c.unit} | {c.description} |" for c in columns_of(table)]
    return "\n".join(lines)
