"""Flags and reasons for no figure in plain words: what was noticed, and what to do about it.

A test compares these tables with what the code can say, so that a new flag cannot reach a reader unexplained.
"""

from __future__ import annotations

from analysis.uncertainty.part_words import Words
from harness.core.result import InvalidReason

REASONS: dict[InvalidReason, Words] = {
    InvalidReason.NO_READINGS: Words(
        "The meter yielded no usable reading, so there is no energy to speak of.",
        "Check its cable and power, then joulebench meters list; the counts in the run say what was lost.",
    ),
    InvalidReason.NO_INFERENCES: Words(
        "The board recorded no measured inference.",
        "Look into events.jsonl and the agent's log of the run: the program ended before it measured.",
    ),
    InvalidReason.COVERAGE: Words(
        "Too much of the measured time has no reading; what was drawn meanwhile cannot be guessed.",
        "Find out who keeps the host busy, use a shorter cable and no hub, then measure again.",
    ),
    InvalidReason.CLOCKS: Words(
        "Power and stamps could not be placed on one time axis without doubt, so no energy belongs to an inference.",
        "Use the marker pin, longer marker_bits, or a quieter board.",
    ),
    InvalidReason.STANDBY_MISSING: Words(
        "Power at rest was not recorded before or after the work, so there is nothing to subtract.",
        "The run was cut short or the meter lost that stretch: measure again.",
    ),
    InvalidReason.STANDBY_MOVED: Words(
        "Power at rest changed by more than the figure can bear, so it is unclear what to subtract.",
        "Raise settle_min_s and standby_s, and find what warms up or switches on in the background.",
    ),
    InvalidReason.BELOW_STANDBY: Words(
        "The energy above standby cannot be told from zero.",
        "The board works too little above its rest: a larger batch, a longer measure_s, more starts.",
    ),
    InvalidReason.NOT_CALIBRATED: Words(
        "No reading came with a calibration, so counts could not become watts.",
        "Stop other programs that use the meter, and plug it in anew.",
    ),
    InvalidReason.SATURATED: Words(
        "The power exceeded the meter's range; what was cut off cannot be guessed.",
        "Use another range, shunt or meter.",
    ),
    InvalidReason.STUCK: Words(
        "The meter repeated one reading while the board worked.",
        "Restart the meter; for RAPL see the page of that meter.",
    ),
    InvalidReason.BELOW_RESOLUTION: Words(
        "The inferences are too short, too few, or in step with the meter's sampling, for this meter to resolve them.",
        "A longer measure_s, gap: dithered, or a faster meter.",
    ),
    InvalidReason.OUTPUT_MISMATCH: Words(
        "The board computed something else than the reference: energy of a wrong computation is no figure.",
        "Check model, runtime and precision.",
    ),
    InvalidReason.THROTTLED: Words(
        "The board slowed itself down while it was measured, so the figure would not describe it at full speed.",
        "Cooling, a lower governor, or longer pauses between runs.",
    ),
    InvalidReason.NO_STEADY_STATE: Words(
        "Time or energy of an inference still changed while it was measured, and the protocol requires a steady state.",
        "A longer warm_up_s; where nothing settles, steady: report, and say so.",
    ),
}

FLAGS: dict[str, Words] = {
    "single_start": Words(
        "Only one process start was measured: how much starts differ is unknown, so the interval is about this one.",
        "Set starts to 4 or more.",
    ),
    "inference_times_vary": Words(
        "The mean time of an inference differs by more than 10 % between process starts.",
        "Look for other work on the board, or for its clocks changing.",
    ),
    "warming_up": Words(
        "Inferences still became quicker or cheaper while they were measured; the figure is the mean over all of them.",
        "Raise warm_up_s; the run's steady.warm_up_needed_s says to what.",
    ),
    "slowing_down": Words(
        "Inferences became slower or dearer while they were measured; the figure is the mean over all of them.",
        "Better cooling, cool_to_c or warm_to_c, and a governor that holds the frequency.",
    ),
    "no_steady_state": Words(
        "The last change of time or energy per inference came so late that there is no settled level to speak of.",
        "A longer warm_up_s and measure_s; look in the trace for what switches.",
    ),
    "other_load": Words(
        "Some process starts drew far more power than others, or their blocks scatter as those of calm starts do not.",
        "Find what else worked on the board meanwhile (top, cron, updates), end it, and measure again.",
    ),
    "unpinned": Words(
        "A frequency wandered by more than 1 % while inferences were measured.",
        "Set governor: performance, or a fixed frequency, in the board's file.",
    ),
    "gpu_clocks_not_locked": Words(
        "The GPU chose its clock by itself while it was measured: the figure belongs to no stated frequency.",
        "gpu: {persistence: true, clocks_mhz: [1200, 1200]} in the board's file, with a clock that the GPU offers.",
    ),
    "throttled": Words(
        "A limit of speed was in force before, during or after the run, which may have been slowed by it.",
        "Cooling, cool_to_c, or a lower governor.",
    ),
    "undervoltage": Words(
        "The board's supply was below its limit before, during or after the run.",
        "A stronger supply and a short, thick cable.",
    ),
    "standby_not_settled": Words(
        "Power had not come to rest in time when standby was taken.",
        "Raise settle_max_s, and look at the trace.",
    ),
    "standby_drift": Words(
        "Power at rest moved between or within the standby brackets; the budget counts it.",
        "Raise settle_min_s and standby_s.",
    ),
    "low_coverage": Words(
        "Readings cover less than 98 % of the measured time; the budget counts what is missing.",
        "Find out who keeps the host busy.",
    ),
    "readings_lost": Words(
        "The meter or its link lost readings; they are gaps, never zeros.",
        "Find out who keeps the host busy; use a shorter cable and no hub.",
    ),
    "range_switching": Words(
        "Standby and inferences were read in different ranges of the meter, whose errors do not cancel.",
        "Fix the range if the meter can, or calibrate it.",
    ),
    "uncalibrated_rows": Words(
        "Some readings came without a calibration and were left out.",
        "Usually nothing: the first readings of some meters are like that.",
    ),
    "clipped_readings": Words(
        "Some peaks reach the top of the meter's range; the budget counts what may be cut off.",
        "Use another range or shunt.",
    ),
    "over_range_readings": Words(
        "Some readings lie at the largest power that the meter declares.",
        "Use another range or shunt.",
    ),
    "time_went_backwards": Words(
        "Some readings carried a time that did not increase and were left out.",
        "Report it with the run: it is a defect of the driver.",
    ),
    "counter_resets": Words(
        "An energy counter fell by more than a wrap explains; that step is a gap.",
        "See whether the driver was reloaded or the machine was suspended.",
    ),
    "gap_power_bounded": Words(
        "No pause shows the power between two inferences; it is taken as anywhere between standby and active.",
        "Set probe_pauses above 0, or a longer probe_pause_s.",
    ),
    "end_stamps_doubtful": Words(
        "Power goes on after the end stamps: the accelerator may return before its work is done.",
        "Synchronise in the runtime before the stamp.",
    ),
    "lag_coarse_only": Words(
        "No edge was sharp enough to place power against stamps finely.",
        "A longer marker_chip_s or a faster meter.",
    ),
    "meter_accuracy_unknown": Words(
        "Nobody states this meter's accuracy: these are joules as this meter reads them.",
        "Put the accuracy, from a calibration or the data sheet, into the bench file.",
    ),
    "part_time_sampling": Words(
        "The meter looks at a part of the time only; the rest is taken to be alike, as far as readings fell on all "
        "phases of an inference.",
        "See the page of the meter.",
    ),
    "phases_unknown": Words(
        "The meter looks at a part of the time only, and nobody said when the load worked within the marked windows: a "
        "load in step with the meter's updates would not be noticed.",
        "Import with the load's own marks (--rule pattern or steps), or a load of pauses that vary.",
    ),
    "sampling_in_step": Words(
        "In a process start readings fell on few phases of the inferences; the budget counts what others may draw.",
        "gap: dithered, a longer measure_s, more starts, or a meter that looks all the time.",
    ),
    "outputs_not_checked": Words(
        "The board's outputs were not compared with a reference, so a wrong computation would pass unnoticed.",
        "Let the runtime return outputs, and make the model's reference runnable on the host.",
    ),
    "no_standby": Words(
        "Power at rest was not measured, so only gross energy, standby included, is claimed.",
        "Nothing if gross is what you want; else record the board at rest before and after the work.",
    ),
    "single_bracket": Words(
        "Power at rest was measured on one side of the work only; the budget makes room for its drift.",
        "Record the board at rest both before and after the work.",
    ),
    "alignment_declared": Words(
        "Power and stamps were placed on one time axis by declaration, not by what the data show.",
        "Check that the declared alignment_u_s is honest.",
    ),
    "samples_doubled": Words(
        "Some bursts of samples had come twice; the second copies were left out.",
        "Nothing, if they are few; details.retimed counts them. Else look at the program that recorded.",
    ),
    "stamps_not_healed": Words(
        "Samples came in bursts, and no steady sampling rate explains their stamps, so these were taken as they are.",
        "Read details.retimed; trust nothing shorter than a burst.",
    ),
    "file_truncated": Words(
        "The imported file ends in the middle; what came before was used.", "Fetch the whole file and import it again."
    ),
    "stamps_nominal": Words(
        "The begin and end of the imported windows are nominal, not stamped where the work was done.",
        "Treat the duration of an inference as what the source says, not as measured.",
    ),
    "window_count_unknown": Words(
        "Nobody knows how many inferences an imported window holds, so energies are per window.",
        "Give the count to the import if you know it.",
    ),
    "negative_baseline": Words(
        "The imported trace reads below zero at rest, so its meter's zero is off by at least that much.",
        "Prefer dynamic energy, where the zero cancels.",
    ),
    "reading_kind_unknown": Words(
        "It is not known whether a reading of this meter is an instant or a mean, and over which time.",
        "Say which it is when you import or in the bench file, or let `joulebench meters characterise` find it.",
    ),
    "time_zones_assumed_equal": Words(
        "The imported files do not state their time zone; both were taken to be in the same one.",
        "Check that power and marks lie over each other in the trace.",
    ),
    "meter_zero_unknown": Words(
        "Nobody states the zero of the imported meter, and gross energy holds all of its error.",
        "Give its limit to the import with --offset-w.",
    ),
    "meters_disagree": Words(
        "Two meters of this board differ by more than the plane model and their joint uncertainty allow: one is wrong.",
        "Look for a wrong shunt, a wrong range or a wrong plane model; calibrate both against a known load.",
    ),
    "standby_not_equivalent": Words(
        "Power at rest is too restless, or its brackets too short, to exclude that it moved by more than it may; the "
        "interval holds its scatter.",
        "Raise standby_s, and find what runs in the background.",
    ),
    "idle_unlikely": Words(
        "Power at rest lies outside of what such boards are known to draw, as a wrong shunt or scale would show it.",
        "Check shunt_ohm and the wiring, and what else is plugged into the board; add a second meter.",
    ),
    "character_contradicts": Words(
        "Under a coded load the meter's readings were not what its driver declares; what was found is used.",
        "Look at the meter's settings (averaging, rate); if they changed since, characterise it again.",
    ),
    "character_ambiguous": Words(
        "The coded load could not tell which kind of readings the meter gives; the declared kind is used with the "
        "longer memory.",
        "Play a longer load: joulebench meters characterise --repeats 3.",
    ),
    "character_of_another_unit": Words(
        "The characterisation that the bench names is of another unit, so the driver's own declaration is used.",
        "Characterise this unit: joulebench meters characterise.",
    ),
    "calibration_old": Words(
        "The meter's calibration was older than it holds when the run was made.",
        "Calibrate it again: joulebench meters calibrate.",
    ),
    "no_total_declared": Words(
        "Several rails were measured and nobody declared which add up to the board: each is a result of its own.",
        "Declare total in the bench file.",
    ),
}

UNKNOWN = Words("This flag has no explanation here.", "See docs/errors.md of the version that measured.")


def of_reason(reason: str | None) -> Words:
    """Words for a reason; one that is not ours is said to be unknown, never dropped."""
    try:
        return REASONS[InvalidReason(reason or "")]
    except ValueError:
        return Words(f"The analysis refused the run: {reason}.", UNKNOWN.do)


def of_flag(flag: str) -> Words:
    return FLAGS.get(flag, UNKNOWN)
