"""RAPL energy counters through the powercap sysfs tree."""
