"""One driver for instruments that speak SCPI or something near it: each is described by a YAML file."""
