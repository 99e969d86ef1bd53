"""Peers on our simulators. `make peers` does it all; by hand, as root:

python -m benchmarks.peers install                        # environments in .venv-peers, pinned
python -m benchmarks.peers run powercap nvml monsoon matrix bugs costs
python -m benchmarks.peers run powercap --faults wrap,reset
python -m benchmarks.peers table                          # docs/peers.md from what the runs gave
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.peers import namespace
from benchmarks.peers.environments import install

PARTS = ("powercap", "nvml", "monsoon", "matrix", "bugs", "costs")


def main() -> None:
    parser = argparse.ArgumentParser("python -m benchmarks.peers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("install").add_argument("names", nargs="*")
    runs = commands.add_parser("run")
    runs.add_argument("parts", nargs="*", choices=PARTS, default=PARTS)
    runs.add_argument("--faults", default="", help="only these, comma-separated (and `none`)")
    runs.add_argument("--peers", default="", help="only these, comma-separated (and ours)")
    runs.add_argument("--into", type=Path, help="another file than benchmarks/peers/results.json")
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
        from benchmarks.peers.running import RESULTS, Runner

        faults, peers = ([name for name in text.split(",") if name] for text in (arguments.faults, arguments.peers))
        Runner(arguments.into or RESULTS, faults, peers).run(arguments.parts)


if __name__ == "__main__":
    main()
