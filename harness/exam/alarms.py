"""What each flag of a result says to the exam: a fault happened, the bench was like that, or how it was measured.

*Alarms* claim that something is broken or happened that should not; where nothing is, each is a false one. *Conditions*
say what the bench was like: drifts, daemons and modes of speed belong to every bench, and the budget counts them.
*Methods* say how the figure came to be. A test holds the three together with what the analysis can say.
"""

from __future__ import annotations

ALARMS = frozenset({
    "clipped_readings", "counter_resets", "end_stamps_doubtful", "file_truncated", "idle_unlikely", "low_coverage",
    "meters_disagree", "negative_baseline", "no_steady_state", "other_load", "over_range_readings", "readings_lost",
    "standby_drift", "throttled", "time_went_backwards", "undervoltage", "unpinned",
})  # fmt: skip
CONDITIONS = frozenset({
    "inference_times_vary", "slowing_down", "standby_not_equivalent", "standby_not_settled", "warming_up",
})  # fmt: skip
METHODS = frozenset({
    "alignment_declared", "calibration_old", "character_ambiguous", "character_contradicts",
    "character_of_another_unit", "gap_power_bounded", "gpu_clocks_not_locked", "lag_coarse_only",
    "meter_accuracy_unknown", "meter_zero_unknown", "no_standby", "no_total_declared", "outputs_not_checked",
    "part_time_sampling", "phases_unknown", "range_switching", "reading_kind_unknown", "samples_doubled",
    "sampling_in_step", "single_bracket", "single_start",
    "stamps_nominal", "stamps_not_healed", "time_zones_assumed_equal", "uncalibrated_rows", "window_count_unknown",
})  # fmt: skip


def alarms(flags: tuple[str, ...]) -> frozenset[str]:
    return ALARMS.intersection(flags)
