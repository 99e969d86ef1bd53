"""Peers on our simulators. `make peers` does it all; by hand, as root:

python -m benchmarks.peers install                        # environments in .venv-peers, pinned
python -m benchmarks.peers run powercap nvml monsoon bugs costs
python -m benchmarks.peers run powercap --faults wrap,reset
python -m benchmarks.peers table                          # docs/peers.md from what the runs gave
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.peers import namespace
from benchmarks.peers.environments import install

PARTS = ("powercap", "nvml", "monsoon", "bugs", "costs")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.peers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install").add_argument("names", nargs="*")
    runs = commands.add_parser("run")
    runs.add_argument("parts", nargs="*", choices=PARTS, default=PARTS)
    runs.add_argument("--faults", default="", help="only these, comma-separated (and `none`)")
    commands.add_parser("table")
    arguments = parser.parse_args()
    if arguments.command == "install":
        install(arguments.names)
    elif arguments.command == "table":
        from benchmarks.peers.table import write_page

        write_page()
    else:
        if (why := namespace.possible()) is not None:
            sys.exit(f"peers are not run here: {why}")
        namespace.enter("benchmarks.peers")
        from benchmarks.peers.running import run

        run(arguments.parts, [name for name in arguments.faults.split(",") if name])


if __name__ == "__main__":
    main()
