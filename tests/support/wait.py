"""Waiting for events. No test sleeps: it names what must become true, and by when."""

from __future__ import annotations

import os
import time
from typing import Callable, TypeVar

T = TypeVar("T")

# Sanitizers and a busy machine stretch every deadline alike; upper bounds only, never lower ones.
PATIENCE = float(os.environ.get("TSIDE_PATIENCE", "1"))


def wait_until(condition: Callable[[], T], timeout: float = 5.0, what: str = "") -> T:
    """The first truthy value of condition(); AssertionError when timeout seconds passed without."""
    deadline = time.monotonic() + timeout * PATIENCE
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what or condition}; last value {value!r}")
        time.sleep(0.003)


def stays(condition: Callable[[], object], seconds: float, what: str = "") -> None:
    """Asserts that condition() holds all the time: for what must NOT happen."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        assert condition(), f"no longer true: {what or condition}"
        time.sleep(0.005)
