"""Answers as the manual of the MX180TP says, on a TCP port: to try a description before the instrument is free.

python stand_in.py 9221, then use resource TCPIP0::127.0.0.1::9221::SOCKET.
"""

from __future__ import annotations

import math
import socketserver
import sys
import time


class StandIn:
    """One supply with 12 V on output 1, whose load swings around half an ampere; readings renewed four times a second.

    What it does not know it does not answer: it sets the execution error register, which EER? reads and clears.
    """

    def __init__(self) -> None:
        self.error = 0

    def load_a(self, t_s: float) -> float:
        return 0.5 + 0.2 * math.sin(2 * math.pi * 0.1 * t_s)

    def answer(self, message: str, t_s: float) -> str | None:
        shown_s = math.floor(t_s * 4) / 4
        if message == "*IDN?":
            return "THURLBY THANDAR, MX180TP, 512345, 1.03-1.00"
        if message == "V1O?":
            return "12.003V"
        if message == "I1O?":
            return f"{self.load_a(shown_s):.3f}A"
        if message in ("V2O?", "V3O?"):
            return "0.000V"
        if message in ("I2O?", "I3O?"):
            return "0.000A"
        if message == "EER?":
            error, self.error = self.error, 0
            return str(error)
        if message == "*CLS":
            self.error = 0
            return None
        self.error = 100
        return None


class Handler(socketserver.StreamRequestHandler):
    instrument = StandIn()

    def handle(self) -> None:
        for line in self.rfile:
            answer = self.instrument.answer(line.decode("ascii").strip(), time.monotonic())
            if answer is not None:
                self.wfile.write(answer.encode("ascii") + b"\r\n")


if __name__ == "__main__":
    with socketserver.ThreadingTCPServer(("127.0.0.1", int(sys.argv[1])), Handler) as server:
        server.serve_forever()
