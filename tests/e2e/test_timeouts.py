"""Deadlines: the four timeouts, and the budget that arrives with a call and is passed on."""

import signal
import threading
import time

import pytest

from support import wire
from support.raw import StuckListener, answer, closed_port, silent
from support.tside import SERVICE
from support.wait import PATIENCE, wait_until

KEY = f"*/*/{SERVICE}/*/*/config"
REMAIN, STAMP = wire.REMAIN, wire.STAMP


def timed(link, *args, **kwargs) -> tuple:
    begun = time.monotonic()
    reply = link.call(*args, **kwargs)
    return reply, (time.monotonic() - begun) * 1000


def now_ms() -> int:
    return int(time.time() * 1000)


# ---- before there are rules ----------------------------------------------------------------------


def test_waiting_for_rules_is_bounded_by_the_budget_that_arrived(world):
    """etcd is out of reach and nothing is on disk: calls wait for rules, but no longer than they have."""
    tside = world.tside(ready=False, rules_file=None, etcd={"endpoints": ["http://" + closed_port()]})
    link = world.link(tside)
    reply, took = timed(link, "Visit", extra={REMAIN: "0"})
    assert reply.reason == "timeout" and "the budget was spent" in reply.exception[1] and took < 300 * PATIENCE
    reply, took = timed(link, "Visit", extra={REMAIN: "60"})
    assert reply.reason == "timeout" and "within 60 ms" in reply.exception[1] and 60 <= took


# ---- four timeouts -------------------------------------------------------------------------------


def test_the_whole_call(world):
    tside = world.tside(rules={KEY: {"timeout_ms": 50}}, default=[world.callee("a", silent)])
    links = world.spread(tside, 4)
    took = []
    for turn in range(40):
        reply, ms = timed(links[turn % 4], "Visit", seqid=turn)
        assert (reply.reason, reply.seqid) == ("timeout", turn)
        took.append(ms)
    took.sort()
    print(f"50 ms: fired after {took[0]:.1f} .. {took[-1]:.1f} ms, median {took[20]:.1f}")
    # Never early (by more than a turn of the loop's clock); late by 2 ms and this machine's delays.
    assert took[0] >= 48 and took[20] <= 50 + 15 * PATIENCE


def test_a_method_that_is_never_answered_is_named_once(world):
    """As of a client that sends a oneway method as CALL; not before others of that callee are answered."""
    def script(link):
        while True:
            request = link.message()
            if request.name != b"Fire":
                link.send(wire.reply(request, wire.response("a")))
    tside = world.tside(rules={KEY.replace("*/config", "Fire/config"): {"timeout_ms": 50}},
                        default=[world.callee("a", script)])
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    for _ in range(6):
        assert link.call("Fire").reason == "timeout"
        assert link.call("Visit").server == "a"
    wait_until(lambda: tside.events("never_answered"))
    assert link.call("Fire").reason == "timeout"
    lines = tside.events("never_answered")
    assert len(lines) == 1, lines
    assert "/Fire:" in lines[0]["msg"] and '"oneway": true' in lines[0]["msg"]


def test_timeouts_fire_in_time_for_many_at_once(world):
    """300 calls that end at once end within a few turns, each exactly once."""
    tside = world.tside(rules={KEY: {"timeout_ms": 200, "connect_timeout_ms": 9000, "pool": {"max_connections": 1000}}},
                        default=[world.callee("a", silent)])
    links = world.spread(tside, 30)
    begun = time.monotonic()
    for link in links:
        link.send(b"".join(wire.call("Visit", seqid=i) for i in range(10)))
    for link in links:
        assert [link.message().reason for _ in range(10)] == ["timeout"] * 10
    assert time.monotonic() - begun < 1.2 * PATIENCE
    tside.wait_calls(300, reason="timeout")
    wait_until(lambda: tside.metric("tside_calls_inflight") == 0)


@pytest.mark.parametrize("config, reason, at", [
    ({"connect_timeout_ms": 60}, "connect_timeout", 60),
    ({"connect_timeout_ms": 20000, "timeout_ms": 120}, "timeout", 120),
])
def test_connecting(world, config, reason, at):
    stuck = StuckListener()
    try:
        tside = world.tside(rules={KEY: config}, default=[stuck.address])
        reply, ms = timed(world.link(tside), "Visit")
        assert reply.reason == reason and at - 2 <= ms <= at + 150 * PATIENCE
    finally:
        stuck.stop()


def test_sending(world):
    callee = world.callee("deaf", lambda link: link.gone.wait(60))
    tside = world.tside(rules={KEY: {"send_timeout_ms": 100, "timeout_ms": 9000}}, default=[callee])
    reply, ms = timed(world.link(tside, timeout=15), "Visit", blob=b"x" * 12_000_000)
    for link in callee.links:
        link.gone.set()
    assert reply.reason == "send_timeout" and 98 <= ms < 3000 * PATIENCE


def deaf_until(gate):
    """A callee that reads nothing before the gate opens, and answers calls then."""
    def script(link):
        gate.wait(60)
        answer(link)

    return script


def test_a_oneway_on_its_way_outlives_its_deadline(world):
    """It shares its connection: late is better than closing that under others. Only what is stuck is."""
    gate = threading.Event()
    callee = world.callee("a", deaf_until(gate))
    tside = world.tside(rules={KEY: {"timeout_ms": 100, "send_timeout_ms": 30000}}, default=[callee], workers=1)
    link = world.link(tside, timeout=15)
    begun = time.monotonic()
    link.send(wire.call("Tell", type_=wire.ONEWAY, say="large", blob=b"x" * 12_000_000))
    link.send(wire.call("Tell", type_=wire.ONEWAY, say="behind it"))
    wait_until(lambda: len(callee.links) == 1)
    wait_until(lambda: time.monotonic() - begun > 0.4)
    assert tside.metric("tside_calls_inflight") == 2
    gate.set()
    wait_until(lambda: callee.count == 2, 15)
    assert [request.args.get(1, 1) for request in callee.requests] == [b"large", b"behind it"]
    assert len(callee.links) == 1
    tside.wait_calls(2, reason="ok")


def test_a_oneway_that_is_stuck(world):
    gate = threading.Event()
    callee = world.callee("a", deaf_until(gate))
    tside = world.tside(rules={KEY: {"timeout_ms": 20000, "send_timeout_ms": 200}}, default=[callee], workers=1)
    link = world.link(tside, timeout=15)
    link.send(wire.call("Tell", type_=wire.ONEWAY, blob=b"x" * 12_000_000))
    tside.wait_calls(1, reason="send_timeout")
    wait_until(lambda: tside.metric("tside_upstream_connections", state="open") == 0)
    gate.set()
    assert link.call("Visit").server == "a"


def test_receiving(world):
    tside = world.tside(rules={KEY: {"receive_timeout_ms": 70, "timeout_ms": 9000}}, default=[world.callee("a", silent)])
    reply, ms = timed(world.link(tside), "Visit")
    assert reply.reason == "timeout" and 68 <= ms <= 70 + 150 * PATIENCE
    assert "70" in reply.exception[1] and "receive_timeout_ms" in reply.exception[1]


def test_a_callee_that_comes_too_late_answers_nobody_else(world):
    """Its connection is not used again: the late reply finds no call."""
    callee = world.callee("a")
    callee.gate.clear()
    tside = world.tside(rules={KEY: {"timeout_ms": 60}}, default=[callee])
    link = world.link(tside)
    assert link.call("Visit", say="late").reason == "timeout"
    callee.gate.set()
    for i in range(10):
        assert link.call("Visit", say=str(i)).args.get(0, 2) == str(i).encode()


# ---- what arrives ---------------------------------------------------------------------------------


def budget(world, entry, timeout_ms=400, listeners=({},)):
    """(reply, milliseconds, callee) of one call whose Extra has this entry."""
    callee = world.callee("a", silent)
    tside = world.tside(rules={KEY: {"timeout_ms": timeout_ms}}, default=[callee], listeners=listeners)
    extra = {} if entry is None else {REMAIN: entry}
    reply, ms = timed(world.link(tside, timeout=10), "Visit", extra=extra)
    return reply, ms, callee, tside


def test_the_smaller_of_both_counts_the_arrived(world):
    reply, ms, callee, tside = budget(world, "80")
    assert reply.reason == "timeout" and 78 <= ms <= 80 + 150 * PATIENCE
    assert 0 < int(callee.requests[0].extra[REMAIN]) <= 80
    assert tside.wait_event("call", reason="timeout")["deadline_ms"] == 80


def test_the_smaller_of_both_counts_the_configured(world):
    reply, ms, callee, tside = budget(world, "60000", timeout_ms=90)
    assert reply.reason == "timeout" and 88 <= ms <= 90 + 150 * PATIENCE
    assert 0 < int(callee.requests[0].extra[REMAIN]) <= 90
    assert tside.wait_event("call", reason="timeout")["deadline_ms"] == 90


@pytest.mark.parametrize("entry", ["9" * 15, "1" + "0" * 15, str(2 ** 63), str(2 ** 64 + 1), "9" * 300], ids=len)
def test_a_huge_budget_is_more_than_any_timeout(world, entry):
    reply, ms, callee, _ = budget(world, entry, timeout_ms=90)
    assert reply.reason == "timeout" and 88 <= ms <= 90 + 150 * PATIENCE
    assert 0 < int(callee.requests[0].extra[REMAIN]) <= 90


def test_zeros_in_front_of_a_budget(world):
    reply, ms, callee, _ = budget(world, "0" * 20 + "80")
    assert reply.reason == "timeout" and 78 <= ms <= 80 + 150 * PATIENCE
    assert 0 < int(callee.requests[0].extra[REMAIN]) <= 80


@pytest.mark.parametrize("entry", ["0", "00", "0" * 16, "0" * 300], ids=len)
def test_spent_on_arrival_is_answered_and_sent_nowhere(world, entry):
    reply, ms, callee, tside = budget(world, entry)
    assert reply.reason == "timeout" and ms < 150 * PATIENCE
    assert callee.count == 0 and callee.links == []
    tside.wait_calls(1, reason="timeout")


def test_spent_on_arrival_oneway(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    link.send(wire.call("Tell", type_=wire.ONEWAY, extra={REMAIN: "0"}))
    tside.wait_calls(1, method="Tell", reason="timeout")
    assert link.call("Visit", seqid=2).seqid == 2
    assert callee.count == 1


@pytest.mark.parametrize("entry", ["", "-5", "abc", "12x", " 50", "1e2", "5.0", "9" * 20 + "x", "+5"])
def test_malformed_counts_as_absent(world, entry):
    reply, ms, callee, _ = budget(world, entry, timeout_ms=150)
    assert reply.reason == "timeout" and 148 <= ms
    assert 0 < int(callee.requests[0].extra[REMAIN]) <= 150


def test_of_two_entries_the_last_counts_and_is_rewritten(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    world.link(tside).call("Visit", extra=[(REMAIN, "77"), (REMAIN, "500")])
    pairs = wire.Reader(callee.bodies[0])  # a dict would hide the first: look at the bytes
    assert pairs.data.count(REMAIN.encode()) == 2
    assert 400 < int(callee.requests[0].extra[REMAIN]) <= 500


# ---- what is passed on ------------------------------------------------------------------------------


def test_what_is_left_is_written_back(world):
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"timeout_ms": 30000}}, default=[callee])
    link = world.link(tside)
    for arrived in (9, 100, 5000, 20000, 123456):
        assert link.call("Visit", extra={REMAIN: str(arrived)}).type in (wire.REPLY, wire.EXCEPTION)
    for request, arrived in zip(callee.requests, (9, 100, 5000, 20000, 30000)):
        assert arrived - 1000 * PATIENCE <= int(request.extra[REMAIN]) <= arrived


def test_less_is_passed_on_after_waiting(world):
    """What a call spent waiting for a connection is off what the callee is sent."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"timeout_ms": 20000, "pool": {"max_connections": 1, "wait_ms": 20000}}},
                        default=[callee])
    callee.gate.clear()
    first, second = world.link(tside), world.link(tside)
    first.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    second.send(wire.call("Visit", extra={REMAIN: "10000"}))
    wait_until(lambda: tside.metric("tside_pool_waiting") == 1)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 0.2)
    callee.gate.set()
    assert second.message().server == "a"
    assert int(callee.requests[1].extra[REMAIN]) <= 10000 - 190


def test_everything_else_of_the_frame_stays(world):
    """Entries, their order, the other fields: only the value changes."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"base": {"fill_log_id": False}},))
    extra = [("a", "1"), (REMAIN, "5000"), ("z", "\u00e4"), ("a", "2")]
    world.link(tside).call("Visit", extra=extra, say="text", number=5, blob=b"\0\xff")
    got = callee.requests[0]
    frame = wire.read_message(wire.call("Visit", extra=extra, say="text", number=5, blob=b"\0\xff")[4:])
    left = got.extra[REMAIN]
    expected = wire.call("Visit", extra=[("a", "1"), (REMAIN, left), ("z", "\u00e4"), ("a", "2")], say="text",
                         number=5, blob=b"\0\xff", seqid=got.seqid)
    assert callee.bodies[0] == expected[4:]
    assert frame.extra["a"] == got.extra["a"]


def only_request(world, frame: bytes, **listener) -> wire.Message:
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"callee": {"service": SERVICE}, **listener},))
    link = world.link(tside)
    link.send(frame)
    assert link.message().server == "a"
    return callee.requests[0]


def fields_of_base(message: wire.Message) -> dict:
    return {id_: type_ for id_, type_, _ in message.base}


def args_with(base) -> bytes:
    return wire.frame(wire.message("Visit", [(255, wire.STRUCT, base)]))


S, M = wire.STRING, wire.MAP
EMPTY_ZERO = wire.Raw(b"\0\0\0\0\0\0")
MISSING = {
    # Base as it comes -> the id that a missing Extra is added under (None: nothing is added)
    "canonical": (wire.base(), {}, 6),
    "string in field 3 alone": ([(2, S, "app"), (3, S, "addr")], {}, 6),
    "a field 4 alone": ([(2, S, "app"), (4, wire.I32, 1)], {}, 6),
    "the talk's": (wire.base(canonical=False), {}, 3),
    "empty Base": ([], {}, 3),
    "extra_id 5": (wire.base(), {"base": {"extra_id": 5}}, 5),
    "extra_id 1": ([(2, S, "app")], {"base": {"extra_id": 1}}, 1),
    "id taken": ([(3, wire.I32, 7)], {}, None),
    "id 6 taken": ([(4, S, "x"), (6, S, "x")], {}, None),
    "extra_id taken": (wire.base(), {"base": {"extra_id": 3}}, None),
}


@pytest.mark.parametrize("case", MISSING, ids=lambda c: c.replace(" ", "_"))
def test_a_missing_extra_is_added(world, case):
    base, listener, added = MISSING[case]
    request = only_request(world, args_with(base), base={"fill_log_id": False, **listener.get("base", {})})
    got = fields_of_base(request)
    if added is None:
        assert got == {id_: type_ for id_, type_, _ in base}
    else:
        assert got == {**{id_: type_ for id_, type_, _ in base}, added: M}
        assert list(request.extra) == [REMAIN] and 0 < int(request.extra[REMAIN]) <= 1000


def test_a_missing_entry_is_added(world):
    request = only_request(world, wire.call("Visit", extra={"k": "v"}))
    assert request.extra["k"] == "v" and request.extra["dest_service"] == SERVICE
    assert 0 < int(request.extra[REMAIN]) <= 1000


@pytest.mark.parametrize("empty", [EMPTY_ZERO, wire.Raw(b"\x0b\x0b\0\0\0\0")], ids=["codes_0", "codes_11"])
def test_an_empty_extra_gets_the_entry(world, empty):
    request = only_request(world, args_with(wire.base(extra=empty)))
    assert list(request.extra) == [REMAIN]
    assert b"\x0d\x00\x06\x0b\x0b\x00\x00\x00\x01" in request.body


def test_without_base_nothing_is_added(world):
    frame = wire.call("Visit", base_fields=None)
    request = only_request(world, frame)
    assert request.base is None
    assert len(request.body) == len(frame) - 4


@pytest.mark.parametrize("log_id", ["", None])
def test_an_empty_log_id_is_filled(world, log_id):
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"access_log": 1}}, default=[callee])
    link = world.link(tside)
    for _ in range(20):
        assert link.call("Visit", log_id=log_id).server == "a"
    filled = [request.base.get(1) for request in callee.requests]
    assert len(set(filled)) == 20 and all(len(value) >= 16 for value in filled)
    wait_until(lambda: len(tside.events("call", reason="ok")) == 20)
    assert {line["log_id"].encode() for line in tside.events("call")} == set(filled)


def test_a_log_id_that_is_there_stays(world):
    assert only_request(world, wire.call("Visit", log_id="mine")).base.get(1) == b"mine"


def test_filling_the_log_id_can_be_switched_off(world):
    request = only_request(world, wire.call("Visit", log_id=""), base={"fill_log_id": False})
    assert request.base.get(1) == b""


def test_a_field_1_of_another_type_is_no_log_id(world):
    request = only_request(world, args_with([(1, wire.I64, 5), (2, S, "app")]))
    assert [value for id_, _, value in request.base if id_ == 1] == [5]


# ---- listener's settings ------------------------------------------------------------------------------


def test_rewriting_can_be_switched_off(world):
    """What arrives still counts; what is passed on is what came."""
    callee = world.callee("a", silent)
    tside = world.tside(rules={KEY: {"timeout_ms": 5000}}, default=[callee], listeners=({"deadline": {"rewrite": False}},))
    reply, ms = timed(world.link(tside), "Visit", extra={REMAIN: "90"})
    assert reply.reason == "timeout" and 88 <= ms < 2000 * PATIENCE
    assert callee.requests[0].extra[REMAIN] == "90"


def test_rewriting_off_adds_nothing(world):
    request = only_request(world, wire.call("Visit"), deadline={"rewrite": False})
    assert REMAIN not in request.extra


def test_the_entry_has_the_configured_name(world):
    callee = world.callee("a", silent)
    tside = world.tside(rules={KEY: {"timeout_ms": 3000}}, default=[callee], listeners=({"deadline": {"entry": "left_ms"}},))
    reply, ms = timed(world.link(tside), "Visit", extra={"left_ms": "80", REMAIN: "1"})
    assert reply.reason == "timeout" and 78 <= ms
    assert 0 < int(callee.requests[0].extra["left_ms"]) <= 80
    assert callee.requests[0].extra[REMAIN] == "1"


# ---- clock: shared ------------------------------------------------------------------------------------

SHARED = ({"deadline": {"clock": "shared"}}, {})


def test_shared_clock_counts_the_time_since_the_stamp(world):
    callee = world.callee("a", silent)
    tside = world.tside(rules={KEY: {"timeout_ms": 9000}}, default=[callee], listeners=SHARED)
    reply, ms = timed(world.link(tside), "Visit", extra={REMAIN: "1000", STAMP: str(now_ms() - 850)})
    assert reply.reason == "timeout" and ms < 700 * PATIENCE
    assert 0 < int(callee.requests[0].extra[REMAIN]) <= 150
    # A listener with its own clock reads no stamps.
    reply, ms = timed(world.link(tside, 1), "Visit", extra={REMAIN: "300", STAMP: str(now_ms() - 10_000)})
    assert reply.reason == "timeout" and ms >= 298


def test_shared_clock_writes_the_stamp_beside_the_entry(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=SHARED)
    before = now_ms()
    assert world.link(tside).call("Visit").server == "a"
    assert world.link(tside).call("Visit", extra={REMAIN: "500", STAMP: str(before)}).server == "a"
    for request in callee.requests:
        assert before - 2 <= int(request.extra[STAMP]) <= now_ms() + 2
        assert int(request.extra[REMAIN]) > 0
    assert world.link(tside, 1).call("Visit").server == "a"
    assert STAMP not in callee.requests[2].extra


@pytest.mark.parametrize("stamp", [lambda: str(now_ms() + 60_000), lambda: "yesterday", lambda: "-5", lambda: ""])
def test_shared_clock_takes_nothing_off_for_a_stamp_of_the_future_or_none(world, stamp):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=SHARED)
    assert world.link(tside).call("Visit", extra={REMAIN: "900", STAMP: stamp()}).server == "a"
    assert 900 - 500 * PATIENCE < int(callee.requests[0].extra[REMAIN]) <= 900


def test_shared_clock_alone_refuses_at_most_a_fifth(world):
    """Clocks that do not agree cost at most 20 % of the calls; what is spent by itself is refused always."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=SHARED, workers=1)
    link = world.link(tside)
    old = str(now_ms() - 3_600_000)
    replies = [link.call("Visit", extra={REMAIN: "500", STAMP: old}) for _ in range(200)]
    refused = sum(reply.reason == "timeout" for reply in replies)
    assert 1 <= refused <= 45, refused
    assert all(reply.server == "a" for reply in replies if reply.reason != "timeout")
    assert [link.call("Visit", extra={REMAIN: "0"}).reason for _ in range(20)] == ["timeout"] * 20


def test_a_chain_of_two_hops_keeps_the_first_deadline(world):
    """The second hop's tside takes the first one's word for what is left."""
    last = world.callee("last", silent)
    inner = world.tside(rules={"*/*/last.service/*/*/config": {"timeout_ms": 9000}},
                        services={f"last.service/default/{last.address}": {}})

    def middle(link):
        while True:
            body = link.frame()
            if body is None:
                return
            request = wire.read_message(body)
            onward = inner.link(timeout=10)
            reply = onward.call("Visit", to="last.service", extra={REMAIN: request.extra[REMAIN]})
            onward.close()
            link.send(wire.reply(request, wire.response("middle", reply.reason or "")))

    outer = world.tside(rules={KEY: {"timeout_ms": 250}}, default=[world.callee("middle", middle)])
    reply, ms = timed(world.link(outer), "Visit")
    assert ms < 250 + 300 * PATIENCE
    assert reply.reason == "timeout" or reply.args.get(0, 2) == b"timeout"
    assert 0 < int(last.requests[0].extra[REMAIN]) <= 250


# ---- a loop that stood still ---------------------------------------------------------------------


def test_what_came_while_the_process_stood_still_is_read_first(world):
    """Stopped for longer than every timer: no connection is closed for silence with a call unread behind it."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"timeout_ms": 20000}}, default=[callee],
                        timeouts={"idle_ms": 700, "frame_timeout_ms": 700})
    idle, begun = world.spread(tside, 12), world.spread(tside, 12)
    whole = wire.call("Visit")
    for link in idle:
        assert link.call("Visit").server == "a"
    for link in begun:
        link.send(whole[:20])
    wait_until(lambda: tside.metric("tside_buffered_bytes") > 0)
    tside.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    for link in idle:
        link.send(whole)
    for link in begun:
        link.send(whole[20:])
    wait_until(lambda: time.monotonic() - stopped > 2, 10)
    tside.signal(signal.SIGCONT)
    assert [link.message().server for link in idle + begun] == ["a"] * 24
    for link in idle + begun:
        assert link.ended(10)  # silent at last


def test_a_deadline_stays_one_while_the_process_stands_still(world):
    """The reply waits in the socket when the process goes on, long after the deadline."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"timeout_ms": 500}}, default=[callee])
    links = world.spread(tside, 6)
    callee.gate.clear()
    for link in links:
        link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 6)
    tside.signal(signal.SIGSTOP)
    stopped = time.monotonic()
    callee.gate.set()
    wait_until(lambda: time.monotonic() - stopped > 1, 10)
    tside.signal(signal.SIGCONT)
    assert [link.message().reason for link in links] == ["timeout"] * 6
