"""demo.thrift as Python code, generated once a process into a folder that goes with it."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

IDL = Path(__file__).with_name("demo.thrift")


@functools.lru_cache(maxsize=None)
def generate() -> Path:
    """The folder that holds the package `demo`; children find it in TSIDE_DEMO_PY."""
    if "TSIDE_DEMO_PY" in os.environ:
        return Path(os.environ["TSIDE_DEMO_PY"])
    folder = Path(tempfile.mkdtemp(prefix="tside-py-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    subprocess.run(["thrift", "--gen", "py", "-out", str(folder), str(IDL)], check=True)
    os.environ["TSIDE_DEMO_PY"] = str(folder)
    return folder


def load():
    """The modules (demo.Demo, demo.ttypes)."""
    folder = str(generate())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from demo import Demo, ttypes  # generated

    return Demo, ttypes
