"""Transports that bytes travel on: USB, sysfs, subprocesses."""
