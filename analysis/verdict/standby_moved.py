"""When standby moved too much for a figure, and when nobody can say that it did not.

The limits stand here in one place and in docs/method.md. They are shares of the dynamic power, since that is what
standby is subtracted for.
"""

from __future__ import annotations

from analysis.energy.standby import Standby

LIMIT = 0.10  # brackets shown apart by more than this, or a level shown to switch by more within one: no figure
FLAG = 0.03  # shown apart by more than this, or switched by more within one: a flag


def standby_moved(standby: Standby, dynamic_w: float) -> str:
    """Why standby moved too much for a figure above it, in words; empty if that is not shown."""
    limit_w, apart = LIMIT * abs(dynamic_w), standby.difference
    if apart.shown_apart(limit_w):
        return (
            f"the brackets differ by {apart.w:+.3g} W (at least {abs(apart.w) - apart.reach_w:.3g} W), more than "
            f"{LIMIT:.0%} of the dynamic power of {dynamic_w:.3g} W"
        )
    if standby.moved_w > limit_w:
        return (
            f"the level moves by {standby.moved_w:.3g} W within a bracket, more than {LIMIT:.0%} of the dynamic power "
            f"of {dynamic_w:.3g} W: something switched on or off in it"
        )
    return ""


def standby_flags(standby: Standby, dynamic_w: float) -> dict[str, bool]:
    """`standby_drift`: it moved, and the budget counts it. `standby_not_equivalent`: the brackets are too noisy or too
    short to exclude that it moved by more than the limit; the interval holds their scatter."""
    flag_w, limit_w, apart = FLAG * abs(dynamic_w), LIMIT * abs(dynamic_w), standby.difference
    return {
        "standby_drift": apart.shown_apart(flag_w) or standby.moved_w > flag_w,
        "standby_not_equivalent": len(standby.brackets) > 1 and not apart.shown_alike(limit_w),
    }
