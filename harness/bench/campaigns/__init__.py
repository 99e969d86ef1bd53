"""Whole campaigns: plans and forecasts, lanes side by side, leases, quarantine, the time of the boards."""
