"""Every reason: made by a real call, and seen in its message, in the metric and in the log."""

import re
import signal

import pytest

from support import deftable, wire
from support.process import REPO, Allocations
from support.raw import StuckListener, answer_with, closed_port, silent
from support.tside import SERVICE, Tside
from support.wait import wait_until

NAMES = ("app.feed", "default", SERVICE, "default", "Visit")
KEY = f"*/*/{SERVICE}/*/*/config"
LOG_FIELDS = ("ts", "log_id", "from", "from_cluster", "to", "to_cluster", "method", "reason", "upstream", "cluster",
              "attempts", "total_us", "upstream_us", "deadline_ms", "left_ms", "bytes_in", "bytes_out",
              "rule_traffic", "rule_config", "shadow")


def assert_message(reply: wire.Message, reason: str, names: tuple = NAMES, kind: int = 6) -> str:
    """The answer that tside makes itself, as specified; returns its text."""
    assert reply.type == wire.EXCEPTION, reply
    told, said = reply.exception
    assert told == kind
    assert said.startswith(f"[tside {reason}] "), said
    assert said.endswith(" tside explain " + "/".join(names)), said
    assert reply.name == names[4].encode()
    return said


def assert_counted(tside: Tside, reason: str, names: tuple = NAMES, count: int = 1) -> None:
    labels = dict(zip(("from", "from_cluster", "to", "to_cluster", "method"), names))
    tside.wait_calls(count, reason=reason, **{k: v for k, v in labels.items() if v != "-"})


def assert_logged(tside: Tside, reason: str, names: tuple = NAMES) -> dict:
    line = tside.wait_event("call", reason=reason)
    assert set(LOG_FIELDS) <= set(line), set(LOG_FIELDS) - set(line)
    assert tuple(line[k] or "-" for k in ("from", "from_cluster", "to", "to_cluster", "method")) == names
    assert line["log_id"] == "log-1"
    return line


def assert_seen(tside: Tside, reply: wire.Message, reason: str, names: tuple = NAMES) -> dict:
    assert_message(reply, reason, names)
    assert_counted(tside, reason, names)
    return assert_logged(tside, reason, names)


def scripted(world, script, rules=None, **kwargs) -> Tside:
    return world.tside(rules={KEY: {"access_log": 1, **(rules or {})}}, default=[world.callee("a", script)], **kwargs)


# ---- the callee's answers, passed on ---------------------------------------------------------------


def test_reason_ok(world):
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"access_log": 1, "timeout_ms": 5000}, f"*/*/{SERVICE}/*/*/traffic": {"default": 1}},
                        default=[callee])
    frame = wire.call("Visit")
    link = world.link(tside)
    link.send(frame)
    body = link.frame()
    assert wire.read_message(body).server == "a"
    assert_counted(tside, "ok")
    line = assert_logged(tside, "ok")
    assert line["upstream"] == callee.address and line["cluster"] == "default" and line["attempts"] == 1
    assert line["deadline_ms"] == 5000 and 0 < line["left_ms"] <= 5000
    assert 0 < line["upstream_us"] <= line["total_us"] < 5_000_000
    assert (line["bytes_in"], line["bytes_out"]) == (len(frame), len(body) + 4)
    assert line["rule_traffic"].endswith(f"*/*/{SERVICE}/*/*/traffic") and line["rule_config"].endswith(KEY)
    histogram = {"to": SERVICE, "to_cluster": "default"}
    assert tside.metric("tside_call_duration_seconds_count", **histogram) == 1
    assert tside.metric("tside_call_duration_seconds_bucket", le="+Inf", **histogram) == 1
    assert 0 < tside.metric("tside_call_duration_seconds_sum", **histogram) < 5


def test_reason_app_exception(world):
    tside = scripted(world, answer_with(lambda r: wire.reply(r, wire.application_exception("theirs", 42), wire.EXCEPTION)))
    assert world.link(tside).call("Visit").exception == (42, "theirs")
    assert_counted(tside, "app_exception")
    assert_logged(tside, "app_exception")


def test_reason_app_failure(world):
    tside = scripted(world, answer_with(lambda r: wire.reply(r, wire.response("a", code=503))))
    reply = world.link(tside).call("Visit")
    assert (reply.type, reply.args.get(0, 255, 2)) == (wire.REPLY, 503)
    assert_counted(tside, "app_failure")
    assert_logged(tside, "app_failure")


# ---- rules --------------------------------------------------------------------------------------


def test_reason_degraded(world):
    tside = world.tside(rules={f"*/*/{SERVICE}/*/*/degrade": 100, KEY: {"access_log": 1}}, default=[world.callee("a")])
    said = assert_message(world.link(tside).call("Visit"), "degraded")
    assert "100" in said
    assert_counted(tside, "degraded")
    assert_logged(tside, "degraded")


def test_reason_denied(world):
    tside = world.tside(rules={KEY: {"access": "deny"}}, default=[world.callee("a")])
    line = assert_seen(tside, world.link(tside).call("Visit"), "denied")
    assert line["attempts"] == 0 and line["upstream"] == ""


# ---- no way --------------------------------------------------------------------------------------


def test_reason_no_route(world):
    tside = world.tside()
    names = ("app.feed", "default", "-", "default", "Visit")
    assert_seen(tside, world.link(tside).call("Visit", to=None), "no_route", names)


def test_reason_no_endpoint(world):
    tside = world.tside(canary=[world.callee("c")])
    said = assert_message(world.link(tside).call("Visit"), "no_endpoint")
    assert "default" in said
    assert_counted(tside, "no_endpoint")
    assert_logged(tside, "no_endpoint")


def test_reason_connect_failed(world):
    address = closed_port()
    tside = world.tside(default=[address])
    reply = world.link(tside).call("Visit")
    line = assert_seen(tside, reply, "connect_failed")
    assert "connecting failed: connection refused" in reply.exception[1]
    assert address in reply.exception[1] and line["upstream"] == address


def test_reason_connect_timeout(world):
    stuck = StuckListener()
    try:
        tside = world.tside(rules={KEY: {"connect_timeout_ms": 40}}, default=[stuck.address])
        reply = world.link(tside).call("Visit")
        assert_seen(tside, reply, "connect_timeout")
        assert stuck.address in reply.exception[1] and "40" in reply.exception[1]
    finally:
        stuck.stop()


# ---- limits --------------------------------------------------------------------------------------


def test_reason_rate_limited(world):
    tside = world.tside(rules={KEY: {"rate_per_s": 1}}, default=[world.callee("a")])
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    reply = next(reply for reply in (link.call("Visit") for _ in range(20)) if not reply.server)
    assert_seen(tside, reply, "rate_limited")
    assert "rate_per_s 1 " in reply.exception[1]


def test_reason_concurrency_limit(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], limits={"calls": 1})
    callee.gate.clear()
    first = world.link(tside)
    first.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    reply = world.link(tside).call("Visit")
    assert_seen(tside, reply, "concurrency_limit")
    assert tside.metric("tside_calls_limited_total") == 1
    callee.gate.set()
    assert first.message().server == "a"


def test_reason_breaker_open(world):
    callee = world.callee("a", answer_with(lambda r: wire.reply(r, wire.application_exception("theirs"), wire.EXCEPTION)))
    tside = world.tside(rules={KEY: {"breaker": {"min_calls": 3, "cooling_ms": 60000}}}, default=[callee])
    link = world.link(tside)
    for _ in range(3):
        assert link.call("Visit").exception[1] == "theirs"
    reply = link.call("Visit")
    line = assert_seen(tside, reply, "breaker_open")
    assert "open: 100 % of 3 calls failed;" in reply.exception[1]
    assert line["attempts"] == 0 and callee.count == 3
    assert tside.metric("tside_breaker_opened_total") == 1
    assert "3 of 3 calls failed" in tside.wait_event("breaker_opened")["msg"]


def test_reason_pool_exhausted(world):
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"pool": {"max_connections": 1, "wait_ms": 30}, "timeout_ms": 9000}}, default=[callee])
    callee.gate.clear()
    first = world.link(tside)
    first.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    reply = world.link(tside).call("Visit")
    assert_seen(tside, reply, "pool_exhausted")
    assert "1" in reply.exception[1]
    callee.gate.set()
    assert first.message().server == "a"


@pytest.mark.counted
def test_reason_internal(world):
    """A call that has to wait is held in a buffer of its own, and memory for that one is not to be had."""
    allocations = Allocations()
    tside = world.tside(default=[world.callee("a")], env=allocations.env)
    link = world.link(tside)
    frame = wire.call("Visit", blob=b"x" * 20_000)
    allocations.refuse(20_000, 24_000)
    link.send(frame)
    assert_seen(tside, link.message(), "internal")
    allocations.refuse(0, 0)
    link.send(frame)
    assert link.message().server == "a"
    allocations.remove()


# ---- the callee fails ------------------------------------------------------------------------------


def test_reason_send_timeout(world):
    callee = world.callee("deaf", lambda link: link.gone.wait(60))
    tside = world.tside(rules={KEY: {"send_timeout_ms": 60, "timeout_ms": 9000}}, default=[callee])
    reply = world.link(tside, timeout=15).call("Visit", blob=b"x" * 12_000_000)
    for link in callee.links:
        link.gone.set()
    assert_seen(tside, reply, "send_timeout")
    assert callee.address in reply.exception[1] and "60" in reply.exception[1]


def test_reason_timeout(world):
    callee = world.callee("a", silent)
    tside = world.tside(rules={KEY: {"timeout_ms": 60}}, default=[callee])
    reply = world.link(tside).call("Visit")
    line = assert_seen(tside, reply, "timeout")
    assert "60" in reply.exception[1] and callee.address in reply.exception[1]
    assert line["deadline_ms"] == 60 and line["left_ms"] <= 0


def test_reason_upstream_reset(world):
    def script(link):
        link.frame()
        link.reset()

    tside = scripted(world, script)
    reply = world.link(tside).call("Visit")
    assert_seen(tside, reply, "upstream_reset")
    assert "the reply was complete: connection reset by peer" in reply.exception[1]
    assert world.callees[0].address in reply.exception[1]


def test_reason_upstream_protocol(world):
    tside = scripted(world, answer_with(lambda r: wire.reply(r, [], seqid=r.seqid + 1)))
    reply = world.link(tside).call("Visit")
    assert_seen(tside, reply, "upstream_protocol")
    assert world.callees[0].address in reply.exception[1]
    wait_until(lambda: world.callees[0].open_links == 0)


def test_reason_frame_too_large(world):
    tside = scripted(world, answer_with(lambda r: wire.reply(r, wire.response("a", blob=b"x" * 70_000))),
                     limits={"frame_bytes": 65536})
    reply = world.link(tside).call("Visit")
    assert_seen(tside, reply, "frame_too_large")
    assert "65536" in reply.exception[1]


# ---- the caller's side -------------------------------------------------------------------------------


def test_reason_downstream_gone(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    callee.gate.clear()
    link = world.link(tside)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    link.reset()
    wait_until(lambda: tside.metric("tside_downstream_connections") == 0)
    callee.gate.set()
    assert_counted(tside, "downstream_gone")  # once, and nothing else of this call
    assert_logged(tside, "downstream_gone")
    assert tside.calls() == 1


def test_reason_bad_request(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    link.send(wire.frame(wire.call("Visit", seqid=3)[4:] + b"behind"))
    reply = link.message()
    # Names that stand in a body which is not well-formed do not count: only the header is known.
    kind, said = reply.exception
    assert (kind, reply.seqid, reply.name) == (7, 3, b"Visit")
    assert said.startswith("[tside bad_request] ") and re.search(r" tside explain \S+/Visit$", said), said
    tside.wait_calls(1, reason="bad_request", method="Visit")
    assert tside.wait_event("call", reason="bad_request")["method"] == "Visit"
    assert callee.count == 0
    assert link.call("Visit").server == "a"


def test_reason_draining(world):
    """What is still unanswered when drain_timeout_ms is over is answered before the end."""
    callee = world.callee("a", silent)
    tside = world.tside(rules={KEY: {"timeout_ms": 60000}}, default=[callee], timeouts={"drain_timeout_ms": 600})
    link = world.link(tside)
    link.send(wire.call("Visit", seqid=4))
    wait_until(lambda: callee.count == 1)
    tside.signal(signal.SIGTERM)
    wait_until(lambda: tside.get("/readyz")[0] != 200)
    assert_message(link.message(), "draining")
    assert link.ended()
    assert tside.wait(10) == 0
    tside.ended = True
    assert_logged(tside, "draining")


# ---- the list is whole ------------------------------------------------------------------------------


def test_every_reason_and_field_has_its_test():
    """reason.def and rule.def name a test for each row that is there; each of these tests exists."""
    written = set()
    for path in (REPO / "tests" / "e2e").glob("test_*.py"):
        written |= set(re.findall(r"^def (test_\w+)\(", path.read_text(), flags=re.M))
    named = {reason.test for reason in deftable.reasons()} | {field.test for field in deftable.fields()}
    assert named - {""} <= written, named - {""} - written
    for field in deftable.fields():
        assert (field.test == "") == (field.state == "NOT_YET"), field.path
    for reason in deftable.reasons():
        assert reason.test or "not yet" in reason.meaning, reason.text


def test_no_other_reason_is_ever_shown(world):
    """The closed list of the specification, and the product's table, are the same."""
    listed = ("ok app_exception app_failure degraded denied rate_limited concurrency_limit breaker_open no_route "
              "no_endpoint pool_exhausted connect_failed connect_timeout send_timeout timeout upstream_reset "
              "upstream_protocol downstream_gone bad_request frame_too_large draining internal").split()
    assert [reason.text for reason in deftable.reasons()] == listed
    tside = world.tside(default=[world.callee("a")])
    world.link(tside).call("Visit")
    tside.wait_calls(1, reason="ok")
    shown = {labels["reason"] for name, labels, _ in tside.metrics() if name == "tside_calls_total"}
    assert shown <= set(listed)

