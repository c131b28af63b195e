"""pool.mode pipeline: several calls on one connection, answered in the order in which they were sent."""

import threading

from support import wire
from support.tside import SERVICE
from support.wait import wait_until
from test_pool_mux import answered, answers_behind, backwards, requests_of, said

KEY = f"*/*/{SERVICE}/*/*/config"


def pipeline(timeout_ms: int = 20000, **pool) -> dict:
    return {KEY: {"timeout_ms": timeout_ms, "retry": {"attempts": 0}, "pool": {"mode": "pipeline", **pool}}}


def test_replies_in_order(world):
    """The official server answers in order: right replies, over one connection a worker."""
    callee = world.thrift_callee("alpha")
    tside = world.tside(rules=pipeline(), default=[callee])
    links = world.spread(tside, 6)
    for turn in range(5):
        for n, link in enumerate(links):
            link.send(wire.call("Visit", seqid=turn, say=f"{turn} {n}"))
        for n, link in enumerate(links):
            assert said(link) == [turn, f"{turn} {n}".encode()]
    assert tside.metric("tside_upstream_connections_created_total") <= world.workers


def test_a_callee_that_answers_in_another_order(world):
    """Its calls fail, and are told the cure: in mode pool they succeed."""
    callee = world.callee("a", backwards(2))
    tside = world.tside(rules=pipeline(), default=[callee], workers=1)
    link = world.link(tside)
    link.send(wire.call("Visit", seqid=1) + wire.call("Visit", seqid=2))
    replies = [link.message() for _ in range(2)]
    assert [reply.reason for reply in replies] == ["upstream_protocol"] * 2
    assert "this callee needs pool.mode pool" in replies[0].exception[1]
    assert callee.links[0].gone.wait(10)
    callee.script = backwards(1)
    tside.change({KEY: {"pool": {"mode": "pool"}}})
    link.send(wire.call("Visit", seqid=1) + wire.call("Visit", seqid=2))
    assert [said(link) for _ in range(2)] == [[1, b"hello"], [2, b"hello"]]


def test_a_place_is_kept(world):
    """The first of two calls has timed out: the second gets its own reply behind the late one, and then the
    connection goes; the next call has another one."""
    release = threading.Event()

    def script(link) -> None:
        first, second = requests_of(link, 2)
        release.wait(20)
        link.send(answered(first) + answered(second))
        link.frame()

    callee = world.callee("a", script)
    quick = {f"*/*/{SERVICE}/*/Ping/config": {"timeout_ms": 100}}
    tside = world.tside(rules={**pipeline(), **quick}, default=[callee], workers=1)
    link, other = world.link(tside), world.link(tside)
    link.send(wire.call("Ping", seqid=1))
    wait_until(lambda: len(callee.links) == 1)
    other.send(wire.call("Visit", seqid=2, say="second"))
    assert said(link)[1] == "timeout"
    release.set()
    assert said(other) == [2, b"second"]
    wait_until(lambda: tside.metric("tside_late_replies_total") == 1)
    assert callee.links[0].gone.wait(10)
    other.send(wire.call("Visit", seqid=3, say="a") + wire.call("Visit", seqid=4, say="b"))
    assert [said(other) for _ in range(2)] == [[3, b"a"], [4, b"b"]]
    assert len(callee.links) == 2


def test_few_calls_on_each_connection(world):
    """Forty calls at once of one worker: eight on a connection, as long as there may be more of them."""
    gate = threading.Event()
    callee = world.callee("a", answers_behind(gate))
    tside = world.tside(rules=pipeline(), default=[callee], workers=1)
    links = world.spread(tside, 40)
    for i, link in enumerate(links):
        link.send(wire.call("Visit", seqid=i))
    wait_until(lambda: callee.count == 40)
    assert len(callee.links) == 5
    gate.set()
    for i, link in enumerate(links):
        assert said(link)[0] == i
