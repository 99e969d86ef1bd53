"""The vendor's own Python package as an oracle: it is shown our simulated bus instead of libusb's."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import numpy as np
import pytest
import usb.backend.libusb1

MA, VOLT = 1, 4  # its channel numbers of main current (mA) and main voltage (V)
QUIETLY = "ignore:.*:SyntaxWarning"  # its source compares strings with `is`


def load(monkeypatch: pytest.MonkeyPatch, backend: object) -> Any:
    """Its modules, with `backend` as what pyusb finds first."""
    monkeypatch.setattr(usb.backend.libusb1, "get_backend", lambda *args, **kwargs: backend)
    pytest.importorskip("Monsoon")
    from Monsoon import HVPM, LVPM, pmapi, sampleEngine

    return {"HVPM": HVPM, "LVPM": LVPM}, pmapi, sampleEngine


def read(
    monkeypatch: pytest.MonkeyPatch, backend: object, samples: int, model: str = "HVPM"
) -> tuple[np.ndarray[Any, Any], ...]:
    """(current_a, voltage_v) of about `samples` samples as the official engine converts them."""
    models, pmapi, engine_module = load(monkeypatch, backend)
    monitor = models[model].Monsoon()
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        monitor.setup_usb(Protocol=pmapi.USB_protocol())
        engine = engine_module.SampleEngine(monitor)
        engine.ConsoleOutput(False)
        engine.startSampling(samples)
        result = engine.getSamples()
        monitor.closeDevice()
    assert printed.getvalue() == ""  # no mismatch, no restart
    return np.array(result[MA]) * 1e-3, np.array(result[VOLT])
