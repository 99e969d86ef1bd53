"""The fake nvidia-smi's XML (-q -x), as schemas v11 to v13 have it, and its table.

The schema goes with the driver. Power stands in `power_readings` (v11), in `gpu_power_readings` as `power_draw` (first
v12), then as `average_power_draw` and `instant_power_draw`; captures of each were at hand, the drivers between are not
known exactly.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.simulated.nvidia.layout import GRAPHICS, MAX_MIG, MEMORY, SM, VIDEO
from drivers.simulated.nvidia.smi.fields import COMPUTE_MODES, FIELDS, Seen, clock_mhz
from drivers.simulated.nvidia.state import failing

ARCHITECTURES = {2: "Kepler", 3: "Maxwell", 4: "Pascal", 5: "Volta", 6: "Turing", 7: "Ampere", 8: "Ada Lovelace",
                 9: "Hopper", 10: "Blackwell"}  # fmt: skip
V12, V12_AVERAGES, V13 = 530, 545, 580


def _value(seen: Seen, name: str) -> str:
    """As in CSV, but without brackets."""
    return FIELDS[name].value(seen, units=True).strip("[]")


def _node(name: str, children: Sequence[str], depth: int) -> list[str]:
    pad = "\t" * depth
    return [f"{pad}<{name}>", *children, f"{pad}</{name}>"]


def _leaves(pairs: Sequence[tuple[str, str]], depth: int) -> list[str]:
    pad = "\t" * depth
    return [f"{pad}<{name}>{text}</{name}>" for name, text in pairs]


def xml(looks: Sequence[Seen], *, driver_version: str, cuda_version: int, stamp: str) -> str:
    """The whole document."""
    driver = int(driver_version.split(".")[0])
    schema = 11 if driver < V12 else 12 if driver < V13 else 13
    head = [
        '<?xml version="1.0" ?>',
        f'<!DOCTYPE nvidia_smi_log SYSTEM "nvsmi_device_v{schema}.dtd">',
        "<nvidia_smi_log>",
        *_leaves([("timestamp", stamp), ("driver_version", driver_version),
                  ("cuda_version", f"{cuda_version // 1000}.{cuda_version % 1000 // 10}"),
                  ("attached_gpus", str(len(looks)))], 1),
    ]  # fmt: skip
    body = [line for seen in looks for line in _gpu(seen, driver)]
    return "\n".join([*head, *body, "</nvidia_smi_log>", ""])


def _gpu(seen: Seen, driver: int) -> list[str]:
    gpu = seen.now
    bus_id = bytes(gpu.bus_id).decode("ascii")
    mig = "N/A" if failing(seen.live, "mig") else ("Enabled" if gpu.settings.mig_mode else "Disabled")
    return [
        f'\t<gpu id="{bus_id}">',
        *_leaves([("product_name", _value(seen, "name")), ("product_brand", bytes(gpu.product).decode("ascii")),
                  ("product_architecture", ARCHITECTURES.get(gpu.architecture, "Unknown")),
                  ("persistence_mode", _value(seen, "persistence_mode"))], 2),
        *_node("mig_mode", _leaves([("current_mig", mig), ("pending_mig", mig)], 3), 2),
        *_node("mig_devices", _mig_devices(seen), 2),
        *_leaves([("serial", _value(seen, "serial")), ("uuid", _value(seen, "uuid")),
                  ("minor_number", str(gpu.minor)), ("vbios_version", _value(seen, "vbios_version"))], 2),
        *_node("pci", _leaves([("pci_bus", f"{gpu.bus:02X}"), ("pci_device", f"{gpu.device:02X}"),
                               ("pci_domain", f"{gpu.domain:04X}"), ("pci_device_id", f"{gpu.pci_device_id:08X}"),
                               ("pci_bus_id", bus_id)], 3), 2),
        *_leaves([("fan_speed", _value(seen, "fan.speed")), ("performance_state", _value(seen, "pstate"))], 2),
        *_node("fb_memory_usage", _leaves([(part, _value(seen, f"memory.{part}"))
                                           for part in ("total", "reserved", "used", "free")], 3), 2),
        *_leaves([("compute_mode", COMPUTE_MODES[gpu.settings.compute_mode])], 2),
        *_node("utilization", _leaves([("gpu_util", _value(seen, "utilization.gpu")),
                                       ("memory_util", _value(seen, "utilization.memory"))], 3), 2),
        *_node("temperature", _leaves([("gpu_temp", _degrees(seen))], 3), 2),
        *_power(seen, driver),
        *_clocks(seen, driver),
        *_node("processes", [], 2),
        "\t</gpu>",
    ]  # fmt: skip


def _degrees(seen: Seen) -> str:
    text = _value(seen, "temperature.gpu")
    return f"{text} C" if text.isdigit() else text


def _mig_devices(seen: Seen) -> list[str]:
    gpu = seen.now
    there = [gpu.mig[k] for k in range(MAX_MIG) if gpu.mig[k].present and gpu.settings.mig_mode]
    if not there:
        return ["\t\t\tNone"]
    lines: list[str] = []
    for k, mig in enumerate(there):
        memory = _leaves([("total", f"{mig.memory_bytes >> 20} MiB"), ("used", "0 MiB")], 5)
        part = _leaves([("index", str(k)), ("gpu_instance_id", str(mig.gi)), ("compute_instance_id", str(mig.ci))], 4)
        lines += _node("mig_device", [*part, *_node("fb_memory_usage", memory, 4)], 3)
    return lines


def _power(seen: Seen, driver: int) -> list[str]:
    limits = [("default_power_limit", "power.default_limit"), ("min_power_limit", "power.min_limit"),
              ("max_power_limit", "power.max_limit")]  # fmt: skip
    state = ("power_state", _value(seen, "pstate"))
    if driver < V12:
        management = "N/A" if failing(seen.live, "limits") else "Supported"
        pairs = [state, ("power_management", management), ("power_draw", _value(seen, "power.draw")),
                 ("power_limit", _value(seen, "power.limit")),
                 ("enforced_power_limit", _value(seen, "enforced.power.limit"))]  # fmt: skip
        return _node("power_readings", _leaves(pairs + [(n, _value(seen, f)) for n, f in limits], 3), 2)
    draws = [("power_draw", "power.draw")]
    if driver >= V12_AVERAGES:
        draws = [("average_power_draw", "power.draw.average"), ("instant_power_draw", "power.draw.instant")]
    set_limits = [("current_power_limit", "enforced.power.limit"), ("requested_power_limit", "power.limit"), *limits]
    lines = _node("gpu_power_readings", _leaves([state, *((n, _value(seen, f)) for n, f in draws + set_limits)], 3), 2)
    if driver < V12_AVERAGES:
        return lines
    memory = [_measured(seen, f"memory_{kind}") for kind in ("average", "instant")]
    module = [_measured(seen, f"module_{kind}") for kind in ("average", "instant")]
    names = ("average_power_draw", "instant_power_draw")
    lines += _node("gpu_memory_power_readings", _leaves(list(zip(names, memory, strict=True)), 3), 2)
    return lines + _node("module_power_readings", _leaves(list(zip(names, module, strict=True)), 3), 2)


def _measured(seen: Seen, feature: str) -> str:
    if code := failing(seen.live, feature):
        return seen.word(code).strip("[]")
    return f"{getattr(seen.now, f'{feature}_mw') / 1000:.2f} W"


def _clocks(seen: Seen, driver: int) -> list[str]:
    names = {"graphics_clock": GRAPHICS, "sm_clock": SM, "mem_clock": MEMORY, "video_clock": VIDEO}
    now = [(name, f"{clock_mhz(seen.now, domain)} MHz") for name, domain in names.items()]
    most = [(name, f"{seen.now.clock_max[domain]} MHz") for name, domain in names.items()]
    set_clocks = [("graphics_clock", _value(seen, "clocks.applications.graphics")),
                  ("mem_clock", _value(seen, "clocks.applications.memory"))]  # fmt: skip
    if driver >= V13:
        set_clocks = [(name, "Requested functionality has been deprecated") for name, _ in set_clocks]
    lines = _node("clocks", _leaves(now, 3), 2)
    lines += _node("applications_clocks", _leaves(set_clocks, 3), 2)
    return lines + _node("max_clocks", _leaves(most, 3), 2)


def table(looks: Sequence[Seen], *, driver_version: str, cuda_version: int, stamp: str) -> str:
    """What nvidia-smi prints when it is asked nothing; a reading that fails shows as ERR! or N/A."""
    cuda = f"{cuda_version // 1000}.{cuda_version % 1000 // 10}"
    wide = "+" + "-" * 41 + "+" + "-" * 24 + "+" + "-" * 22 + "+"
    lines = [
        stamp,
        "+" + "-" * 89 + "+",
        f"| NVIDIA-SMI {driver_version:<22} Driver Version: {driver_version:<14} CUDA Version: {cuda:<8} |",
        wide.replace("+", "|", 1)[:-1] + "+",
        "| GPU  Name                 Persistence-M | Bus-Id          Disp.A | Volatile Uncorr. ECC |",
        "| Fan  Temp   Perf          Pwr:Usage/Cap |           Memory-Usage | GPU-Util  Compute M. |",
        wide.replace("+", "|").replace("-", "=")[:-1] + "|",
    ]
    for seen in looks:
        persistence = "On" if seen.now.settings.persistence else "Off"
        power, limit = _short(seen, "power.draw"), _short(seen, "power.limit")
        used, total = (_value(seen, f"memory.{part}").replace(" ", "") for part in ("used", "total"))
        load = _value(seen, "utilization.gpu").replace(" ", "")
        bus_id = bytes(seen.now.bus_id).decode("ascii")
        lines += [
            f"| {seen.index:>3}  {_value(seen, 'name'):<26.26} {persistence:>7} |   {bus_id} Off | {'N/A':>20} |",
            f"| {_short(seen, 'fan.speed'):>4} {_value(seen, 'temperature.gpu'):>4}C {_value(seen, 'pstate'):>5} "
            f"{power + ' / ' + limit:>22} | {used + ' / ' + total:>22} | {load:>8} {'Default':>11} |",
            wide,
        ]
    return "\n".join([*lines, ""])


def _short(seen: Seen, name: str) -> str:
    text = FIELDS[name].value(seen, units=True)
    if text.startswith("["):
        return "N/A" if text in ("[N/A]", "[Not Supported]") else "ERR!"
    number, _, unit = text.partition(" ")
    return f"{float(number):.0f}{unit}"
