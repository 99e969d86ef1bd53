"""Talking with the host: lines of JSON over the socket in the agent's directory."""

import base64
import json
import os
import platform
import selectors
import socket
import sys
import threading

from .basics import AGENT_VERSION, NS, PROTOCOL_VERSION, AgentError, now_ns, refusal
from .life import end_self


class Listener(threading.Thread):
    """Answers on the socket in DIR. It sleeps in select: while a program runs nothing else uses the CPU."""

    def __init__(self, directory, token, lease_s):
        threading.Thread.__init__(self, name="listener")
        self.daemon = True
        self._token, self._lease_s = token, lease_s
        self._selector = selectors.DefaultSelector()
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind("socket")  # relative: a path of more than 107 bytes does not fit an address
        self._server.listen(8)
        self._server.setblocking(False)
        self._wake_in, self._wake_out = socket.socketpair()
        self._selector.register(self._server, selectors.EVENT_READ, None)
        self._selector.register(self._wake_in, selectors.EVENT_READ, None)
        self._waiting = []  # (client, request id, key)
        self.worker = None
        self._renew({})

    def wake(self):
        self._wake_out.send(b"!")

    def _renew(self, request):
        self._deadline_ns = now_ns() + int(float(request.get("lease_s", self._lease_s)) * NS)

    def run(self):
        while True:
            left_s = (self._deadline_ns - now_ns()) / 1e9
            if left_s <= 0:
                self.end("nobody spoke to this agent for its lease: ending")
            for key, mask in self._selector.select(left_s):
                if key.fileobj is self._server:
                    client = Client(self._server.accept()[0])
                    self.contact(now_ns())
                    self._selector.register(client.socket, selectors.EVENT_READ, client)
                elif key.fileobj is self._wake_in:
                    self._wake_in.recv(64)
                    self._report_done()
                else:
                    self._serve(key.data, mask)

    def contact(self, t_ns):
        self.worker.contact(t_ns)

    def end(self, why):
        end_self(self.worker.pin, why)

    def _serve(self, client, mask):
        try:
            if mask & selectors.EVENT_READ:
                for line, arrived in client.lines():
                    self._answer(client, line, arrived)
            client.flush()
        except OSError:
            client.gone = True
        if client.gone:
            self._selector.unregister(client.socket)
            client.socket.close()
            self._waiting = [w for w in self._waiting if w[0] is not client]
        else:
            wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.out else 0)
            self._selector.modify(client.socket, wanted, client)

    def _answer(self, client, line, arrived):
        try:
            request = json.loads(line.decode("utf-8"))
            self._renew(request)
            self.contact(arrived)
            if request["op"] == "ping":
                client.say({"id": request["id"], "ok": True, "t": [arrived, now_ns()]})
                return
            answer = self._handle(client, request)
        except AgentError as error:
            answer = refusal(error)
        except (ValueError, KeyError, TypeError) as error:
            answer = refusal(AgentError("spec", "not a request: {}: {}".format(type(error).__name__, error)))
            request = {}
        if answer is not None:
            client.say(dict(answer, id=request.get("id")))

    def _handle(self, client, request):
        op = request["op"]
        if op == "hello":
            return dict(self._hello(), ok=True)
        if op == "describe":
            return {"ok": True, "details": self.worker.described()}
        if op == "submit":
            return {"ok": True, "state": self.worker.submit(request["key"], request["job"])}
        if op == "wait":
            key = request["key"]
            if key not in self.worker.state:
                raise AgentError("spec", "no job {!r}".format(key))
            if self.worker.state[key] == "done":
                return self.worker.outcome(key)
            self._waiting.append((client, request["id"], key))
            return None
        if op == "status":
            return {"ok": True, "jobs": dict(self.worker.state), "t_ns": now_ns()}
        if op == "fetch":
            size, data = self.worker.read(request["file"], int(request["offset"]))
            return {"ok": True, "size": size, "data": base64.b64encode(data).decode("ascii")}
        if op == "exit":
            client.say({"id": request["id"], "ok": True})
            client.flush()
            self.end("asked to end")
        raise AgentError("spec", "unknown op {!r}".format(op), "the host speaks another protocol than this agent")

    def _hello(self):
        return {
            "agent": AGENT_VERSION,
            "protocol": PROTOCOL_VERSION,
            "python": platform.python_version(),
            "executable": sys.executable,
            "pid": os.getpid(),
            "token": self._token,
            "machine": platform.machine(),
            "node": platform.node(),
            "system": platform.platform(),
            "clock": "CLOCK_MONOTONIC",
            "t_ns": now_ns(),
            "pin": self.worker.pin.path,
            "cpus": sorted(os.sched_getaffinity(0)),
            "jobs": dict(self.worker.state),
        }

    def _report_done(self):
        still = []
        for client, number, key in self._waiting:
            if self.worker.state[key] == "done":
                client.say(dict(self.worker.outcome(key), id=number))
                self._serve(client, 0)
            else:
                still.append((client, number, key))
        self._waiting = still


class Client:
    """One connection: lines in, lines out, never blocking the listener."""

    def __init__(self, connection):
        self.socket = connection
        self.socket.setblocking(False)
        self._in = b""
        self.out = b""
        self.gone = False

    def lines(self):
        data = self.socket.recv(1 << 16)
        arrived = now_ns()
        if not data:
            self.gone = True
        parts = (self._in + data).split(b"\n")
        self._in = parts.pop()
        return [(part, arrived) for part in parts if part.strip()]

    def say(self, answer):
        self.out += json.dumps(answer).encode("utf-8") + b"\n"

    def flush(self):
        try:
            while self.out:
                self.out = self.out[self.socket.send(self.out) :]
        except (BlockingIOError, InterruptedError):
            pass
