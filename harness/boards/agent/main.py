"""The commands of the agent. Each one's module is imported when it is asked for: a slow board starts Python often."""

import argparse
import importlib

ACTIONS = {
    "serve": ("serve", "serve"),
    "sample": ("sampler", "sample"),
    "attach": ("attach", "attach"),
    "files": ("files", "files"),
    "lease": ("lease", "lease"),
    "agents": ("orphans", "agents"),
    "end": ("orphans", "end"),
    "clean": ("clean", "clean"),
}


def main(argv=None):
    options = _parser().parse_args(argv)
    module, function = ACTIONS[options.command]
    return getattr(importlib.import_module("." + module, __package__), function)(options)


def _parser():
    parser = argparse.ArgumentParser(description="the agent of joulebench")
    commands = parser.add_subparsers(dest="command")
    commands.required = True  # Python 3.6 has no argument for it
    server = commands.add_parser("serve")
    server.add_argument("--dir", required=True)
    server.add_argument("--token", required=True)
    server.add_argument("--owner", default="null")
    server.add_argument("--pin")
    server.add_argument("--cpus", default="")
    server.add_argument("--lease-s", type=float, default=900.0)
    sampler = commands.add_parser("sample")
    sampler.add_argument("--dir", required=True)
    sampler.add_argument("--token", required=True)
    sampler.add_argument("--owner", default="null")
    sampler.add_argument("--plan", required=True)
    sampler.add_argument("--lease-s", type=float, default=900.0)
    relay = commands.add_parser("attach")
    relay.add_argument("dir")
    relay.add_argument("--wait-s", type=float, default=0.0)
    small = commands.add_parser("files")
    small.add_argument("request")
    small.add_argument("--root", default="/")
    lease = commands.add_parser("lease")
    lease.add_argument("--take", action="store_true")
    lease.add_argument("--release", action="store_true")
    lease.add_argument("--owner", default="null")
    lease.add_argument("--seconds", type=float, default=0.0)
    lease.add_argument("--dead", default="null")
    lease.add_argument("--force", action="store_true")
    lister = commands.add_parser("agents")
    lister.add_argument("root")
    ender = commands.add_parser("end")
    ender.add_argument("root")
    ender.add_argument("--only", default="null")
    ender.add_argument("--remove", action="store_true")
    cleaner = commands.add_parser("clean")
    cleaner.add_argument("root")
    cleaner.add_argument("--owner", default="null")
    return parser
