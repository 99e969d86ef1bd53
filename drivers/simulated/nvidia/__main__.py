"""A simulated machine by hand: `python -m drivers.simulated.nvidia FOLDER --gpu a100 --load square:70,300,1.0`."""

from __future__ import annotations

import argparse
import math
import sys
import threading
import time
from pathlib import Path

from drivers.simulated.nvidia.layout import FEATURES
from drivers.simulated.nvidia.machine import Feeder, GpuSpec, NvidiaMachine
from drivers.simulated.nvidia.products import PRODUCTS
from drivers.simulated.nvidia.sensor import Energy, Errors


def load(text: str) -> Energy:
    """`constant:W`, `square:LOW,HIGH,PERIOD_S` or `sine:MEAN,AMPLITUDE,PERIOD_S` as cumulative energy."""
    kind, _, numbers = text.partition(":")
    values = [float(word) for word in numbers.split(",")]
    if kind == "constant":
        (watt,) = values
        return lambda t_s: watt * t_s
    if kind == "square":
        low, high, period = values

        def square(t_s: float) -> float:
            whole, rest = divmod(t_s, period)
            return low * t_s + (high - low) * (whole * period / 2 + min(rest, period / 2))

        return square
    if kind == "sine":
        mean, amplitude, period = values
        omega = 2 * math.pi / period
        return lambda t_s: mean * t_s + amplitude / omega * (1 - math.cos(omega * t_s))
    raise SystemExit(f"unknown load {text!r}: constant:W, square:LOW,HIGH,PERIOD_S or sine:MEAN,AMPLITUDE,PERIOD_S")


def main() -> None:
    """Until it is interrupted."""
    parser = argparse.ArgumentParser("python -m drivers.simulated.nvidia", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--gpu", action="append", choices=sorted(PRODUCTS), help="once for each GPU (default a100)")
    parser.add_argument("--load", default="square:70,300,1.0")
    parser.add_argument("--gain", type=float, default=1.0)
    parser.add_argument("--driver", default="550.54.14")
    parser.add_argument("--fail", action="append", default=[], metavar="FEATURE=CODE[/EVERY][@SECONDS]",
                        help=f"features: {', '.join(FEATURES)}; codes as in nvml.h (3, 4, 15, 999)")  # fmt: skip
    parser.add_argument("--reload-at", type=float, help="the energy counter starts from 0 then")
    parser.add_argument("--init", type=int, default=0, help="what starting the library gives (9, 18, 999)")
    parser.add_argument("--seconds", type=float, default=math.inf)
    commands = (
        "`[GPU] fail FEATURE=CODE[/EVERY]`, `lose`, `vanish`, `come_back`, `reload`, `freeze`, `thaw`, `refuse CODE`"
    )
    parser.add_argument("--control", action="store_true", help=f"obey lines on the standard input: {commands}")
    options = parser.parse_args()
    energy_j, errors = load(options.load), Errors(gain=options.gain)
    specs = [GpuSpec(product, energy_j, errors) for product in options.gpu or ["a100"]]
    machine = NvidiaMachine(options.folder, specs, driver_version=options.driver)
    machine.refuse_to_start(options.init)
    events = sorted(_event(text) for text in options.fail)
    feeder = Feeder(machine)
    sys.stdout.write("".join(f"export {name}={value}{':$PATH' * (name == 'PATH')}\n"
                             for name, value in machine.environment().items()))  # fmt: skip
    sys.stdout.flush()
    if options.control:
        threading.Thread(target=_obey, args=(machine,), daemon=True).start()
    reload_at = options.reload_at
    try:
        while feeder.t_s < options.seconds:
            while events and events[0][0] <= feeder.t_s:
                _, feature, code, every = events.pop(0)
                machine.gpus[0].fail(feature, code, every=every)
            if reload_at is not None and feeder.t_s >= reload_at:
                machine.gpus[0].reload()
                reload_at = None
            time.sleep(0.01)
    except KeyboardInterrupt:
        pass
    finally:
        feeder.close()


def _obey(machine: NvidiaMachine) -> None:
    """Commands, one a line, each answered by `ok`."""
    for line in sys.stdin:
        words = line.split()
        gpu = machine.gpus[int(words.pop(0))] if words and words[0].isdigit() else machine.gpus[0]
        match words:
            case ["fail", what]:
                _, feature, code, every = _event(what)
                gpu.fail(feature, code, every=every)
            case ["refuse", code]:
                machine.refuse_to_start(int(code))
            case ["lose" | "vanish" | "come_back" | "reload" | "freeze" | "thaw" as name]:
                getattr(gpu, name)()
            case _:
                sys.stdout.write(f"unknown: {line}")
                continue
        sys.stdout.write("ok\n")
        sys.stdout.flush()


def _event(text: str) -> tuple[float, str, int, int]:
    what, _, at = text.partition("@")
    feature, _, code = what.partition("=")
    number, _, every = code.partition("/")
    if feature not in FEATURES:
        raise SystemExit(f"unknown feature {feature!r}: {', '.join(FEATURES)}")
    return float(at or 0), feature, int(number), int(every or 0)


if __name__ == "__main__":
    main()
