"""The agent as the one file that is copied to a board: its package in a zip that a bare Python executes.

The bytes depend on nothing but the sources (fixed dates, fixed order), so that an agent that is already on the
board is known by its hash and not sent again.
"""

from __future__ import annotations

import atexit
import functools
import hashlib
import io
import shutil
import tempfile
import zipfile
from pathlib import Path

PACKAGE = Path(__file__).with_name("agent")
MAIN = b"import sys\n\nfrom agent.main import main\n\nsys.exit(main())\n"
EPOCH = (1980, 1, 1, 0, 0, 0)  # the oldest date a zip can hold


def agent_bytes() -> bytes:
    """The zip: `__main__.py` and the package `agent`."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo("__main__.py", EPOCH), MAIN, zipfile.ZIP_DEFLATED)
        for source in sorted(PACKAGE.glob("*.py")):
            archive.writestr(zipfile.ZipInfo(f"agent/{source.name}", EPOCH), source.read_bytes(), zipfile.ZIP_DEFLATED)
    return packed.getvalue()


@functools.cache
def agent_file() -> Path:
    """The agent's file on this machine, named by its hash; removed when this process ends."""
    data = agent_bytes()
    folder = Path(tempfile.mkdtemp(prefix="joulebench-agent-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / f"agent-{hashlib.sha256(data).hexdigest()[:16]}.pyz"
    path.write_bytes(data)
    return path
