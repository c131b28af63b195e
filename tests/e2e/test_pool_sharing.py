"""Who shares an endpoint's connections with whom: ONEWAY messages, tuples, servers of one connection."""

import threading

from support import wire
from support.raw import answer, silent
from support.tside import SERVICE
from support.wait import stays, wait_until

KEY = f"*/*/{SERVICE}/*/*/config"


def config(**fields) -> dict:
    return {KEY: {"timeout_ms": 20000, **fields}}


def oneway(method: str, **kwargs) -> bytes:
    return wire.call(method, type_=wire.ONEWAY, **kwargs)


# ---- ONEWAY messages -----------------------------------------------------------------------------


def test_a_sent_oneway_holds_no_permit(world):
    """One connection at all: the CALL behind a ONEWAY gets it at once, on whatever worker it comes."""
    callee = world.callee("a")
    tside = world.tside(rules=config(pool={"max_connections": 1, "wait_ms": 5000, "idle_ms": 60000}), default=[callee])
    for link in world.spread(tside, 6):
        for _ in range(5):
            link.send(oneway("Tell") + wire.call("Visit"))
            assert link.message().server == "a"
    assert tside.calls(reason="pool_exhausted") == 0
    wait_until(lambda: callee.count == 60)


def test_a_slow_oneway_delays_its_own_caller_alone(world):
    """The callee serves one message of a connection after the other, as servers do."""
    hold = threading.Event()
    served = []

    def script(link) -> None:
        while (body := link.frame()) is not None:
            request = wire.read_message(body)
            if request.name == b"Slow":
                hold.wait()
            served.append(request.name)

    tside = world.tside(rules=config(), default=[world.callee("a", script)], workers=1)
    links = [world.link(tside) for _ in range(10)]
    try:
        links[0].send(oneway("Slow") + oneway("Behind"))
        for link in links[1:]:
            link.send(oneway("Quick"))
        wait_until(lambda: served.count(b"Quick") == 9)
        stays(lambda: b"Behind" not in served, 0.1)
    finally:
        hold.set()
    wait_until(lambda: b"Behind" in served)
    assert served.index(b"Slow") < served.index(b"Behind")


def test_oneways_share_where_no_permit_is_left(world):
    callee = world.callee("a")
    tside = world.tside(rules=config(pool={"max_connections": 2}), default=[callee], workers=1)
    links = [world.link(tside) for _ in range(8)]
    for link in links:
        link.send(oneway("Tell") * 4)
    wait_until(lambda: callee.count == 32)
    assert callee.open_links <= 2


# ---- tuples --------------------------------------------------------------------------------------


def test_two_methods_of_one_caller_use_every_permit(world):
    """Nobody else calls: what is kept for others is not kept from them, on a cold pool either."""
    for permits in (16, 64):
        callee = world.callee("a")
        callee.gate.clear()
        tside = world.tside(rules=config(pool={"max_connections": permits, "wait_ms": 300}), default=[callee], workers=1)
        link = world.link(tside)
        link.send(b"".join(wire.call(("Visit", "Other")[i % 2], seqid=i) for i in range(permits)))
        wait_until(lambda: callee.count == permits)
        callee.gate.set()
        replies = [link.message() for _ in range(permits)]
        assert [r.server for r in replies] == ["a"] * permits
        assert tside.calls(reason="pool_exhausted") == 0


def test_the_answer_says_which_limit_it_was(world):
    callee = world.callee("a")
    callee.gate.clear()
    tside = world.tside(rules=config(pool={"max_connections": 8, "wait_ms": 50}), default=[callee], workers=1)
    greedy, other = world.link(tside), world.link(tside)
    greedy.send(b"".join(wire.call("Visit", seqid=i) for i in range(6)))
    wait_until(lambda: callee.count == 6)
    other.send(wire.call("Other", caller="app.other"))
    wait_until(lambda: callee.count == 7)
    link = world.link(tside)
    text = link.call("Visit").exception[1]
    assert "kept for other callers" in text, text
    other.send(wire.call("Third", caller="app.other"))
    wait_until(lambda: callee.count == 8)
    text = world.link(tside).call("Fourth", caller="app.other").exception[1]
    assert "pool.max_connections are busy" in text, text
    callee.gate.set()


# ---- servers of one connection -------------------------------------------------------------------


def test_a_server_of_one_connection_is_named_in_the_answer(world):
    """It serves the connection it accepted first; calls on others reach their deadline, and are told the cure."""
    first_only = threading.Lock()

    def script(link) -> None:
        if first_only.acquire(blocking=False):
            answer(link)
        else:
            silent(link)

    callee = world.callee("a", script)
    rules = {**config(timeout_ms=300), f"*/*/{SERVICE}/*/Hold/config": {"timeout_ms": 20000}}
    tside = world.tside(rules=rules, default=[callee], workers=1)
    first, second = world.link(tside), world.link(tside)
    assert first.call("Visit").server == "a"
    callee.gate.clear()
    first.send(wire.call("Hold"))
    wait_until(lambda: callee.count == 2)
    reply = second.call("Visit")
    callee.gate.set()
    assert reply.reason == "timeout"
    assert "pool.max_connections 1" in reply.exception[1], reply.exception[1]


# ---- what one caller could set for others --------------------------------------------------------


def test_a_finagle_probe_goes_nowhere(world):
    """It would change the state of a connection that others share: answered as an unknown method."""
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    reply = link.call("__can__finagle__trace__v3__", seqid=7)
    assert reply.type == wire.EXCEPTION and reply.exception[0] == 1 and reply.seqid == 7
    assert reply.name == b"__can__finagle__trace__v3__"
    assert link.call("Visit").server == "a"
    assert callee.count == 1
