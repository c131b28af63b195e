"""Every field of `config`: changing that one field changes what happens to a call.

discovery/rules/rule.def names the test of each built row; what it marks NOT_YET is refused whatever the
value, the last good value staying in force. test_reasons.py checks that no named test is missing.
"""

import json
import threading
import time

import pytest

from support import deftable, wire
from support.etcd import RULES, SERVICES, free_port
from support.raw import StuckListener, answer, answer_with, silent
from support.tside import SERVICE, Tside, endpoints
from support.wait import PATIENCE, stays, wait_until

KEY = f"*/*/{SERVICE}/*/*/config"


def nested(path: str, value: object) -> dict:
    for part in reversed(path.split(".")):
        value = {part: value}
    return value


def fates(world, path: str, values: list, scene: dict, fate, **around) -> list:
    """What fate(tside) says under each value of this one field, all else the same."""
    told = []
    tside = world.tside(rules={KEY: {}}, **scene)
    for value in values:
        config = nested(path, value)
        for other, fixed in around.items():
            part = nested(other.replace("__", "."), fixed)
            for key, inner in part.items():
                both = isinstance(inner, dict) and key in config
                config[key] = {**config[key], **inner} if both else inner
        tside.change({KEY: config})
        assert tside.errors() == []
        told.append(fate(tside))
    return told


def one_call(world, **kwargs):
    return lambda tside: (lambda reply: reply.server or reply.reason)(world.link(tside, timeout=10).call("Visit", **kwargs))


def some_calls(world, n: int):
    """What n calls over one connection get: one worker's, whose round_robin takes each endpoint in turn."""

    def fate(tside):
        link = world.link(tside, timeout=10)
        return {reply.server or reply.reason for reply in (link.call("Visit") for _ in range(n))}

    return fate


def slow_callee(world, seconds: float):
    """Answers each call after that long; the gate keeps it interruptible."""

    def script(link):
        while True:
            body = link.frame()
            if body is None:
                return
            link.gone.wait(seconds)
            link.send(wire.reply(wire.read_message(body), wire.response("slow")))

    return world.callee("slow", script)


def held_call(world, tside: Tside, callee):
    """A call that is at the callee, behind its closed gate."""
    callee.gate.clear()
    before = callee.count
    link = world.link(tside, timeout=10)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == before + 1)
    return link


def released(callee, link) -> str:
    callee.gate.set()
    reply = link.message()
    return reply.server or reply.reason


def test_timeout_ms(world):
    scene = {"default": [slow_callee(world, 0.25)]}
    assert fates(world, "timeout_ms", [50, 5000], scene, one_call(world)) == ["timeout", "slow"]


def test_connect_timeout_ms(world):
    stuck = StuckListener()
    try:
        assert fates(world, "connect_timeout_ms", [30, 20000], {"default": [stuck.address]}, one_call(world),
                     timeout_ms=300) == ["connect_timeout", "timeout"]
    finally:
        stuck.stop()


def test_send_timeout_ms(world):
    callee = world.callee("deaf", lambda link: link.gone.wait(60))  # accepts, never reads
    told = fates(world, "send_timeout_ms", [80, 20000], {"default": [callee]},
                 one_call(world, blob=b"x" * 12_000_000), timeout_ms=700, connect_timeout_ms=500)
    for link in callee.links:
        link.gone.set()
    assert told == ["send_timeout", "timeout"]


def test_receive_timeout_ms(world):
    scene = {"default": [slow_callee(world, 0.25)]}
    told = fates(world, "receive_timeout_ms", [50, 0], scene, one_call(world), timeout_ms=5000)
    assert told == ["timeout", "slow"]


# ---- retry and hedge -----------------------------------------------------------------------------

def resetting(world, name: str = "r"):
    """Reads a call, then resets the connection: the call may have been run."""

    def script(link):
        if link.frame() is not None:
            link.reset()

    return world.callee(name, script)


def met(callees: list, fate):
    """How many calls these callees got from one that fate() makes."""

    def fated(tside):
        before = sum(callee.count for callee in callees)
        fate(tside)
        return sum(callee.count for callee in callees) - before

    return fated


def test_retry_attempts(world):
    """Half of the first tries meet an endpoint that refuses connections."""
    scene = {"default": [f"127.0.0.1:{free_port()}", world.callee("a")]}
    assert fates(world, "retry.attempts", [0, 1], scene, some_calls(world, 10), lb="round_robin") == [{"a", "connect_failed"}, {"a"}]


def test_retry_on(world):
    callees = [resetting(world) for _ in range(3)]
    fate = met(callees, one_call(world))
    told = fates(world, "retry.on", [["connect"], ["connect", "reset"]], {"default": callees}, fate,
                 retry__idempotent=True, retry__attempts=2)
    assert told == [1, 3]
    assert world.sidecars[-1].metric("tside_retries_total") == 2


def test_retry_on_exception(world):
    throwing = world.callee("t", answer_with(lambda r: wire.reply(r, wire.application_exception("theirs", 42), wire.EXCEPTION)))
    scene = {"default": [throwing, world.callee("a")]}
    told = fates(world, "retry.on", [["reset"], ["exception"]], scene, some_calls(world, 10), lb="round_robin", retry__idempotent=True)
    assert told == [{None, "a"}, {"a"}]


def test_retry_on_timeout(world):
    quiet = world.callee("q", silent)
    scene = {"default": [quiet, world.callee("a")]}
    told = fates(world, "retry.on", [["reset"], ["timeout"]], scene, some_calls(world, 4), lb="round_robin", retry__idempotent=True,
                 receive_timeout_ms=100, timeout_ms=20000)
    assert told == [{"timeout", "a"}, {"a"}]


def test_retry_idempotent(world):
    """What may have reached a callee is sent again only where the rule says that this does no harm."""
    callees = [resetting(world) for _ in range(2)]
    fate = met(callees, one_call(world))
    assert fates(world, "retry.idempotent", [False, True], {"default": callees}, fate) == [1, 2]


def test_retry_backoff_ms(world):
    """A pause that the deadline does not leave room for: the failure is said at once."""
    callees = [resetting(world) for _ in range(2)]
    fate = met(callees, one_call(world))
    told = fates(world, "retry.backoff_ms", [0, 50, 20000], {"default": callees}, fate, retry__idempotent=True,
                 timeout_ms=5000)
    assert told == [2, 2, 1]


def test_retry_budget_percent(world):
    """200 successes, then 80 failures: with a budget of all successes each of them is tried again."""
    bad, good = [resetting(world) for _ in range(2)], world.callee("a")

    told = []
    for percent in (0, 100):
        tside = world.tside(rules={KEY: {"retry": {"idempotent": True, "budget_percent": percent}}},
                            default=[good], canary=bad)
        link = world.link(tside)
        tside.change({f"*/*/{SERVICE}/*/*/traffic": {"default": 1}})
        for _ in range(200):
            assert link.call("Visit").server == "a"
        tside.change({f"*/*/{SERVICE}/*/*/traffic": {"canary": 1}})
        for _ in range(80):
            assert link.call("Visit").reason == "upstream_reset"
        told.append(tside.metric("tside_retry_budget_empty_total") > 0)
    assert told == [True, False]


def test_hedge_after_ms(world):
    """One of two callees never answers: with a hedge nobody waits for it."""
    scene = {"default": [world.callee("q", silent), world.callee("a")]}
    told = fates(world, "hedge_after_ms", [20, 0, "p99"], scene, some_calls(world, 4), lb="round_robin", retry__idempotent=True,
                 timeout_ms=800)
    assert told == [{"a"}, {"timeout", "a"}, {"timeout", "a"}]  # p99: none before 100 calls
    tside = world.sidecars[-1]
    assert tside.metric("tside_hedges_total") == tside.metric("tside_hedges_won_total") == 2


def test_hedges_wait_for_idempotent(world):
    tside = world.tside(default=[world.callee("q", silent), world.callee("a")],
                        rules={KEY: {"hedge_after_ms": 20, "retry": {"on": ["timeout"]}, "timeout_ms": 300, "lb": "round_robin"}})
    assert some_calls(world, 4)(tside) == {"timeout", "a"}
    assert tside.metric("tside_hedges_total") == 0
    shown = tside.explain(f"app.feed/default/{SERVICE}/default/Visit")["effective"]
    for field in ("hedge_after_ms", "retry.on"):
        assert "retry.idempotent is false" in shown[field]["note"]


def test_retries_do_not_multiply_along_a_chain(world):
    """The second attempt is marked; a call that comes so marked is tried once, unless the listener lifts that."""
    rules = {KEY: {"retry": {"idempotent": True}}}
    for listener, counts in (({}, [2, 1]), ({"deadline": {"chain_stop": False}}, [2, 2])):
        callees = [resetting(world) for _ in range(2)]
        tside = world.tside(rules=rules, default=callees, listeners=(listener,))
        for extra, count in zip(({}, {"RPC_PERSIST_RetryReq": "x"}), counts):
            bodies = [len(callee.bodies) for callee in callees]
            assert world.link(tside).call("Visit", extra=extra).reason == "upstream_reset"
            sent = [body for callee, seen in zip(callees, bodies) for body in callee.bodies[seen:]]
            assert len(sent) == count
            marks = sorted(wire.read_message(body).extra.get("RPC_PERSIST_RetryReq", "") for body in sent)
            assert marks == (["", "1"] if not extra and not listener else [""] * 2 if not extra else ["x"] * count)


def test_lb_least_request(world):
    """One of two callees holds a call: least_request passes it by, random does not."""
    callees = [world.callee(name) for name in ("a", "b")]

    def passed_by(tside):
        def begin():
            before = sum(callee.count for callee in callees)
            link = world.link(tside, timeout=10)
            link.send(wire.call("Visit"))
            wait_until(lambda: sum(callee.count for callee in callees) == before + 1)
            return link

        before = callees[0].count
        for callee in callees:
            callee.gate.clear()
        held = begin()
        busy, idle = callees if callees[0].count > before else reversed(callees)
        idle.gate.set()
        holds = busy.count
        for _ in range(20):
            link = begin()
            if busy.count > holds:
                break
            assert link.message().server == idle.name
        passed = busy.count == holds
        busy.gate.set()
        assert held.message().server == busy.name
        return passed

    assert fates(world, "lb", ["least_request", "random"], {"default": callees}, passed_by) == [True, False]


def servers(world, tside: Tside, **given) -> list[str]:
    """Who answers twenty equal calls."""
    link = world.link(tside)
    return [link.call("Visit", **given).server for _ in range(20)]


def test_lb_hash(world):
    """One LogID goes to one callee, from every host; p2c draws."""
    scene = {"default": [world.callee(name) for name in ("a", "b", "c")]}

    def stays_at_one(tside):
        return all(len(set(servers(world, tside, log_id=f"log-{i}"))) == 1 for i in range(5))

    assert fates(world, "lb", ["hash", "p2c"], scene, stays_at_one) == [True, False]
    hosts = [world.tside(rules={KEY: {"lb": "hash"}}, **scene) for _ in range(2)]
    first, second = ([link.call("Visit", log_id=f"log-{i}").server for i in range(60)]
                     for link in (world.link(host) for host in hosts))
    assert first == second and set(first) == {"a", "b", "c"}


def test_slow_start_ms(world):
    """Who comes to another has a tenth of its weight at first."""
    old, new = world.callee("a"), world.callee("b")
    tside = world.tside(rules={KEY: {"slow_start_ms": 3600000, "lb": "random"}}, default=[old])
    tside.change(services={f"{SERVICE}/default/{new.address}": {}})
    slow = sum(servers(world, tside).count("b") for _ in range(15))
    tside.change({KEY: {"slow_start_ms": 0, "lb": "random"}})
    quick = sum(servers(world, tside).count("b") for _ in range(15))
    assert 3 < slow < 70 and 100 < quick < 200


def test_prefer_zone(world):
    """Calls stay in this host's zone while it has an endpoint with weight."""
    near, far = world.callee("near"), world.callee("far")
    places = {f"{SERVICE}/default/{near.address}": {"zone": "lf"}, f"{SERVICE}/default/{far.address}": {"zone": "hl"}}
    tside = world.tside(rules={KEY: {"prefer_zone": True, "lb": "random"}}, services=places, node={"zone": "lf"})
    assert set(servers(world, tside) + servers(world, tside)) == {"near"}
    tside.change(services={f"{SERVICE}/default/{near.address}": {"zone": "lf", "weight": 0}})
    assert set(servers(world, tside)) == {"far"}
    tside.change({KEY: {"prefer_zone": False, "lb": "random"}}, services=places)
    assert set(servers(world, tside) + servers(world, tside)) == {"near", "far"}


def test_hash_by(world):
    """The key is what the field names: a user's calls stay together whatever their LogIDs."""
    scene = {"default": [world.callee(name) for name in ("a", "b", "c")]}

    def user_stays(tside):
        link = world.link(tside)
        return len({link.call("Visit", log_id=f"log-{i}", extra={"user": "u1"}).server for i in range(40)}) == 1

    assert fates(world, "hash_by", ["extra:user", "log_id"], scene, user_stays, lb="hash") == [True, False]


def test_lb(world):
    """round_robin goes round; p2c draws."""
    scene = {"default": [world.callee(name) for name in ("a", "b", "c")]}

    def goes_round(tside):
        link = world.link(tside)
        order = [link.call("Visit").server for _ in range(60)]
        return all(order[i] == order[i - 3] for i in range(3, 60)) and set(order) == {"a", "b", "c"}

    assert fates(world, "lb", ["round_robin", "p2c"], scene, goes_round) == [True, False]


def connections_used(world, callee, calls: int):
    """How many connections the callee sees for so many calls, one behind the other."""

    def fate(tside):
        link, before = world.link(tside), len(callee.links)
        for _ in range(calls):
            assert link.call("Visit").server == "a"
        return len(callee.links) - before

    return fate


def test_pool_mode(world):
    """In `pool` each call has a connection; in `mux` and `pipeline` calls share one; `short` is a connection a call.
    Another mode is refused, and what was in force stays."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"access": "deny"}}, default=[callee])
    link = world.link(tside)
    tside.change({KEY: {"pool": {"mode": "shared"}, "access": "allow"}})
    [error] = tside.errors()
    assert error["field"] == "pool.mode"
    assert link.call("Visit").reason == "denied"
    tside.change({KEY: {"pool": {"mode": "pool"}, "access": "allow"}})
    assert tside.errors() == []
    first = held_call(world, tside, callee)
    second = held_call(world, tside, callee)
    assert callee.open_links == 2  # one call in flight a connection
    assert [released(callee, first), released(callee, second)] == ["a", "a"]
    tside.change({KEY: {"pool": {"mode": "short"}}})
    assert connections_used(world, callee, 5)(tside) == 5
    wait_until(lambda: callee.open_links == 2)  # those that were idle before
    for mode in ("mux", "pipeline"):
        tside.change({KEY: {"pool": {"mode": mode}}})
        links = len(callee.links)
        callee.gate.clear()
        link.send(wire.call("Visit") + wire.call("Visit"))
        wait_until(lambda: len(callee.links) == links + 1)
        callee.gate.set()
        assert [link.message().server for _ in range(2)] == ["a", "a"]
        assert len(callee.links) == links + 1  # both on one


def test_pool_framing(world):
    """A callee that speaks unframed: the rule that says so is the one that works."""
    def script(link) -> None:
        try:
            answer(link)
        except AssertionError:
            pass  # a frame is no message: it hangs up

    callee = world.callee("a", script, framing="unframed")
    told = fates(world, "pool.framing", ["unframed", "framed", "unframed"], {"default": [callee]},
                 lambda tside: world.link(tside).call("Visit").server, timeout_ms=300)
    assert told == ["a", None, "a"]


def test_pool_max_calls(world):
    callee = world.callee("a")
    told = fates(world, "pool.max_calls", [2, 3, 1], {"default": [callee]}, connections_used(world, callee, 12))
    assert told == [6, 4, 12]


def test_pool_max_age_ms(world):
    callee = world.callee("a")

    def outlives(tside):
        assert world.link(tside).call("Visit").server == "a"
        link = callee.links[-1]
        return "closed" if link.gone.wait(0.6) else "kept"

    told = fates(world, "pool.max_age_ms", [100, 60000], {"default": [callee]}, outlives, pool__idle_ms=60000)
    assert told == ["closed", "kept"]


def test_pool_max_idle(world):
    """Two connections in use at once; what is kept of them afterwards."""
    callee = world.callee("a")

    def kept(tside):
        links = [held_call(world, tside, callee) for _ in range(2)]
        assert [released(callee, link) for link in links] == ["a", "a"]
        wait_until(lambda: tside.metric("tside_calls_inflight") == 0)
        return links

    tside = world.tside(rules={KEY: {"pool": {"max_idle": 0}}}, default=[callee])
    kept(tside)
    wait_until(lambda: callee.open_links == 0)
    tside.change({KEY: {"pool": {"max_idle": 2}}})
    kept(tside)
    stays(lambda: callee.open_links == 2, 0.2)


def test_pool_idle_ms(world):
    callee = world.callee("a")

    def idle(tside):
        assert world.link(tside).call("Visit").server == "a"
        link = callee.links[-1]
        return "closed" if link.gone.wait(0.6) else "kept"

    assert fates(world, "pool.idle_ms", [100, 60000], {"default": [callee]}, idle) == ["closed", "kept"]


def second_call(world, callee, wait: float = 0.0):
    """What a second call gets while the only callee holds the first one."""

    def fate(tside):
        first = held_call(world, tside, callee)
        second = world.link(tside, timeout=10)
        begun = time.monotonic()
        second.send(wire.call("Visit"))
        try:
            early = second.message(0.5)
            result = early.reason
            assert time.monotonic() - begun >= wait
        except TimeoutError:
            result = "waits"
        assert released(callee, first) == "a"
        if result == "waits":
            result = second.message().server
        return result

    return fate


def test_pool_max_connections(world):
    callee = world.callee("a")
    told = fates(world, "pool.max_connections", [1, 2], {"default": [callee]}, second_call(world, callee),
                 timeout_ms=9000, pool__wait_ms=50)
    assert told == ["pool_exhausted", "a"]


def test_pool_wait_ms(world):
    callee = world.callee("a")
    told = fates(world, "pool.wait_ms", [50, 8000], {"default": [callee]}, second_call(world, callee, 0.045),
                 timeout_ms=9000, pool__max_connections=1)
    assert told == ["pool_exhausted", "a"]


def test_pool_max_waiting(world):
    callee = world.callee("a")
    told = fates(world, "pool.max_waiting", [0, 1], {"default": [callee]}, second_call(world, callee),
                 timeout_ms=9000, pool__max_connections=1, pool__wait_ms=8000)
    assert told == ["pool_exhausted", "a"]


def test_max_concurrency(world):
    """One count for all workers: the callee never has one too many, and what comes back is used again."""
    callee = world.callee("a")

    def let_through(tside):
        callee.gate.clear()
        before = callee.count
        links = world.spread(tside, 12)
        for link in links:
            link.send(wire.call("Visit"))
        refused = tside.calls(reason="concurrency_limit")
        limit = tside.explain(f"app.feed/default/{SERVICE}/default/Visit")["effective"]["max_concurrency"]["value"] or 12
        wait_until(lambda: callee.count == before + limit)
        shown = tside.explain(f"app.feed/default/{SERVICE}/default/Visit")["outcome"]["reason"]
        assert shown == ("concurrency_limit" if limit < 12 else "ok")
        callee.gate.set()
        told = [link.message(10) for link in links]
        for reply in told:
            assert reply.server == "a" or f"max_concurrency {limit} " in reply.exception[1]
        assert len([reply for reply in told if reply.server]) == limit == callee.count - before
        return [world.link(tside).call("Visit").server for _ in range(3)], limit

    told = fates(world, "max_concurrency", [1, 0, 5], {"default": [callee]}, let_through, timeout_ms=9000,
                 connect_timeout_ms=5000)
    assert told == [(["a"] * 3, limit) for limit in (1, 12, 5)]


def let_through(world, n: int):
    """How many of n calls at once, over all workers, are let through; the others are told why."""

    def fate(tside):
        links = world.spread(tside)
        for link in links:
            link.send(wire.call("Visit") * (n // len(links)))
        told = [link.message(10) for link in links for _ in range(n // len(links))]
        rate = tside.explain(f"app.feed/default/{SERVICE}/default/Visit")["effective"]["rate_per_s"]["value"]
        for reply in told:
            assert reply.server == "a" or reply.reason == "rate_limited" and f"rate_per_s {rate} " in reply.exception[1]
        return len([reply for reply in told if reply.server])

    return fate


def test_rate_per_s(world):
    """One bucket for all workers, full at first; what is missing is carried over to another rate."""
    tside = world.tside(rules={KEY: {"rate_per_s": 1, "burst": 20}}, default=[world.callee("a")])
    count = let_through(world, 160)
    begun = time.monotonic()
    first = count(tside)
    assert 20 <= first <= 21 + (time.monotonic() - begun)
    assert tside.explain(f"app.feed/default/{SERVICE}/default/Visit")["outcome"]["reason"] in ("rate_limited", "ok")
    tside.change({KEY: {"rate_per_s": 2, "burst": 20}})
    second = count(tside)
    assert first + second <= 21 + 2 * (time.monotonic() - begun)
    tside.change({KEY: {"rate_per_s": 0, "burst": 20}})
    assert count(tside) == 160
    wait_until(lambda: tside.calls(reason="rate_limited") == 320 - first - second)


def test_burst(world):
    """Without one the bucket holds a tenth of a second's calls."""
    told = [fates(world, "burst", [burst], {"default": [world.callee("a")]}, let_through(world, 80), rate_per_s=1)
            for burst in (1, 0, 40)]
    assert told[0][0] <= 3 and told[1][0] <= 3 and 40 <= told[2][0] <= 42


def test_rate_scope(world, etcd):
    """Of two hosts on one etcd: each has the whole rate, or half of it (test_fleet_rate.py has more)."""
    callee = world.callee("a")
    for key, value in endpoints(SERVICE, default=[callee]).items():
        etcd.put(f"{SERVICES}/{key}", value)
    hosts = [world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None) for _ in range(2)]
    links = [world.link(tside) for tside in hosts]

    def shares() -> list:
        for link in links:
            link.call("Visit")
        return [next((route.get("rate_share_per_s") for route in tside.json("/api/v1/routes")["items"]
                      if route["method"] == "Visit"), None) for tside in hosts]

    for scope in ("host", "fleet", "host"):
        etcd.put(f"{RULES}/{KEY}", {"rate_per_s": 80, "rate_scope": scope})
        if scope == "host":
            wait_until(lambda: shares() == [None, None], 10)
        else:
            wait_until(lambda: all(share and abs(share - 40) < 5 for share in shares()), 30, "half for each")


def share_of_bad(world, *good: str):
    """Endpoints and the share of the calls that the failing one among them gets.

    Each takes 3 ms, so that nothing else makes one look slower than the other.
    """
    def taking_3_ms(result):
        def slowly(request):
            threading.Event().wait(0.003)
            return result(request)

        return answer_with(slowly)

    fine = taking_3_ms(lambda r: wire.reply(r, wire.response("fine")))
    failing = taking_3_ms(lambda r: wire.reply(r, wire.application_exception("no"), wire.EXCEPTION))

    def share(tside):
        link = world.link(tside)
        told = [link.call("Visit").is_exception for _ in range(250)]
        return sum(told[50:]) / 200

    return {"default": [*(world.callee(name, fine) for name in good), world.callee("bad", failing)]}, share


def test_failures_exceptions(world):
    """What fails counts against its endpoint in p2c: fast failures do not draw the calls."""
    scene, share = share_of_bad(world, "one", "two")
    not_counted, counted = fates(world, "failures.exceptions", [False, True], scene, share)
    assert counted < 0.08 < 0.15 < not_counted, (counted, not_counted)


def test_failures_exceptions_of_two_endpoints(world):
    """The smallest cluster that has a choice, and the most common one."""
    scene, share = share_of_bad(world, "one")
    not_counted, counted = fates(world, "failures.exceptions", [False, True], scene, share)
    assert counted < 0.08 < 0.15 < not_counted, (counted, not_counted)


def test_failures_base_resp(world):
    """Codes in the list make app_failure, others ok; the built-in list is [[500, 599]]."""
    def result(request):
        return wire.reply(request, wire.response("a", code=request.args.get(1, 2)))

    def reasons(tside):
        link, before = world.link(tside), tside.calls(reason="app_failure")
        for number in (0, 499, 500, 599, 600, 1003, -5):
            assert link.call("Code", number=number).args.get(0, 255, 2) == number
        total = tside.calls()
        wait_until(lambda: tside.calls() >= total)
        wait_until(lambda: tside.metric("tside_calls_inflight") == 0)
        return tside.calls(reason="app_failure") - before

    scene = {"default": [world.callee("a", answer_with(result))]}
    told = fates(world, "failures.base_resp", [[], [[500, 599]], [[1003, 1003], [-9, -1]], [[-2 ** 31, 2 ** 31 - 1]]],
                 scene, reasons)
    assert told == [0, 2, 2, 7]
    tside = world.sidecars[0]
    tside.change({KEY: {}})
    assert reasons(tside) == 2


def test_access(world):
    scene = {"default": [world.callee("a")]}
    assert fates(world, "access", ["deny", "allow"], scene, one_call(world)) == ["denied", "a"]


def test_shadow_access(world):
    """A deny that is tried before it bites: the calls go on, are counted per callee, and the log says so."""
    scene = {"default": [world.callee("a")]}
    counted = []

    def fate(tside):
        told = one_call(world)(tside)
        tside.wait_calls(len(counted) + 1)
        counted.append(int(tside.metric("tside_shadow_total", to=SERVICE, to_cluster="default", stage="access")))
        wait_until(lambda: len(tside.events("call")) == len(counted))
        return told, tside.events("call")[-1]["shadow"]

    assert fates(world, "shadow.access", [True, False], scene, fate, access="deny", access_log=1) == [
        ("a", ["access"]), ("denied", [])]
    assert counted == [1, 1]


def test_subset(world):
    """So many of six endpoints, the same ones for all workers of the host."""
    callees = [world.callee(f"c{n}") for n in range(6)]

    def fate(tside):
        return {link.call("Visit").server for link in world.spread(tside, 8) for _ in range(25)}

    told = fates(world, "subset", [2, 0, 2], {"default": callees}, fate, lb="random")
    assert [len(names) for names in told] == [2, 6, 2] and told[0] == told[2]


def test_shadow_rate(world):
    """Most of twenty calls at once are over the limit: in shadow they get through all the same."""
    told = fates(world, "shadow.rate", [True, False], {"default": [world.callee("a")]}, some_calls(world, 20),
                 rate_per_s=1, burst=1, access_log=1)
    assert told[0] == {"a"} and "rate_limited" in told[1]
    [tside] = world.sidecars
    tside.wait_calls(40)
    wait_until(lambda: len(tside.events("call")) == 40)
    shadowed = [line["shadow"] for line in tside.events("call")]
    assert shadowed[0] == [] and shadowed.count(["rate"]) >= 10
    assert tside.metric("tside_shadow_total", to=SERVICE, to_cluster="default", stage="rate") == shadowed.count(["rate"])


def test_shadow_concurrency(world):
    """A second call while the only one that is allowed is under way; the permit stays that one's."""
    callee = world.callee("a")

    def fate(tside):
        callee.gate.set()
        assert one_call(world)(tside) == "a"
        first = held_call(world, tside, callee)
        before = callee.count
        second = world.link(tside, timeout=10)
        second.send(wire.call("Visit"))
        wait_until(lambda: callee.count > before or tside.calls(reason="concurrency_limit") > 0)
        told = released(callee, second)
        assert released(callee, first) == "a"
        return told

    told = fates(world, "shadow.concurrency", [True, False], {"default": [callee]}, fate, max_concurrency=1)
    assert told == ["a", "concurrency_limit"]
    assert world.sidecars[-1].metric("tside_shadow_total", to=SERVICE, to_cluster="default", stage="concurrency") == 1


# ---- the breaker -----------------------------------------------------------------------------------


def moody(world, name: str = "a"):
    """Answers, or throws where the caller asks for it."""
    return world.callee(name, answer_with(
        lambda request: wire.reply(request, wire.application_exception("theirs"), wire.EXCEPTION)
        if "fail" in request.extra else wire.reply(request, wire.response(name))))


def reached(world, callee, calls: list[bool]):
    """How many of these calls reach the callee, each of which succeeds or fails there; of a tuple of their own."""

    def fate(tside):
        before, method = callee.count, f"Visit{callee.count}"
        link = world.link(tside, timeout=10)
        for succeeds in calls:
            link.call(method, extra={} if succeeds else {"fail": "1"})
        return callee.count - before

    return fate


def breaker_fates(world, field: str, values: list, calls: list[bool], **around) -> list:
    callee = moody(world)
    return fates(world, f"breaker.{field}", values, {"default": [callee]}, reached(world, callee, calls),
                 **{f"breaker__{name}": value for name, value in around.items()})


def test_breaker_enable(world):
    assert breaker_fates(world, "enable", [True, False], [False] * 10, consecutive=3) == [3, 10]


def test_breaker_error_rate(world):
    assert breaker_fates(world, "error_rate", [0.5, 1], [True, False] * 10, min_calls=10) == [10, 20]


def test_breaker_min_calls(world):
    assert breaker_fates(world, "min_calls", [5, 100], [False] * 10) == [5, 10]


def test_breaker_consecutive(world):
    assert breaker_fates(world, "consecutive", [3, 0], [False] * 10) == [3, 10]


def test_breaker_cooling_ms(world):
    """It opens, and lets nobody in again; or is so soon over it that the calls behind it close it."""
    calls = [False] * 2 + [True] * 100
    told = breaker_fates(world, "cooling_ms", [3600000, 1], calls, consecutive=2, probe_ms=0)
    assert told[0] == 2 and told[1] > 10


def test_breaker_probe_ms(world):
    """Two probes are to succeed: one is let in, or both are, and then everybody."""
    calls = [False] * 2 + [True] * 100
    told = breaker_fates(world, "probe_ms", [3600000, 0], calls, consecutive=2, cooling_ms=1)
    assert told[0] == 3 and told[1] > 10


def test_breaker_successes(world):
    calls = [False] * 2 + [True] * 100
    told = breaker_fates(world, "successes", [100, 1], calls, consecutive=2, cooling_ms=1, probe_ms=3600000)
    assert told[0] == 3 and told[1] > 10


def test_shadow_breaker(world):
    """It opens and refuses nothing: what it would have refused is counted, and the log says so."""
    callee = moody(world)
    told = fates(world, "shadow.breaker", [True, False], {"default": [callee]}, reached(world, callee, [False] * 5),
                 breaker__consecutive=3, access_log=1)
    assert told == [5, 3]
    [tside] = world.sidecars
    tside.wait_calls(2, reason="breaker_open")
    assert tside.metric("tside_shadow_total", to=SERVICE, to_cluster="default", stage="breaker") == 2
    wait_until(lambda: len(tside.events("call")) == 10)
    shadowed = [line["shadow"] for line in tside.events("call")]
    assert shadowed == [[]] * 3 + [["breaker"]] * 2 + [[]] * 5


def test_breakers_are_shown(world):
    """Open behind its errors, half open between two probes, and closed with an empty window."""
    callee = moody(world)
    tside = world.tside(rules={KEY: {"breaker": {"min_calls": 4, "cooling_ms": 1, "probe_ms": 3600000}}},
                        default=[callee])
    link = world.link(tside)

    def shown():
        items = tside.json("/api/v1/breakers")["items"]
        return next(item for item in items if item["name"] == f"app.feed/default/{SERVICE}/default/Visit")

    def call(**extra):
        return link.call("Visit", extra=extra)

    call()
    assert shown() == {"name": f"app.feed/default/{SERVICE}/default/Visit", "state": "closed", "concurrency": 0,
                       "successes_10s": 1, "failures_10s": 0, "timeouts_10s": 0, "consecutive_errors": 0, "error_rate": 0}
    for _ in range(3):
        call(fail="1")
    told = shown()
    assert (told["state"], told["failures_10s"], told["consecutive_errors"], told["error_rate"]) == ("open", 3, 3, 0.75)
    assert tside.explain(f"app.feed/default/{SERVICE}/default/Visit")["outcome"]["reason"] in ("breaker_open", "ok")
    wait_until(lambda: call().server == "a")
    assert shown()["state"] == "half_open"
    outcome = tside.explain(f"app.feed/default/{SERVICE}/default/Visit")["outcome"]
    assert (outcome["action"], outcome["reason"]) == ("fail", "breaker_open")
    tside.change({KEY: {"breaker": {"enable": False}}})
    assert call().server == "a"


# ---- ejection ------------------------------------------------------------------------------------

HOUR_MS = 3600000


def failing_then_well(world, tside, failing: int) -> list[str]:
    """Who answers 60 calls behind some that fail at each callee that can."""
    link = world.link(tside, timeout=10)
    for _ in range(failing):
        link.call("Visit", extra={"fail": "1"})
    return [link.call("Visit").server for _ in range(60)]


def eject_fates(world, field: str, values: list, moody_callees: int, failing: int, told, **around) -> list:
    """One callee is well; by what is told of the answers behind so many calls that fail at the others."""
    callees = [moody(world, f"moody{i}") for i in range(moody_callees)] + [world.callee("well")]
    return fates(world, f"eject.{field}", values, {"default": callees},
                 lambda tside: told(failing_then_well(world, tside, failing)), lb="round_robin", breaker__enable=False,
                 **{f"eject__{name}": value for name, value in around.items()})


def test_eject_consecutive(world):
    """Of two callees one fails: it gets no calls any more; or half of them."""
    told = eject_fates(world, "consecutive", [3, 0], 1, 6, lambda servers: servers.count("moody0"),
                       base_ms=HOUR_MS, max_ms=HOUR_MS)
    assert told == [0, 30]


def test_eject_base_ms(world):
    told = eject_fates(world, "base_ms", [1, HOUR_MS], 1, 2, lambda servers: servers.count("moody0"),
                       consecutive=1, max_ms=HOUR_MS)
    assert told[0] > 10 and told[1] == 0


def test_eject_max_ms(world):
    told = eject_fates(world, "max_ms", [1, HOUR_MS], 1, 2, lambda servers: servers.count("moody0"),
                       consecutive=1, base_ms=HOUR_MS)
    assert told[0] > 10 and told[1] == 0


def test_eject_max_percent(world):
    """Three of four fail: so many of them get no calls."""
    told = eject_fates(world, "max_percent", [1, 50], 3, 8, lambda servers: len(set(servers)),
                       consecutive=1, base_ms=HOUR_MS, max_ms=HOUR_MS)
    assert told == [3, 2]


def test_most_are_ejected(world):
    """Under half of a cluster is well: all of it is used, and that is said."""
    callees = [moody(world, f"moody{i}") for i in range(3)] + [world.callee("well")]
    tside = world.tside(rules={KEY: {"lb": "round_robin", "breaker": {"enable": False}, "eject": {
        "consecutive": 1, "base_ms": HOUR_MS, "max_ms": HOUR_MS, "max_percent": 100}}}, default=callees)
    servers = failing_then_well(world, tside, 8)
    assert {name: servers.count(name) for name in servers} == {"moody0": 15, "moody1": 15, "moody2": 15, "well": 15}
    assert tside.metric("tside_fail_open_calls_total") >= 45 and tside.metric("tside_ejections_total") == 3
    assert "3 of 4 endpoints of its cluster are ejected" in tside.wait_event("fail_open")["msg"]
    assert len(tside.events("endpoint_ejected")) == 3


def test_oneway_config(world):
    """A T_CALL of an old client to a oneway method: it is not answered, and holds nothing."""
    callee = world.callee("a", silent)

    def answered(tside):
        link = world.link(tside)
        link.send(wire.call("Tell", seqid=1))
        try:
            return link.message(0.6).reason
        except TimeoutError:
            pass
        # Not on failure either: the next reply is the next call's.
        link.send(wire.call("Tell", to="unknown.service", seqid=2) + wire.call("Tell", to=None, seqid=3))
        return link.message().seqid

    tside = world.tside(rules={KEY: {"oneway": False, "timeout_ms": 100},
                               "*/*/unknown.service/*/*/config": {"oneway": True}}, default=[callee])
    assert answered(tside) == "timeout"
    tside.change({KEY: {"oneway": True, "timeout_ms": 100}})
    assert answered(tside) == 3
    wait_until(lambda: callee.count == 2)
    assert {request.type for request in callee.requests} == {wire.CALL}  # forwarded as it came
    tside.wait_calls(1, method="Tell", to=SERVICE, reason="ok")


def test_fallback_cluster(world):
    tside = world.tside(rules={KEY: {}, f"*/*/{SERVICE}/*/*/traffic": {"empty": 1}}, canary=[world.callee("c")],
                        default=[world.callee("d")])
    told = []
    for config in ({}, {"fallback_cluster": "canary"}, {"fallback_cluster": "default"}, {"fallback_cluster": "none"}):
        tside.change({KEY: config})
        told.append(one_call(world)(tside))
    assert told == ["no_endpoint", "c", "d", "no_endpoint"]


def test_access_log(world):
    """Share of successes that stand in the log; failures always do."""
    tside = world.tside(rules={KEY: {"access_log": 0}}, default=[world.callee("a")])
    link = world.link(tside)

    def logged(calls: int) -> int:
        """How many of these calls stand in the log; the failure behind them shows that it is complete."""
        before, marks = len(tside.events("call", reason="ok")), len(tside.events("call", reason="no_endpoint"))
        for _ in range(calls):
            assert link.call("Visit").server == "a"
        link.call("Visit", to="unknown.service")
        wait_until(lambda: len(tside.events("call", reason="no_endpoint")) == marks + 1)
        return len(tside.events("call", reason="ok")) - before

    assert logged(200) == 0
    tside.change({KEY: {"access_log": 0.5}})
    assert 90 <= logged(300) <= 210
    tside.change({KEY: {"access_log": 1}})
    assert logged(100) == 100


# ---- what is not there yet -----------------------------------------------------------------------

SAMPLES = {"INT": [1, 0], "BOOL": [True, False], "SHARE": [0.5],
           "OBJECT": [{}, {"enable": True}], "BY": ["log_id"]}
NOT_YET_FIELDS = [field for field in deftable.fields() if field.state == "NOT_YET"]


@pytest.mark.parametrize("field", NOT_YET_FIELDS, ids=lambda field: field.path)
def test_not_yet_fields_are_refused_whatever_their_value(world, field):
    """Nothing is parsed and ignored: the key is rejected, its last good value stays in force."""
    tside = world.tside(rules={KEY: {"access": "deny"}}, default=[world.callee("a")])
    for value in SAMPLES[field.type] + [None, "nonsense"]:
        tside.change({KEY: {"access": "allow", **nested(field.path, value)}})
        [error] = tside.errors()
        assert error["key"].endswith(KEY) and "not yet" in error["reason"], error
        # Where nothing of an object is there yet, the object is refused as one.
        assert field.path == error["field"] or field.path.startswith(error["field"] + ".")
        assert json.loads(json.dumps(error["in_force"])) in ({"access": "deny"}, '{"access": "deny"}')
        assert world.link(tside).call("Visit").reason == "denied"
    shown = tside.explain(f"app.feed/default/{SERVICE}/default/Visit")["effective"]
    mine = {path: told for path, told in shown.items() if path == field.path or path.startswith(field.path + ".")}
    assert mine and "not yet" in json.dumps(mine), mine
    tside.change({KEY: {"access": "allow"}})
    assert world.link(tside).call("Visit").server == "a"


BUILT = [field for field in deftable.fields() if field.state == "BUILT"]


@pytest.mark.parametrize("field", [f for f in BUILT if f.type in ("INT", "SHARE")], ids=lambda f: f.path)
def test_ranges_are_those_of_the_table(world, field):
    """Both ends are accepted, one beyond is refused with field, value and range."""
    number = int if field.type == "INT" else float
    low, high = number(field.min), number(field.max)
    tside = world.tside(rules={KEY: nested(field.path, low)}, default=[world.callee("a")])
    assert tside.errors() == []
    tside.change({KEY: nested(field.path, high)})
    assert tside.errors() == []
    for beyond in (low - 1, high + 1):
        tside.change({KEY: nested(field.path, beyond)})
        [error] = tside.errors()
        assert error["field"] == field.path
        for part in (beyond, low, high):
            assert f"{part:g}" in error["reason"] or str(part) in error["reason"], error


def test_timeouts_are_kept_on_the_wire(world):
    """The limits of the others hold within the call's: the callee is sent what is left."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"timeout_ms": 4321}}, default=[callee])
    world.link(tside).call("Visit")
    left = int(callee.requests[0].extra[wire.REMAIN])
    assert 4321 - 1000 * PATIENCE < left <= 4321
