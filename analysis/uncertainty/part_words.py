"""Parts of the budget in plain words: what each is, and what a user can do to make it smaller."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Words:
    """`says`: one sentence on what it means for the figure; `do`: what to do about it."""

    says: str
    do: str


BUDGET: dict[str, Words] = {
    "process start": Words(
        "how much the energy differs from one start of the process to the next",
        "measure more process starts (starts): Student's factor and the scatter of their mean both fall",
    ),
    "repeatability": Words(
        "how much the energy scatters within a process start",
        "measure longer (measure_s), or quieten the board",
    ),
    "meter noise": Words("noise of single readings, as the meter's maker states it", "measure longer (measure_s)"),
    "standby": Words("how well power at rest is known from its brackets", "take longer standby brackets (standby_s)"),
    "standby drift": Words(
        "how much power at rest moved between its brackets", "let the board settle for longer (settle_min_s)"
    ),
    "standby step": Words(
        "where within one step of the meter the power at rest lies", "use a meter or a shunt with finer steps"
    ),
    "meter gain": Words(
        "limit of the meter's scale error, shared by all runs of the bench",
        "calibrate the meter and put accuracy into the bench file; it cancels in ratios of the same bench",
    ),
    "meter offset": Words(
        "limit of the meter's zero error, shared by all runs of the bench",
        "calibrate the meter's zero; fix its range",
    ),
    "durations": Words(
        "how well the mean duration of an inference is known from their stamps",
        "measure longer (measure_s, or starts), or keep the board from doing other work",
    ),
    "gap power": Words(
        "what is drawn between two inferences",
        "longer probe_pause_s and more probe_pauses; back-to-back gaps matter least",
    ),
    "gap fall": Words(
        "whether power that falls after an inference is the load's or comes out of the supply's capacitors",
        "measure back-to-back (gap), or inferences that are long against the fall",
    ),
    "clock": Words(
        "how well the meter's time is tied to the board's", "longer measure_s; sharper markers; the marker pin"
    ),
    "sampling": Words(
        "measured time without readings, or phases of an inference at which nobody looked",
        "lose fewer readings: a quieter host, a shorter cable; for a meter that looks now and then, gap: dithered",
    ),
    "clipping": Words("what may be cut off at the top of the range", "use another range or shunt"),
}


def of_part(name: str) -> Words:
    return BUDGET.get(name, Words(name, f"see what {name} is in docs/method.md"))
