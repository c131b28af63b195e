"""What the host refuses: descriptors (what is open goes on, what comes waits) and room in files."""

import resource
import signal
from contextlib import contextmanager

import pytest

from support import wire
from support.tside import SERVICE
from support.wait import wait_until

TCP, UNIX = {}, {"listen": "unix:thrift.sock"}


@contextmanager
def no_descriptors(tside):
    """RLIMIT_NOFILE below what is open already: every new descriptor is EMFILE, also behind one that closes."""
    before = resource.prlimit(tside.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(tside.pid, resource.RLIMIT_NOFILE, (3, before[1]))
    yield
    if tside.alive:
        resource.prlimit(tside.pid, resource.RLIMIT_NOFILE, before)


@pytest.mark.parametrize("listener", (TCP, UNIX), ids=("tcp", "unix"))
def test_callers_wait_and_calls_go_on(world, listener):
    tside = world.tside(default=[world.callee("a")], listeners=(listener,))
    links = world.spread(tside)
    for link in links:
        assert link.call("Visit").server == "a"  # the callee's connections, too, are open now
    with no_descriptors(tside):
        waiting = world.spread(tside)
        line = tside.wait_event("accept_failed")
        assert line["level"] == "warn" and "Too many open files" in line["msg"]
        for link in links:
            assert link.call("Visit").server == "a"
    for link in waiting:
        assert link.call("Visit").server == "a"
    assert tside.metric("tside_accept_rests_total") >= 1
    assert len(tside.events("accept_failed")) <= tside.workers, "a line a listener and 10 s"


@pytest.mark.parametrize("listener", (TCP, UNIX), ids=("tcp", "unix"))
def test_sigterm_is_heard(world, listener):
    callee = world.callee("a")
    callee.gate.clear()
    config = {"timeout_ms": 20000}
    tside = world.tside(rules={f"*/*/{SERVICE}/*/*/config": config}, default=[callee], listeners=(listener,))
    link = world.link(tside)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1, 5, "the call is under way")
    with no_descriptors(tside):
        world.spread(tside)
        tside.wait_event("accept_failed")
        tside.signal(signal.SIGTERM)
        tside.wait_event("draining")
    callee.gate.set()  # the leak checker, too, needs descriptors at the end
    assert link.message().server == "a"
    assert tside.wait() == 0
    tside.ended = True


def test_callees_leave_descriptors_for_callers(world):
    """One pipelining caller opens as many connections as it has calls: they end before the descriptors do."""
    callee = world.callee("a")
    callee.gate.clear()
    config = {"timeout_ms": 20000, "connect_timeout_ms": 5000, "pool": {"max_idle": 0}}
    tside = world.tside(rules={f"*/*/{SERVICE}/*/*/config": config}, default=[callee],
                        wrapper=["prlimit", "--nofile=400:400"])
    room = int(tside.wait_event("connections_lowered")["msg"].split()[2].rstrip(":")) + 1
    busy = world.link(tside)
    for seqid in range(2 * room):
        busy.send(wire.call("Visit", seqid=seqid))
    wait_until(lambda: tside.metric("tside_upstream_connections_limited_total") >= room, 5, "the limit is hit")
    assert room - 1 <= tside.metric("tside_upstream_connections", state="open") <= room
    callee.gate.set()
    tside.wait_calls(2 * room)
    assert room - 1 <= tside.calls(reason="ok") <= room
    assert tside.calls(reason="connect_failed") == 2 * room - tside.calls(reason="ok")
    for link in world.spread(tside):
        assert link.call("Visit").server == "a"


def test_idle_connections_leave_descriptors_for_others(world):
    """One callee has all the descriptors, for connections that are idle: another callee's call gets one of them."""
    callee, other = world.callee("a"), world.callee("b")
    callee.gate.clear()
    config = {"timeout_ms": 20000, "connect_timeout_ms": 5000, "pool": {"max_idle": 1000, "max_connections": 1000}}
    tside = world.tside(rules={f"*/*/{SERVICE}/*/*/config": config}, default=[callee], canary=[other],
                        wrapper=["prlimit", "--nofile=400:400"])
    room = int(tside.wait_event("connections_lowered")["msg"].split()[2].rstrip(":")) + 1
    busy = world.link(tside)
    for seqid in range(room):
        busy.send(wire.call("Visit", seqid=seqid))
    wait_until(lambda: tside.metric("tside_upstream_connections", state="open") >= room - 1, 5, "all are in use")
    callee.gate.set()
    wait_until(lambda: tside.metric("tside_upstream_connections", state="idle") >= room - 1, 5, "all are idle")
    assert {busy.message().reason for _ in range(room)} <= {None, "connect_failed"}
    for link in world.spread(tside):
        # Another worker than the one that has them asks for some; its call behind that finds one.
        wait_until(lambda: link.call("Visit", to_cluster="canary").server == "b")
    assert tside.metric("tside_upstream_reclaimed_total") >= 1


def test_a_log_that_may_not_grow(world):
    """SIGXFSZ, which a write beyond RLIMIT_FSIZE brings, ends a process that does not ignore it."""
    tside = world.tside(default=[world.callee("a")], wrapper=["prlimit", "--fsize=8192"])
    link = world.link(tside)

    def dropped() -> bool:
        assert link.call("Visit", to="nobody").is_exception
        return tside.metric("tside_log_lines_dropped_total") > 0

    wait_until(dropped, 10, "a line did not fit in the log's file")
    assert link.call("Visit").server == "a"
    assert tside.terminate() == 0
    tside.ended = True  # its log's last line is cut
