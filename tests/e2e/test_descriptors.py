"""The process has no descriptor left: what is open goes on, what comes waits, and signals are heard."""

import resource
from contextlib import contextmanager

import pytest

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
    tside = world.tside(default=[world.callee("a")], listeners=(listener,))
    with no_descriptors(tside):
        world.spread(tside)
        tside.wait_event("accept_failed")
        tside.stop()
    tside.ended = True
