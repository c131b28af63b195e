"""Metainfo in the JSON text of Base.Extra["user_extra"], as kite's clients write it: read, and kept true where it stands."""

import json

import pytest

from support import wire
from support.raw import answer

REMAIN, STAMP, RETRY = wire.REMAIN, wire.STAMP, "RPC_PERSIST_RetryReq"
SERVICE = wire.TO
KEY = f"*/*/{SERVICE}/*/*/config"
ALL = ({"accept": ["framed", "unframed", "ttheader"]},)


def text(spaces: str = "", **members: str) -> dict:
    return {"user_extra": json.dumps(members, separators=("," + spaces, ":" + spaces))}


def forwarded(callee) -> tuple[dict, dict]:
    """Extra, and what its text says, of the last call."""
    extra = callee.requests[-1].extra
    return extra, json.loads(extra.get("user_extra", "{}"))


def test_the_budget_in_the_text(world):
    """It bounds the call; what is left is written there, and not beside it; the rest stays as it was."""
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    assert link.call("Visit", extra={"k": "v", **text(" ", a="1", **{REMAIN: "700"}, z="2")}).server == "a"
    extra, said = forwarded(callee)
    assert REMAIN not in extra and 500 < int(said.pop(REMAIN)) <= 700
    assert said == {"a": "1", "z": "2"} and extra["k"] == "v"
    callee.gate.clear()
    assert link.call("Visit", extra=text(**{REMAIN: "60"})).reason == "timeout"
    callee.gate.set()
    assert link.call("Visit", extra=text(**{REMAIN: "0"})).reason == "timeout"
    assert callee.count == 2


@pytest.mark.parametrize("top, most", [("300", 300), ("900", 900), ("x", 700)])
def test_what_extra_says_itself_comes_first(world, top, most):
    """And both are kept true."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"timeout_ms": 5000}}, default=[callee])
    assert world.link(tside).call("Visit", extra={**text(**{REMAIN: "700"}), REMAIN: top}).server == "a"
    extra, said = forwarded(callee)
    assert most - 200 < int(said[REMAIN]) == int(extra[REMAIN]) <= most


@pytest.mark.parametrize("broken", ['{"%s":"60"' % REMAIN, '["%s","60"]' % REMAIN, '{"%s":60}' % REMAIN, "{}", ""])
def test_a_text_that_does_not_say_it_stays(world, broken):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    assert world.link(tside).call("Visit", extra={"user_extra": broken}).server == "a"
    extra = callee.requests[-1].extra
    assert extra["user_extra"] == broken and 60 < int(extra[REMAIN]) <= 1000


def test_rewriting_switched_off(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"deadline": {"rewrite": False}},))
    sent = text(**{REMAIN: "700"})
    assert world.link(tside).call("Visit", extra=sent).server == "a"
    assert callee.requests[-1].extra == {"dest_service": SERVICE, **sent}


@pytest.mark.parametrize("stamp", [None, "1700000000000"])
def test_the_stamp_goes_beside_the_budget(world, stamp):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"deadline": {"clock": "shared"}},))
    members = {REMAIN: "700000000000000", **({STAMP: stamp} if stamp else {}), "z": "2"}
    assert world.link(tside).call("Visit", extra=text(**members)).server == "a"
    extra, said = forwarded(callee)
    assert STAMP not in extra and int(said[STAMP]) > 1700000000000 and said["z"] == "2"


def hangs_up_once(link) -> None:
    body = link.frame()
    if link.number == 0:
        return
    link.send(wire.reply(wire.read_message(body), wire.response("a")))
    answer(link)


RETRIES = {KEY: {"retry": {"attempts": 1, "on": ["reset"], "idempotent": True}}}


@pytest.mark.parametrize("has_budget", [True, False])
def test_the_mark_of_a_retry_goes_beside_the_budget(world, has_budget):
    callee = world.callee("a", hangs_up_once)
    tside = world.tside(rules=RETRIES, default=[callee])
    members = {REMAIN: "900", "z": "2"} if has_budget else {"z": "2"}
    assert world.link(tside).call("Visit", extra=text(**members)).server == "a"
    extra, said = forwarded(callee)
    assert (said if has_budget else extra)[RETRY] == "1"
    assert RETRY not in (extra if has_budget else said) and said["z"] == "2"


def test_a_mark_in_the_text_stops_the_chain(world):
    callee = world.callee("a", lambda link: link.frame() and None)
    tside = world.tside(rules=RETRIES, default=[callee])
    link = world.link(tside)
    assert link.call("Visit", extra=text(**{RETRY: ""})).reason == "upstream_reset"
    assert tside.metric("tside_retries_total") == 0
    assert link.call("Visit", extra=text(other="1")).reason == "upstream_reset"
    assert tside.metric("tside_retries_total") == 1


def test_a_header_is_made_of_it(world):
    """For a callee that speaks TTHeader: what is to reach all hops, unescaped; Extra itself comes first."""
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules={KEY: {"pool": {"framing": "ttheader"}}}, default=[callee], listeners=ALL)
    extra = {"user_extra": '{"RPC_PERSIST_a":"\\u00e9\\n","RPC_PERSIST_b":"text","c":"3"}', "RPC_PERSIST_b": "top"}
    assert world.link(tside).call("Visit", extra=extra).server == "a"
    got = callee.links[0].got.texts
    assert got.pop(REMAIN) and got == {"RPC_PERSIST_a": "\u00e9\n", "RPC_PERSIST_b": "top"}


def test_a_caller_with_a_header_and_a_text(world):
    """The header's budget is the one that counts; the text is kept true."""
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules={KEY: {"timeout_ms": 5000, "pool": {"framing": "ttheader"}}}, default=[callee],
                        listeners=ALL)
    link = world.link(tside, framing="ttheader")
    link.header = wire.Header(texts={REMAIN: "400"})
    assert link.call("Visit", extra=text(**{REMAIN: "4000"})).server == "a"
    _, said = forwarded(callee)
    assert 200 < int(said[REMAIN]) == int(callee.links[0].got.texts[REMAIN]) <= 400
