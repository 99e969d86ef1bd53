"""`attach`: relays between the host's channel and the agent's socket, and ends when either side does."""

import json
import os
import select
import socket
import time

from .basics import NS, AgentError, now_ns, refusal


def attach(options):
    """Waits for the agent in DIR to listen, then relays; ends when either side does."""
    directory = os.path.abspath(options.dir)
    os.chdir(directory)
    give_up_ns = now_ns() + int(options.wait_s * NS)
    link = socket.socket(socket.AF_UNIX)
    while True:
        try:
            link.connect("socket")
            break
        except OSError as error:
            failed = os.path.exists("failed.json")
            if failed or now_ns() > give_up_ns:
                silent = "no agent answers in {}: {}".format(directory, error.strerror)
                refused = refusal(AgentError("gone", silent))
                if failed:
                    with open("failed.json") as text:
                        refused = json.loads(text.read())
                print(json.dumps(dict(refused, id=0)))
                return 1
            time.sleep(0.005)
    while True:
        for source in select.select([0, link], [], [])[0]:
            data = os.read(0, 1 << 16) if source == 0 else link.recv(1 << 16)
            if not data:
                return 0
            if source == 0:
                link.sendall(data)
            else:
                while data:
                    data = data[os.write(1, data) :]
