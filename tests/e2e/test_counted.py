"""What a call costs, counted and not timed: system calls, allocations, bytes of an idle connection."""

import argparse
import json
import re
import signal
import subprocess
import threading

import pytest

from bench import instructions
from support import wire
from support.callee import Echo
from support.process import Allocations, helper
from support.tside import SERVICE
from support.wait import wait_until

KEY = f"*/*/{SERVICE}/*/*/config"
pytestmark = pytest.mark.counted  # of a build without a sanitizer: those allocate and call on their own


def load(tside, **options) -> subprocess.Popen:
    args = [f"{key}={value}" for key, value in options.items()]
    return subprocess.Popen([helper("bench_load"), tside.address, *args], stdout=subprocess.PIPE, text=True)


def result(child: subprocess.Popen) -> dict:
    out, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    return json.loads(out)


@pytest.mark.parametrize("workers", [1], indirect=True)  # of more, each sleeps more often
@pytest.mark.parametrize("mode, most", [("pool", 4.3), ("mux", 2.6)])
def test_system_calls_per_call(world, mode, most):
    """64 connections, one worker, 1 KiB: so many a call, and no kind that has no business there."""
    echo = Echo()
    tside = world.tside(default=[echo], rules={KEY: {"access_log": 0, "pool": {"mode": mode}}})
    counts = tside.folder / "strace"
    try:
        generator = load(tside, connections=64, payload=1024, ms=6000, warm_ms=0)
        wait_until(lambda: tside.calls() > 2000)
        tracer = subprocess.Popen(["strace", "-f", "-c", "-q", "-o", str(counts), "-p", str(tside.pid)],
                                  stderr=subprocess.PIPE, text=True)
        traced = lambda: "TracerPid:\t0" not in open(f"/proc/{tside.pid}/status").read()  # noqa: E731
        wait_until(traced)
        before = tside.calls()
        window = threading.Event()
        window.wait(2.0)
        tracer.send_signal(signal.SIGINT)
        tracer.wait(20)
        calls = tside.calls() - before
        assert result(generator)["replies"] > 0
    finally:
        echo.stop()
    table = {}
    for line in counts.read_text().splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)\s+(?:\d+\s+)?(\w+)$", line)
        if found and found[2] != "total":
            table[found[2]] = int(found[1])
    total = sum(table.values())
    print(f"{calls} calls, {total / calls:.2f} system calls each: "
          + ", ".join(f"{name} {n / calls:.2f}" for name, n in sorted(table.items(), key=lambda kv: -kv[1])[:8]))
    assert calls > 1000, "too few to tell"
    assert total / calls <= most
    assert set(name for name, n in table.items() if n / calls > 0.01) <= {
        "read", "readv", "recvfrom", "recvmsg", "write", "writev", "sendto", "sendmsg", "epoll_wait", "epoll_pwait",
        "epoll_ctl", "futex"}


@pytest.mark.parametrize("mode, framing", [("pool", "framed"), ("mux", "framed"), ("pipeline", "framed"),
                                           ("pool", "unframed"), ("pool", "ttheader"), ("mux", "ttheader")])
def test_no_allocation_per_call(world, mode, framing):
    """In steady state carrying calls allocates nothing: the workers' counts stand still."""
    echo, counter = Echo(framing), Allocations()
    tside = world.tside(default=[echo], rules={KEY: {"access_log": 0, "pool": {"mode": mode, "framing": framing}}},
                        listeners=({"accept": [framing]},), env=counter.env)

    def allocations() -> int:
        """Of all threads but the control thread, which is the process's first one."""
        return sum(count for tid, count in counter.by_thread().items() if tid != tside.pid)

    try:
        generator = load(tside, connections=64, payload=1024, calls=90_000, warm_ms=0, framing=framing)
        wait_until(lambda: tside.calls() > 20_000, 60)
        begun, before = allocations(), tside.calls()
        wait_until(lambda: tside.calls() > before + 50_000, 60)
        grown, calls = allocations() - begun, tside.calls() - before
        assert result(generator)["replies"] > 0
        print(f"{grown} allocations in {calls} calls")
        assert begun > 0, "the counter counts"
        assert grown <= calls / 1000
    finally:
        echo.stop()
        counter.remove()


def test_idle_connections_are_small(world):
    """5,000 callers that have called once and wait: at most 2 KiB resident each."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"pool": {"max_idle": 1}}})
    links = world.spread(tside, 200)
    for link in links:
        assert link.call("Visit", blob=b"x" * 1024).server == "a"
    before = tside.memory_kib()
    for _ in range(50):
        more = [tside.link() for _ in range(100)]
        for link in more:
            link.send(wire.call("Visit", blob=b"x" * 1024))
        for link in more:
            assert link.message().server == "a"
        links += more
        world.links += more
    wait_until(lambda: tside.metric("tside_downstream_connections") == 5200)
    wait_until(lambda: tside.metric("tside_buffered_bytes") == 0)
    grown = (tside.memory_kib() - before) / 5000
    print(f"{grown:.2f} KiB resident for each idle connection")
    assert grown <= 2.0


def test_memory_of_calls_is_given_back(world):
    """Ten rounds of large calls in parallel: what they held does not add up."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 30000}})
    links = [world.link(tside, timeout=30) for _ in range(16)]
    sizes = []
    for _ in range(10):
        callee.gate.clear()
        callee.forget()
        for link in links:
            link.send(wire.call("Visit", blob=b"x" * 1_000_000))
        callee.gate.set()
        for link in links:
            assert link.message().server == "a"
        wait_until(lambda: tside.metric("tside_buffered_bytes") == 0)
        sizes.append(tside.memory_kib())
    print(f"resident after each round: {sizes}")
    assert sizes[-1] - sizes[2] < 4096


@pytest.mark.parametrize("workers", [1], indirect=True)
def test_user_instructions_per_call(workers):
    """64 connections, 1 KiB: what tside itself executes, libraries included, counted by valgrind. How many calls
    share a turn of the loop is up to the machine: the least of three."""
    options = argparse.Namespace(payload=1024, connections=64, depth=1, calls=6000, framing="framed")
    per_call = min(instructions.measure(options)[0] for _ in range(3))
    print(f"{per_call:.0f} user instructions per call")
    assert per_call <= 8000
