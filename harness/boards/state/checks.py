"""What `boards check` says about a board's state: findings, and what to type where one needs mending.

Those that only advise are `ok` and carry a `mend`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from harness.boards.state.reading import CPU, POLICY, Files, interpret, policies, text
from harness.core.ports import CheckItem
from harness.core.spec import BoardSpec

HOT_C = 75.0
BUSY_PER_CPU = 0.3
STEADY = {"performance", "userspace", "powersave"}

State = Mapping[str, Any]


def check_state(files: Files, board: BoardSpec | None) -> tuple[CheckItem, ...]:
    """Findings about the files of a board; `board` is what is asked of it, if anything."""
    state = interpret(files)
    return (
        _machine(state),
        _governor(state, files, board),
        _cpus(state, board),
        _load(state),
        _temperature(state, board),
        *_limits(state),
        *_radio(state),
    )


def _machine(state: State) -> CheckItem:
    known = [state["cpu_model"], state["machine"], state["kernel"] and f"Linux {state['kernel']}"]
    return CheckItem("machine", True, ", ".join(word for word in known if word) or "not available")


def _governor(state: State, files: Files, board: BoardSpec | None) -> CheckItem:
    wanted = board.governor if board else None
    found = state["governor"]
    if found is None:
        mend = "" if wanted is None else "leave governor out of the board's entry"
        return CheckItem("governor", wanted is None, "not available", mend)
    names = ", ".join(sorted(set(found.values())))
    if wanted is not None:
        writable = set((text(files, f"agent:writable {POLICY}/scaling_governor") or "").split())
        paths = {f"{CPU}/cpufreq/{policy}/scaling_governor" for policy in policies(files)}
        ok = set(found.values()) == {wanted} or paths <= writable
        mend = "" if ok else f"echo {wanted} | sudo tee {POLICY}/scaling_governor"
        return CheckItem("governor", ok, f"{names}; asked for {wanted}", mend)
    steady = set(found.values()) <= STEADY
    mend = "" if steady else "set governor: performance in the board's entry, or know that frequencies move"
    return CheckItem("governor", True, names, mend)


def _cpus(state: State, board: BoardSpec | None) -> CheckItem:
    allowed = state["cpus_allowed"]
    if allowed is None:
        return CheckItem("cpus", True, "not available")
    absent = sorted(set(board.cpus if board else ()) - set(allowed))
    found = f"{len(allowed)} usable"
    if absent:
        return CheckItem("cpus", False, f"{found}; not {absent}", f"choose cpus from {allowed}")
    return CheckItem("cpus", True, found)


def _load(state: State) -> CheckItem:
    load, allowed = state["load_1min"], state["cpus_allowed"]
    if load is None:
        return CheckItem("load", True, "not available")
    busy = load > BUSY_PER_CPU * len(allowed or [0])
    found = f"{load:.2f}" + (f" on {len(allowed)} cpus" if allowed else "")
    return CheckItem("load", True, found, "top -o %CPU  # end what is not needed" if busy else "")


def _temperature(state: State, board: BoardSpec | None) -> CheckItem:
    temperatures = state["temperature_c"]
    limit_c = board.cool_to_c if board else None
    if not temperatures:
        mend = "" if limit_c is None else "leave cool_to_c out of the board's entry: nothing says how warm it is"
        return CheckItem("temperature", limit_c is None, "not available", mend)
    zone, hottest = max(temperatures.items(), key=lambda item: item[1])
    found = f"{hottest:.1f} C ({zone})" + (f"; runs begin at {limit_c:g} C" if limit_c is not None else "")
    return CheckItem("temperature", True, found, "let it cool down, or improve its cooling" if hottest > HOT_C else "")


def _limits(state: State) -> Sequence[CheckItem]:
    """Undervoltage now is a fault of the bench. Heat passes: the cool-down waits, and results say what happened."""
    limits = state["firmware_limits"] or {}
    now = [name for name, limit in limits.items() if limit["now"]]
    since = [name for name, limit in limits.items() if limit["since_boot"] and name not in now]
    if state["undervoltage_alarm"] and "undervoltage" not in now:
        now.append("undervoltage")
    if "undervoltage" in now:
        mend = "use a stronger supply and a short, thick cable"
        return (CheckItem("throttling", False, f"now: {', '.join(now)}", mend),)
    if now:
        mend = "let it cool down (cool_to_c in the board's entry waits for it), or improve its cooling"
        return (CheckItem("throttling", True, f"now: {', '.join(now)}", mend),)
    if since:
        mend = "restart the board: flags that are set already cannot show what happens in a run"
        return (CheckItem("throttling", True, f"since its start: {', '.join(since)}", mend),)
    known = limits or state["undervoltage_alarm"] is not None or state["throttle_count"] is not None
    return (CheckItem("throttling", True, "none now" if known else "not available"),)


def _radio(state: State) -> Sequence[CheckItem]:
    """Transmitters wake by themselves: their bursts lie in the standby and in the inferences."""
    on = [name for name, radio in (state["radio"] or {}).items() if radio == "on"]
    up = [name for name, interface in (state["wireless_interfaces"] or {}).items() if interface != "down"]
    if not on and not up:
        return ()
    mend = "sudo rfkill block all  # unless the board is reached through one of them"
    return (CheckItem("radio", True, f"on: {', '.join(on + up)}", mend),)
