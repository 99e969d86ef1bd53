"""INA2xx and INA3221 monitors that the kernel of a board serves as files (hwmon, IIO)."""
