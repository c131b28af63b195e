"""Upstream connections in mode `pool`: permits over all workers, waiting, idling, dying, sending again."""

import signal
import threading
import time

import pytest

from support import wire
from support.raw import answer, answer_with
from support.tside import SERVICE
from support.wait import PATIENCE, stays, wait_until

KEY = f"*/*/{SERVICE}/*/*/config"


def pool(**fields) -> dict:
    return {KEY: {"timeout_ms": 20000, "pool": fields}}


def test_connections_are_reused(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], workers=1)
    for link in world.spread(tside, 5):
        for _ in range(10):
            assert link.call("Visit").server == "a"
    assert len(callee.links) == 1
    assert tside.metric("tside_upstream_connections_created_total") == 1
    assert tside.metric("tside_upstream_connections", state="idle") == 1


def test_max_connections_is_strict_over_all_workers(world):
    """Never one more than 5 at the callee, however many callers on however many workers."""
    callee = world.callee("a")
    tside = world.tside(rules=pool(max_connections=5, wait_ms=15000), default=[callee])
    links = world.spread(tside, 24)
    callee.gate.clear()
    for link in links:
        link.send(wire.call("Visit") * 3)
    wait_until(lambda: callee.count == 5)
    stays(lambda: callee.open_links <= 5 and callee.count == 5, 0.2)
    callee.gate.set()
    for link in links:
        assert [link.message().server for _ in range(3)] == ["a"] * 3
    assert callee.open_links <= 5
    assert tside.metric("tside_pool_waiting") == 0
    assert tside.metric("tside_pool_waits_total") > 0


def test_no_worker_starves_another(world):
    """One connection for all workers: every waiting caller gets its turn."""
    callee = world.callee("a")
    tside = world.tside(rules=pool(max_connections=1, wait_ms=15000), default=[callee])
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
    assert callee.open_links <= 1
    assert tside.calls(reason="pool_exhausted") == 0


def test_one_tuple_has_all_connections_after_a_change_too(world):
    """Room is kept for other tuples where there are any; the same one under an edited rule is no other."""
    callee = world.callee("a")
    tside = world.tside(rules=pool(max_connections=8, wait_ms=300), default=[callee], workers=1)
    links = world.spread(tside, 8)
    for wait_ms in (300, 301):
        tside.change(rules=pool(max_connections=8, wait_ms=wait_ms))
        callee.gate.clear()
        seen = callee.count
        for link in links:
            link.send(wire.call("Visit"))
        wait_until(lambda: callee.count == seen + 8)
        callee.gate.set()
        assert [link.message().server for link in links] == ["a"] * 8


def test_many_that_wait_reach_their_deadline_at_once(world):
    """The process stands still past the deadline of them all: each is answered, none inside another."""
    waiting = 20_000
    callee = world.callee("a")
    callee.gate.clear()
    tside = world.tside(rules={KEY: {"timeout_ms": 4000, "pool": {"max_connections": 1, "wait_ms": 60000,
                                                                  "max_waiting": 1_000_000}}},
                        default=[callee], workers=1, limits={"pipelined_calls": 65536, "calls": 200_000})
    link = world.link(tside, timeout=60)
    begun = time.monotonic()
    link.send(b"".join(wire.call("Visit", seqid=i) for i in range(waiting)))
    wait_until(lambda: tside.metric("tside_pool_waiting") == waiting - 1, 15)
    tside.signal(signal.SIGSTOP)
    callee.gate.set()
    wait_until(lambda: time.monotonic() - begun > 4.5, 10)
    tside.signal(signal.SIGCONT)
    assert [link.message().seqid for _ in range(waiting)] == list(range(waiting))


def test_wait_ms_ends_the_wait(world):
    callee = world.callee("a")
    tside = world.tside(rules=pool(max_connections=1, wait_ms=120), default=[callee])
    callee.gate.clear()
    first = world.link(tside)
    first.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    begun = time.monotonic()
    assert world.link(tside).call("Visit").reason == "pool_exhausted"
    assert 0.118 <= time.monotonic() - begun < 0.12 + 0.3 * PATIENCE
    callee.gate.set()
    assert first.message().server == "a"


def test_max_waiting_is_strict_over_all_workers(world):
    callee = world.callee("a")
    tside = world.tside(rules=pool(max_connections=1, wait_ms=15000, max_waiting=4), default=[callee])
    callee.gate.clear()
    links = world.spread(tside, 16)
    links[0].send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    for link in links[1:]:
        link.send(wire.call("Visit"))
    tside.wait_calls(11, reason="pool_exhausted")
    assert tside.metric("tside_pool_waiting") == 4
    callee.gate.set()
    told = [link.message() for link in links]
    assert sum(reply.server == "a" for reply in told) == 5
    assert sum(reply.reason == "pool_exhausted" for reply in told) == 11


def test_waiting_calls_are_served_in_turn(world):
    callee = world.callee("a")
    tside = world.tside(rules=pool(max_connections=1, wait_ms=15000), default=[callee], workers=1)
    callee.gate.clear()
    links = world.spread(tside, 6)
    for i, link in enumerate(links):
        link.send(wire.call("Visit", say=str(i)))
        wait_until(lambda: callee.count + tside.metric("tside_pool_waiting") == i + 1)
    callee.gate.set()
    for link in links:
        assert link.message().server == "a"
    assert [request.args.get(1, 1) for request in callee.requests] == [b"%d" % i for i in range(6)]


def test_a_waiting_call_gets_the_permit_of_a_connection_that_dies(world):
    """The only connection ends under its call: a waiting call gets a new one, at once."""
    def script(link):
        if link.number == 0:
            link.frame()
            link.callee.gate.wait()
            link.reset()
        else:
            answer(link)

    callee = world.callee("a", script)
    tside = world.tside(rules=pool(max_connections=1, wait_ms=15000), default=[callee])
    callee.gate.clear()
    first, second = world.link(tside), world.link(tside)
    first.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    second.send(wire.call("Visit"))
    wait_until(lambda: tside.metric("tside_pool_waiting") == 1)
    callee.gate.set()
    assert first.message().reason == "upstream_reset"
    assert second.message().server == "a"


def test_idle_connections_end_after_idle_ms(world):
    callee = world.callee("a")
    tside = world.tside(rules=pool(idle_ms=150), default=[callee])
    for link in world.spread(tside, 6):
        assert link.call("Visit").server == "a"
    wait_until(lambda: callee.open_links == 0)
    assert tside.metric("tside_upstream_idle_closed_total") == len(callee.links)
    assert tside.metric("tside_upstream_connections", state="idle") == 0
    assert world.link(tside).call("Visit").server == "a"


def test_use_keeps_a_connection_from_idling(world):
    callee = world.callee("a")
    tside = world.tside(rules=pool(idle_ms=300), default=[callee], workers=1)
    link = world.link(tside)
    begun = time.monotonic()
    while time.monotonic() - begun < 0.8:
        assert link.call("Visit").server == "a"
    assert len(callee.links) == 1


def test_what_was_edited_out_of_the_services_is_let_go(world):
    callee, other = world.callee("a"), world.callee("b")
    tside = world.tside(rules=pool(idle_ms=300), default=[callee, other])
    links = world.spread(tside, 4)
    for link in links * 3:
        link.call("Visit")
    wait_until(lambda: callee.open_links > 0)
    tside.change(drop=[f"{SERVICE}/default/{callee.address}"])
    wait_until(lambda: callee.open_links == 0)
    assert {link.call("Visit").server for link in links} == {"b"}


def test_a_removed_endpoint_still_answers_what_it_has(world):
    callee, other = world.callee("a"), world.callee("b")
    tside = world.tside(default=[callee])
    callee.gate.clear()
    link = world.link(tside)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    tside.change(services={f"{SERVICE}/default/{other.address}": {}}, drop=[f"{SERVICE}/default/{callee.address}"])
    callee.gate.set()
    assert link.message().server == "a"
    assert link.call("Visit").server == "b"


# ---- how long a connection serves --------------------------------------------------------------------


def test_short_is_a_connection_a_call(world):
    """However many callers: none is used twice, and no more calls are on their way than pool.max_connections."""
    callee = world.callee("a")
    tside = world.tside(rules=pool(mode="short", max_connections=3, wait_ms=15000), default=[callee])
    links = world.spread(tside, 9)
    callee.gate.clear()
    for link in links:
        link.send(wire.call("Visit") * 4)
    wait_until(lambda: callee.count == 3)
    stays(lambda: callee.count == 3, 0.2)
    callee.gate.set()
    for link in links:
        assert [link.message().server for _ in range(4)] == ["a"] * 4
    wait_until(lambda: tside.metric("tside_upstream_connections", state="open") == 0)
    assert len(callee.links) == tside.metric("tside_upstream_retired_total") == 36
    wait_until(lambda: callee.open_links == 0)


def test_a_oneway_in_mode_short_arrives(world):
    """Its connection is closed once the kernel has the message, which is not lost by that."""
    callee = world.callee("a")
    rules = {KEY: {"connect_timeout_ms": 10000, "timeout_ms": 20000, "pool": {"mode": "short"}}}
    tside = world.tside(rules=rules, default=[callee])  # a connect that is given up may have been accepted
    blob = b"x" * 3_000_000
    for _ in range(3):
        world.link(tside).send(wire.call("Tell", type_=wire.ONEWAY, blob=blob))
    wait_until(lambda: callee.count == 3)
    wait_until(lambda: callee.open_links == 0)
    assert len(callee.links) == 3


def test_connections_made_together_do_not_go_together(world):
    """Thirty of one moment and one age: up to a tenth of it lies between the first end and the last."""
    callee = world.callee("a")
    tside = world.tside(rules=pool(max_age_ms=3000, idle_ms=60000), default=[callee])
    links = world.spread(tside, 30)
    callee.gate.clear()
    for link in links:
        link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 30)
    callee.gate.set()
    for link in links:
        assert link.message().server == "a"
    wait_until(lambda: 0 < tside.metric("tside_upstream_retired_total"))
    assert tside.metric("tside_upstream_connections", state="open") > 0
    wait_until(lambda: tside.metric("tside_upstream_retired_total") == 30)


def test_an_idle_connection_that_ends_is_noticed(world):
    """The next call goes over a new connection at once: nothing is sent twice."""
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    links = world.spread(tside, 6)
    for link in links:
        assert link.call("Visit").server == "a"
    callee.close_all()
    wait_until(lambda: tside.metric("tside_upstream_connections", state="open") == 0)
    for link in links:
        assert link.call("Visit").server == "a"
    assert tside.metric("tside_resends_total") == 0


# ---- connections that die ---------------------------------------------------------------------------


def test_a_dead_reused_connection_costs_no_call(world):
    """The callee restarts between two calls: the next call goes over a new connection, for free."""
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    links = world.spread(tside, 4)
    for turn in range(20):
        callee.close_all(reset=turn % 2 == 1)
        for link in links:
            assert link.call("Visit").server == "a"
    assert tside.calls(reason="ok") == tside.calls()


def test_a_reused_connection_that_dies_under_a_large_request(world):
    """Its last byte never left: no framed callee can have run it, so it may be sent again."""
    def script(link):
        if link.number > 0:
            return answer(link)
        request = link.message()
        link.send(wire.reply(request, wire.response("a")))
        link.sock.recv(4096)  # some of the next one, then the end
        link.reset()

    callee = world.callee("a", script)
    tside = world.tside(default=[callee], workers=1, rules={KEY: {"timeout_ms": 20000, "send_timeout_ms": 15000}})
    link = world.link(tside, timeout=20)
    assert link.call("Visit").server == "a"
    assert link.call("Visit", blob=b"x" * 12_000_000, say="large").args.get(0, 2) == b"large"
    assert tside.metric("tside_resends_total") == 1
    tside.wait_calls(2, reason="ok")


S, M = wire.STRING, wire.MAP
EDITED = {
    # Base as it comes -> Base as any attempt forwards it, with its own time left
    "in place, LogID filled": (wire.base(log_id="", extra=[("a", "1"), (wire.REMAIN, "15000"), ("z", "2")]),
                               lambda log, left: wire.base(log, extra=[("a", "1"), (wire.REMAIN, left), ("z", "2")])),
    "shorter, LogID kept": (wire.base(log_id="mine", extra=[(wire.REMAIN, "20000000"), ("z", "2")]),
                            lambda log, left: wire.base(log, extra=[(wire.REMAIN, left), ("z", "2")])),
    "entry and LogID added": (wire.base(log_id=None, extra=[("a", "1")]),
                              lambda log, left: wire.base(None, extra=[(wire.REMAIN, left), ("a", "1")])
                              + [(1, S, log)]),
    "Extra was empty": (wire.base(log_id="mine", extra=wire.Raw(b"\0" * 6)),
                        lambda log, left: wire.base(log, extra=[(wire.REMAIN, left)])),
    "Extra and LogID added": (wire.base(log_id=None),
                              lambda log, left: wire.base(None) + [(6, M, wire.string_map([(wire.REMAIN, left)])),
                                                                   (1, S, log)]),
}


def dies_under(size: int):
    """A callee whose first connection takes one message and `size` bytes of the next, and ends a while later."""
    def script(link):
        if link.number > 0:
            return answer(link)
        request = link.message()
        if request.type == wire.CALL:
            link.send(wire.reply(request, wire.response("a")))
        link.sock.recv(size)
        begun = time.monotonic()
        wait_until(lambda: time.monotonic() - begun > 0.03)  # there is less time left for the next attempt
        link.reset()

    return script


@pytest.mark.parametrize("case", EDITED, ids=lambda c: c.replace(" ", "_"))
def test_what_is_sent_again_is_edited_once(world, case):
    """The second attempt's bytes are one edit of what came, whatever the first one wrote."""
    came, forwarded = EDITED[case]
    callee = world.callee("a", dies_under(4096))
    tside = world.tside(default=[callee], workers=1, rules={KEY: {"timeout_ms": 20000, "send_timeout_ms": 15000}},
                        listeners=({"callee": {"service": SERVICE}},))
    link = world.link(tside, timeout=20)
    assert link.call("Visit").server == "a"
    blob = b"x" * 12_000_000
    assert link.call("Visit", blob=blob, base_fields=came).server == "a"
    assert tside.metric("tside_resends_total") == 1
    got = callee.requests[-1]
    log_id, left = got.base.get(1), got.extra[wire.REMAIN]
    assert 5 <= len(left) and int(left) <= (15000 - 30 if "in place" in case else 20000 - 30)
    expected = wire.call("Visit", blob=blob, base_fields=forwarded(log_id, left), seqid=got.seqid)
    is_same = got.body == expected[4:]
    assert is_same, (got.base, len(got.body), len(expected) - 4)  # pytest would compare 12 MB letter by letter


def test_a_oneway_sent_again_has_no_more_time_than_it_came_with(world):
    callee = world.callee("a", dies_under(4096))
    tside = world.tside(default=[callee], workers=1, rules={KEY: {"timeout_ms": 20000, "send_timeout_ms": 60000}})
    link = world.link(tside, timeout=20)
    link.send(wire.call("Tell", type_=wire.ONEWAY))
    wait_until(lambda: callee.count == 1)
    link.send(wire.call("Tell", type_=wire.ONEWAY, blob=b"x" * 12_000_000, extra={wire.REMAIN: "15000"}))
    wait_until(lambda: callee.count == 2, 20)
    assert tside.metric("tside_resends_total") == 1
    assert 0 < int(callee.requests[1].extra[wire.REMAIN]) <= 15000 - 30
    tside.wait_calls(2, reason="ok")


def test_what_may_have_reached_the_callee_is_not_sent_again(world):
    """A reused connection that ends behind a whole request: upstream_reset, and only one sending."""
    def script(link):
        while True:
            request = link.message()
            if request.args.get(1, 1) == b"die":
                return
            link.send(wire.reply(request, wire.response("a")))

    callee = world.callee("a", script)
    tside = world.tside(default=[callee])
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    assert link.call("Visit", say="die").reason == "upstream_reset"
    assert sum(request.args.get(1, 1) == b"die" for request in callee.requests) == 1
    assert link.call("Visit").server == "a"


def test_a_reset_ends_only_the_call_on_that_connection(world):
    def script(link):
        while True:
            request = link.message()
            link.callee.gate.wait()
            if request.args.get(1, 1) == b"die":
                link.reset()
                return
            link.send(wire.reply(request, wire.response("a")))

    callee = world.callee("a", script)
    tside = world.tside(default=[callee])
    links = world.spread(tside, 9)
    callee.gate.clear()
    for i, link in enumerate(links):
        link.send(wire.call("Visit", say="die" if i % 3 == 0 else "live"))
    wait_until(lambda: callee.count == 9)
    callee.gate.set()
    told = [link.message() for link in links]
    assert [reply.reason or reply.server for reply in told] == ["upstream_reset", "a", "a"] * 3


def test_a_callee_that_is_down_and_comes_back(world):
    callee = world.callee("a")
    address = callee.address
    tside = world.tside(default=[callee])
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    callee.stop()
    world.callees.remove(callee)
    wait_until(lambda: tside.metric("tside_upstream_connections", state="open") == 0)
    assert link.call("Visit").reason == "connect_failed"
    world.callee("again", address=address)
    assert link.call("Visit").server == "again"


def test_other_endpoints_carry_on_when_one_is_down(world):
    """With a second endpoint up, what was provably never sent goes there."""
    up, down = world.callee("up"), world.callee("down")
    tside = world.tside(default=[up, down], rules={KEY: {"lb": "round_robin"}})
    down.stop()
    world.callees.remove(down)
    link = world.link(tside)
    told = [link.call("Visit") for _ in range(40)]
    assert {reply.server or reply.reason for reply in told} <= {"up", "connect_failed"}
    assert sum(reply.server == "up" for reply in told) >= 20


def test_a_reply_with_more_behind_it(world):
    """Two frames for one call: the first is the answer, the connection goes with the second."""
    callee = world.callee("a", answer_with(lambda r: wire.reply(r, wire.response("a", r.args.get(1, 1))) +
                                           wire.reply(r, wire.response("evil", b"evil"))))
    tside = world.tside(default=[callee])
    links = world.spread(tside, 4)
    for i in range(40):
        assert links[i % 4].call("Visit", say=str(i)).args.get(0, 2) == str(i).encode()
