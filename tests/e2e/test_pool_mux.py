"""pool.mode mux: several calls on one connection, their replies known by seqid, in whatever order."""

import threading

import pytest

from support import wire
from support.raw import Closed, silent
from support.tside import SERVICE
from support.wait import wait_until

KEY = f"*/*/{SERVICE}/*/*/config"


def mux(timeout_ms: int = 20000, **pool) -> dict:
    return {KEY: {"timeout_ms": timeout_ms, "retry": {"attempts": 0}, "pool": {"mode": "mux", **pool}}}


def requests_of(link, n: int) -> list:
    found = []
    for _ in range(n):
        body = link.frame()
        if body is None:
            raise Closed("the caller left")
        found.append(wire.read_message(body))
    return found


def answered(request, text=None) -> bytes:
    return wire.reply(request, wire.response("a", text if text is not None else request.args.get(1, 1)))


def backwards(n: int):
    """Takes n calls of a connection, then answers the last one first, all in one write; again and again."""

    def script(link) -> None:
        while True:
            link.send(b"".join(answered(request) for request in reversed(requests_of(link, n))))

    return script


def answers_behind(gate):
    """Reads on, and answers all calls of a connection when the gate opens."""

    def script(link) -> None:
        waiting = []
        threading.Thread(target=lambda: (gate.wait(), [link.send(answered(r)) for r in waiting]), daemon=True).start()
        while True:
            waiting += requests_of(link, 1)

    return script


def said(link) -> list:
    reply = link.message()
    return [reply.seqid, reply.reason or reply.args.get(0, 2)]


def test_replies_in_another_order(world):
    """One caller's pipelined calls, and two callers' that share a connection: each gets its own reply, in order."""
    callee = world.callee("a", backwards(8))
    tside = world.tside(rules=mux(), default=[callee], workers=1)
    one, other = world.link(tside), world.link(tside)
    for turn in range(3):
        one.send(b"".join(wire.call("Visit", seqid=i, say=f"one {turn} {i}") for i in range(5)))
        other.send(b"".join(wire.call("Visit", seqid=7, say=f"other {turn} {i}") for i in range(3)))
        assert [said(one) for _ in range(5)] == [[i, f"one {turn} {i}".encode()] for i in range(5)]
        assert [said(other) for _ in range(3)] == [[7, f"other {turn} {i}".encode()] for i in range(3)]
    assert len(callee.links) == 1


def test_a_late_reply_is_dropped(world):
    """The call has timed out; its reply comes in front of the next one's, and is nobody's."""
    callee = world.callee("a", backwards(2))
    tside = world.tside(rules=mux(timeout_ms=150), default=[callee])
    link = world.link(tside)
    link.send(wire.call("Visit", seqid=1, say="late"))
    assert said(link) == [1, "timeout"]
    tside.change(rules=mux(timeout_ms=20000))
    link.send(wire.call("Visit", seqid=2, say="next"))
    assert said(link) == [2, b"next"]
    wait_until(lambda: tside.metric("tside_late_replies_total") == 1)
    assert len(callee.links) == 1 and callee.open_links == 1


@pytest.mark.parametrize("lie", ["unknown", "twice", "method"])
def test_a_reply_to_nothing(world, lie):
    """Ends the connection and the calls that the callee has; the next call has another one."""

    def script(link) -> None:
        first, second = requests_of(link, 2)
        if link.number > 0:
            link.send(answered(second) + answered(first))
        elif lie == "unknown":
            link.send(wire.reply(first, wire.response("a"), seqid=first.seqid + 1000))
        elif lie == "twice":
            link.send(answered(first) + answered(first))
        else:
            link.send(wire.reply(first, wire.response("a"), name=b"Other"))
        link.frame()

    callee = world.callee("a", script)
    tside = world.tside(rules=mux(), default=[callee])
    link = world.link(tside)
    link.send(wire.call("Visit", seqid=1) + wire.call("Visit", seqid=2))
    told = [said(link)[1] for _ in range(2)]
    assert told == [b"hello" if lie == "twice" else "upstream_protocol", "upstream_protocol"]
    link.send(wire.call("Visit", seqid=3) + wire.call("Visit", seqid=4))
    assert [said(link) for _ in range(2)] == [[3, b"hello"], [4, b"hello"]]
    assert len(callee.links) == 2


def test_a_silent_connection_is_given_up(world):
    """Eight calls in a row without an answer: the next one has a new connection, the old one closes."""
    callee = world.callee("a", silent)
    tside = world.tside(rules=mux(timeout_ms=30), default=[callee])
    link = world.link(tside)
    for i in range(8):
        assert len(callee.links) <= 1
        assert link.call("Visit", seqid=i).reason == "timeout"
    assert callee.links[0].gone.wait(10)
    assert link.call("Visit").reason == "timeout"
    assert len(callee.links) == 2
    assert tside.metric("tside_upstream_silent_total") == 1


def test_few_connections(world):
    """300 calls at once of one worker: 128 on a connection, and no more of them than that takes."""
    gate = threading.Event()
    callee = world.callee("a", answers_behind(gate))
    tside = world.tside(rules=mux(), default=[callee], workers=1)
    links = world.spread(tside, 30)
    for link in links:
        link.send(b"".join(wire.call("Visit", seqid=i) for i in range(10)))
    wait_until(lambda: callee.count == 300)
    assert len(callee.links) == 3
    gate.set()
    for link in links:
        assert [said(link)[0] for _ in range(10)] == list(range(10))


def test_a_slow_caller_holds_up_nobody(world):
    """It takes no replies: another one's calls go on over the same connection."""

    def script(link) -> None:
        while True:
            [request] = requests_of(link, 1)
            blob = b"x" * 400_000 if request.args.get(1, 1) == b"large" else None
            link.send(wire.reply(request, wire.response("a", "", blob=blob)))

    callee = world.callee("a", script)
    tside = world.tside(rules=mux(), default=[callee], workers=1)
    slow, quick = world.link(tside, timeout=20), world.link(tside)
    slow.send(b"".join(wire.call("Visit", seqid=i, say="large") for i in range(20)))
    wait_until(lambda: callee.count == 20)
    for i in range(50):
        assert quick.call("Visit", seqid=i).server == "a"
    assert [slow.message().seqid for _ in range(20)] == list(range(20))
    assert len(callee.links) == 1


def test_all_workers_get_their_turn(world):
    """One connection for all workers, always busy: those that wait on another worker get it all the same."""
    callee = world.callee("a")
    tside = world.tside(rules=mux(max_connections=1, wait_ms=15000), default=[callee])
    links = world.spread(tside, 12)
    stop = threading.Event()
    served = [0] * len(links)

    def caller(i: int) -> None:
        while not stop.is_set():
            assert links[i].call("Visit").server == "a"
            served[i] += 1

    threads = [threading.Thread(target=caller, args=(i,)) for i in range(len(links))]
    for thread in threads:
        thread.start()
    try:
        wait_until(lambda: min(served) >= 5, 20, f"everyone served: {served}")
    finally:
        stop.set()
        for thread in threads:
            thread.join(20)
    wait_until(lambda: callee.open_links <= 1)
    assert tside.calls(reason="pool_exhausted") == 0


def test_with_the_official_server(world):
    """A server that serves what a connection brings one by one: right replies, over one connection a worker."""
    callee = world.thrift_callee("alpha")
    tside = world.tside(rules=mux(), default=[callee])
    links = world.spread(tside, 6)
    for turn in range(5):
        for n, link in enumerate(links):
            link.send(b"".join(wire.call("Visit", seqid=i, say=f"{turn} {n} {i}") for i in range(4)))
        for n, link in enumerate(links):
            assert [said(link) for _ in range(4)] == [[i, f"{turn} {n} {i}".encode()] for i in range(4)]
    assert tside.metric("tside_upstream_connections_created_total") <= world.workers


def test_oneway_messages_share_with_no_call(world):
    def script(link) -> None:
        while True:
            [request] = requests_of(link, 1)
            if request.type == wire.CALL:
                link.send(answered(request))

    callee = world.callee("a", script)
    tside = world.tside(rules=mux(), default=[callee], workers=1)
    link = world.link(tside)
    link.send(wire.call("Tell", type_=wire.ONEWAY) + wire.call("Visit", seqid=2))
    assert said(link)[0] == 2
    wait_until(lambda: callee.count == 2)
    assert len(callee.links) == 2
