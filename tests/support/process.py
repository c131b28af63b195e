"""A process under test: started, watched, ended, its standard error kept."""

from __future__ import annotations

import os
import signal
import socket
import struct
import subprocess
import tempfile
from pathlib import Path
from typing import Optional, Sequence

from .wait import PATIENCE, wait_until

REPO = Path(__file__).resolve().parents[2]
SANITIZERS = ("AddressSanitizer", "LeakSanitizer", "ThreadSanitizer", "MemorySanitizer", "runtime error:")


def binary() -> Path:
    """The tside under test."""
    given = os.environ.get("TSIDE_BIN")
    path = Path(given) if given else REPO / "build" / "release" / "tside"
    path = path if path.is_absolute() else REPO / path
    assert path.exists(), f"{path}: build it first (./dev build), or set TSIDE_BIN"
    return path


def helper(name: str) -> Path:
    """A program or library that is built beside tside: demo_client, bench_load, ..."""
    path = binary().parent / name
    assert path.exists(), f"{path}: not built"
    return path


def instrumented() -> bool:
    """Whether the tside under test bears a sanitizer, whose own memory counts as well."""
    data = binary().read_bytes()
    return b"__asan_init" in data or b"__tsan_init" in data


class Process:
    def __init__(self, argv: Sequence[str], stderr: Path, env: Optional[dict] = None,
                 cwd: Optional[Path] = None, pass_fds: Sequence[int] = ()):
        self.argv = [str(arg) for arg in argv]
        self.stderr_path = stderr
        self.env = {**os.environ, **(env or {})}
        self.cwd = cwd
        self.pass_fds = pass_fds
        self.child: Optional[subprocess.Popen] = None

    def start(self) -> "Process":
        with open(self.stderr_path, "ab") as stderr:
            self.child = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                          stderr=stderr, env=self.env, cwd=self.cwd, pass_fds=self.pass_fds)
        return self

    @property
    def pid(self) -> int:
        assert self.child is not None
        return self.child.pid

    @property
    def alive(self) -> bool:
        return self.child is not None and self.child.poll() is None

    def stderr(self) -> str:
        if not self.stderr_path.exists():
            return ""
        return self.stderr_path.read_text("utf-8", "replace")

    def signal(self, number: int) -> None:
        assert self.alive, f"{self.argv[0]} has ended: {self.tail()}"
        self.child.send_signal(number)

    def wait(self, timeout: float = 10.0) -> int:
        try:
            return self.child.wait(timeout * PATIENCE)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.argv[:2]} did not end within {timeout} s: {self.tail()}")

    def kill(self) -> None:
        if self.alive:
            self.child.kill()
            self.child.wait()

    def terminate(self, timeout: float = 10.0) -> int:
        self.signal(signal.SIGTERM)
        return self.wait(timeout)

    def tail(self, lines: int = 25) -> str:
        return "\n" + "\n".join(self.stderr().splitlines()[-lines:])

    def assert_clean(self) -> None:
        """Nothing that a sanitizer, an assert or the C library had to say."""
        said = self.stderr()
        found = [said.index(word) for word in SANITIZERS if word in said]
        assert not found, f"{self.argv[0]}: {said[max(0, min(found) - 200):][:12000]}"

    def memory_kib(self) -> int:
        """Resident anonymous memory: what the process itself keeps."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                return int(line.split()[1])
        raise AssertionError("no RssAnon")

    def cpu_ns(self) -> int:
        """CPU time of all threads so far."""
        total = 0
        for task in Path(f"/proc/{self.pid}/task").iterdir():
            total += int((task / "schedstat").read_text().split()[0])
        return total


class Allocations:
    """tests/support/malloc_count.c from outside: what a process allocates, and what it is refused."""

    SLOTS = 256

    def __init__(self) -> None:
        handle, self.path = tempfile.mkstemp(prefix="tside-malloc-")
        os.close(handle)

    @property
    def env(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(helper("libmalloc_count.so")), "TSIDE_MALLOC_COUNT": self.path}

    def by_thread(self) -> dict[int, int]:
        data = Path(self.path).read_bytes().ljust(16 * self.SLOTS, b"\0")
        words = struct.unpack(f"{2 * self.SLOTS}Q", data)
        return {tid: count for tid, count in zip(words[:-2:2], words[1:-2:2]) if tid}

    def refuse(self, smallest: int, largest: int) -> None:
        """From now on, malloc() and calloc() of these sizes returns NULL; 0, 0: none."""
        with open(self.path, "r+b") as file:
            file.seek(16 * (self.SLOTS - 1))
            file.write(struct.pack("2Q", smallest, largest))

    def remove(self) -> None:
        os.unlink(self.path)


def wait_listening(address: str, process: Process, timeout: float = 10.0) -> None:
    host, port = address.rsplit(":", 1)

    def reachable() -> bool:
        assert process.alive, f"{process.argv[0]} ended: {process.tail()}"
        with socket.socket() as probe:
            return probe.connect_ex((host, int(port))) == 0

    wait_until(reachable, timeout, f"{process.argv[0]} listening on {address}")
