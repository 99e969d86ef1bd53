"""The commands of the agent: serve, attach, end."""

import argparse

from .attach import attach
from .orphans import end_agents
from .serve import serve


def main(argv=None):
    parser = argparse.ArgumentParser(description="the agent of joulebench")
    commands = parser.add_subparsers(dest="command")
    server = commands.add_parser("serve")
    server.add_argument("--dir", required=True)
    server.add_argument("--token", required=True)
    server.add_argument("--owner", default="null")
    server.add_argument("--pin")
    server.add_argument("--cpus", default="")
    server.add_argument("--lease-s", type=float, default=900.0)
    relay = commands.add_parser("attach")
    relay.add_argument("dir")
    relay.add_argument("--wait-s", type=float, default=0.0)
    ender = commands.add_parser("end")
    ender.add_argument("root")
    ender.add_argument("--owner", default="null")
    options = parser.parse_args(argv)
    actions = {"serve": serve, "attach": attach, "end": end_agents}
    if options.command not in actions:
        parser.error("say serve, attach or end")
    return actions[options.command](options)
