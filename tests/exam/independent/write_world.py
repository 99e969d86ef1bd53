"""Writes a world for `joulebench exam --world` without a line of joulebench: an examiner of its own, numpy only.

    python write_world.py OUT --seed 3 --meters mean,counter --truth truth.json

OUT gets what an honest bench would know (docs/world-format.md); the truth goes elsewhere.
"""

import argparse
import gzip
import io
import json
from pathlib import Path

import numpy as np
import world_meters as meters
import world_physics as physics

SERIES = {name: getattr(meters, name) for name in ("means", "part_time", "overlapping", "filtered", "counter")}
SERIES["mean"] = SERIES.pop("means")
SLOW = {"overlapping", "filtered", "part_time"}


def write_csv(path, columns, digits=9):
    names = list(columns)
    with gzip.GzipFile(path, "wb", mtime=0) if path.suffix == ".gz" else path.open("wb") as bytes_out:
        file = io.TextIOWrapper(bytes_out, encoding="ascii", newline="\n", write_through=True)
        file.write(",".join(names) + "\n")
        for row in zip(*(np.asarray(c).tolist() for c in columns.values()), strict=True):
            file.write(",".join(f"{v:.{digits}f}" if isinstance(v, float) else str(v) for v in row) + "\n")
        file.detach()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--meters", default="mean,counter", help=f"of {sorted(SERIES)}, monsoon, powercap")
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--short", action="store_true", help="a small world for documentation")
    parser.add_argument("--gap", choices=("drawn", "back-to-back", "dithered"), default="drawn")
    parser.add_argument("--layers", action="store_true", help="with a table of kernels and their profile")
    args = parser.parse_args()
    rng = np.random.default_rng([args.seed, 77])
    kinds = args.meters.split(",")
    args.out.mkdir(parents=True)

    slow = bool(SLOW & set(kinds))
    network = physics.draw_network(rng)
    dithered = bool(rng.random() < 0.3) and not slow
    dithered = dithered if args.gap == "drawn" else args.gap == "dithered"
    work, end_s = physics.plan(
        rng,
        network,
        starts=3 if args.short else int(rng.integers(3, 6)),
        measured_s=1.5 if args.short else 12.0 if slow else 5.0,
        lead_s=1.2 if slow else 0.3,
        chip_s=0.25 if slow else 0.05,
        standby_s=3.0 if args.short else 10.0,
        gap_share=rng.uniform(0.2, 0.9),
        hold_s=10 ** rng.uniform(-2, -0.5),
        pauses_s=(1e-4, 4e-3) if dithered else (2e-5, 8e-5),
    )
    power, idle_w = physics.draw_power(rng, work, end_s, 5e-5)
    host = meters.Clock(rng, origin_s=86_400.0 * rng.uniform(1, 9), rate_ppm=0)
    board = meters.Clock(rng, origin_s=rng.uniform(10, 5000), rate_ppm=60, wander_s=2e-5)
    write_board(args.out, rng, work, host, board)
    second = np.arange(0.0, end_s, 1.0)
    warm = 41 + 6 * (1 - np.exp(-second / 20)) + np.sin(second)
    still = {"frequency_hz": [1500000000] * len(second), "throttled": [0] * len(second)}
    write_csv(args.out / "telemetry.csv", {"t_s": board(second), "temperature_c": warm, **still}, digits=3)
    described = [write_meter(args.out, rng, kind, power, host, board, short=args.short) for kind in kinds]
    world = {
        "format": "joulebench-world",
        "version": 1,
        "name": f"second-opinion-{args.seed}",
        "simulated": True,
        "origin": f"an independent program, seed {args.seed}",
        "measurement": {
            "model": f"ramps{args.seed}",
            "batch": 1,
            "n": len(work.realised_j),
            "gap": "dithered" if dithered else "back-to-back",
            "standby": "process alive, network loaded, nothing running",
        },
        "board": {
            "name": "crane",
            "clock": "own",
            "stamps": "stamps.csv",
            "spans": "spans.csv",
            "pings": "pings.csv",
            "telemetry": "telemetry.csv",
            "idle_power_w": [0.8, 3.5],
        },
        "meters": [sheet for sheet, _ in described],
        "outputs_check": {"ok": True, "max_rel_error": 1e-6, "tolerance": 1e-3},
    }
    if args.layers:
        world["layers"] = write_layers(args.out, np.random.default_rng([args.seed, 79]), network)
    (args.out / "world.json").write_text(json.dumps(world, indent=2) + "\n", encoding="ascii")
    durations_s = network.draw(np.random.default_rng([args.seed, 78]), 400_000)
    many = network.energies_j(durations_s)
    truth = {
        "expected_j": float(many.mean()),
        "realised_j": float(np.mean(work.realised_j)),
        "idle_w": idle_w,
        "inference_s": float(np.mean(work.inference_s)),
        "layers_j": (durations_s.mean(axis=0) * (network.begin_w + network.end_w) / 2).tolist(),
        "gains": {sheet["name"]: gain for sheet, gain in described},
    }
    args.truth.write_text(json.dumps(truth, indent=1) + "\n", encoding="ascii")


def write_board(out, rng, work, host, board):
    """Stamps come some microseconds late; pings go there and back with different delays."""
    for name, rows in (("stamps", work.stamps), ("spans", work.spans)):
        start, phase, begin, end = zip(*rows, strict=True)
        late = rng.exponential(2e-6, (2, len(begin))) if name == "stamps" else np.zeros((2, len(begin)))
        columns = {"start": start, "phase": phase, "begin_s": board(begin + late[0]), "end_s": board(end + late[1])}
        if name == "stamps":  # a late end must not reach over the next begin
            columns["end_s"][:-1] = np.minimum(columns["end_s"][:-1], columns["begin_s"][1:])
        write_csv(out / f"{name}.csv", columns)
    before = np.concatenate([t + 0.02 * np.arange(10) for t in work.ping_at_s])
    there = before + rng.uniform(5e-5, 1e-4) + rng.exponential(3e-5, len(before))
    back = there + rng.uniform(5e-5, 1e-4) + rng.exponential(3e-5, len(before))
    write_csv(out / "pings.csv", {"host_before_s": host(before), "board_s": board(there), "host_after_s": host(back)})


def write_layers(out, rng, network, count=40):
    """A profile pass apart from the measured inferences: the profiler adds half a microsecond to every kernel."""
    names = [f"layer{k}" for k in range(len(network.duration_s))]
    write_csv(out / "kernels.csv", {"name": names, "op": ["Conv" if k % 2 else "Relu" for k in range(len(names))]})
    durations_s = network.draw(rng, count) + 5e-7
    end = np.cumsum(durations_s, axis=1)
    columns = {"inference": np.repeat(np.arange(count), len(names)), "kernel": names * count,
               "begin_s": (end - durations_s).ravel(), "end_s": end.ravel()}  # fmt: skip
    write_csv(out / "profile.csv", columns)
    plain_s = network.draw(rng, count).sum(axis=1)
    write_csv(out / "inferences.csv", {"profiled": [1] * count + [0] * count, "duration_s": np.r_[end[:, -1], plain_s]})
    return {"kernels": "kernels.csv", "profile": "profile.csv", "inferences": "inferences.csv"}


def write_meter(out, rng, kind, power, host, board, *, short):
    """One meter's files; its sheet as world.json has it, and the gain that nobody knows."""
    sheet = {"name": kind, "plane": "dc_input", "rails": {"main": "board"}, "total": ["board"]}
    accuracy = {**meters.SHEET, "source": "made-up sheet"}
    if kind == "monsoon":
        clock = meters.Clock(rng, origin_s=0.0, rate_ppm=30)
        data, arrival, length, eeprom, gain = meters.monsoon(rng, power, clock, host)
        (out / "packets.bin").write_bytes(data)
        write_csv(out / "arrivals.csv", {"arrival_s": arrival, "length": length})
        unit = {"packets": "packets.bin", "arrivals": "arrivals.csv", "serial": "31415", **eeprom}
        return {**sheet, "accuracy": accuracy, "monsoon_hvpm": unit}, gain
    if kind == "powercap":
        columns, zone, gain = meters.powercap(rng, power, board)
        write_csv(out / "snapshots.csv", columns)
        tree = {"snapshots": "snapshots.csv", "clock": "board", "zones": {"intel-rapl:0": zone}, "poll_s": 0.01}
        sheet |= {"plane": "package", "rails": {"package-0": "package"}, "total": ["package"]}
        return {**sheet, "accuracy": accuracy, "powercap": tree}, gain
    t_s, value, reading, gain = SERIES[kind](rng, power)
    if kind == "counter":  # stamped by the board itself
        unit_j, modulus_raw = reading.pop("unit_j"), reading.pop("modulus_raw")
        write_csv(out / f"{kind}.csv", {"t_s": board(t_s), "energy_raw": value})
        series = {
            "file": f"{kind}.csv",
            "clock": "board",
            "reading": reading,
            "max_power_w": 40.0,
            "raw": [{"column": "energy_raw", "scale": unit_j}],
            "modulus_raw": modulus_raw,
        }
        return {**sheet, "accuracy": {**accuracy, "noise_w": 0.0}, "series": series}, gain
    clock = meters.Clock(rng, origin_s=rng.uniform(0, 100), rate_ppm=float(rng.choice([20, 200, 3000])))
    seconds, arrival = meters.anchors(rng, clock, host, power.t_s[-1])
    write_csv(out / f"{kind}.anchors.csv", {"meter_s": seconds, "host_s": arrival})
    table = f"{kind}.csv.gz" if short else f"{kind}.npz"
    if short:
        write_csv(out / table, {"t_s": clock(t_s), "power_w": value}, digits=6)
    else:
        np.savez_compressed(out / table, t_s=clock(t_s), power_w=value)
    series = {
        "file": table,
        "clock": "own",
        "anchors": f"{kind}.anchors.csv",
        "reading": reading,
        "max_power_w": 40.0,
    }
    return {**sheet, "accuracy": accuracy, "series": series}, gain


if __name__ == "__main__":
    main()
