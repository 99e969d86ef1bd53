"""Protocol profiles: how a run is measured unless the campaign says otherwise, field by field.

`quick` shows within a minute what a network costs; `standard` is for figures to publish: longer brackets
resolve the drift of standby power, more process starts the scatter between starts (methods: docs/campaign.md).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from harness.core.spec import ProtocolSpec

# m-sequence of x^5 + x^2 + 1: shifted against itself it agrees in all but one chip nowhere else,
# so a marker is found in the power trace at one lag only
MARKER_BITS = "1010111011000111110011010010000"

QUICK = ProtocolSpec(
    profile="quick",
    gap="back-to-back",
    starts=4,
    inferences=None,
    measure_s=2.0,
    standby_s=5.0,
    settle_min_s=2.0,
    settle_max_s=30.0,
    warm_up_s=0.5,
    lead_in_s=0.5,
    lead_out_s=0.3,
    gap_max_s=0.02,
    probe_pauses=20,
    probe_pause_s=0.008,
    marker_bits=MARKER_BITS,
    marker_chip_s=0.02,
    output_tolerance_rel=1e-3,
)

STANDARD = dataclasses.replace(
    QUICK,
    profile="standard",
    starts=10,
    measure_s=10.0,
    standby_s=60.0,
    settle_min_s=10.0,
    settle_max_s=300.0,
    warm_up_s=5.0,
    lead_in_s=1.0,
    probe_pauses=50,
)

PROFILES: Mapping[str, ProtocolSpec] = {profile.profile: profile for profile in (QUICK, STANDARD)}
