"""A powercap sysfs tree whose counters the rig moves."""
