"""TTHeader on both sides: the names and the budget come from the header, and all else in it passes."""

import struct

import pytest

from support import wire
from support.raw import answer
from support.tside import SERVICE
from support.wait import wait_until
from support.wire import FROM_CLUSTER, FROM_SERVICE, LOG_ID, MESSAGE_TYPE, RPC_TIMEOUT, TO_CLUSTER, TO_METHOD, TO_SERVICE

KEY = f"*/*/{SERVICE}/*/*/config"
ALL = ({"accept": ["framed", "unframed", "ttheader"]},)
SPOKEN = ["framed", "unframed", "ttheader", "ttheader_framed"]
RETRY = "RPC_PERSIST_RetryReq"


def speaks(framing: str, **fields) -> dict:
    return {KEY: {"pool": {"framing": framing}, **fields}}


def header(**texts: str) -> wire.Header:
    return wire.Header(sequence=77, ints={FROM_SERVICE: "app.feed", TO_SERVICE: SERVICE}, texts=texts)


def caller_of(world, tside, framing: str, **texts: str):
    link = world.link(tside, framing=framing)
    link.header = header(**texts)
    return link


# ---- every pair ------------------------------------------------------------------------------


@pytest.mark.parametrize("callee_speaks", SPOKEN)
@pytest.mark.parametrize("caller_speaks", SPOKEN)
def test_every_pair(world, caller_speaks, callee_speaks):
    """Small and large calls, pipelined, exceptions of tside's own; replies in the caller's framing."""
    callee = world.callee("a", framing=callee_speaks)
    tside = world.tside(rules=speaks(callee_speaks, timeout_ms=10000), default=[callee], listeners=ALL)
    for link in (caller_of(world, tside, caller_speaks) for _ in range(3)):
        for blob in (b"", b"x" * 300_000):
            assert link.call("Visit", seqid=5, blob=blob).server == "a"
        link.send(b"".join(wire.call("Visit", seqid=i, say=f"n{i}") for i in range(20)))
        assert [link.message().args.get(0, 2) for _ in range(20)] == [f"n{i}".encode() for i in range(20)]
        link.header.ints[TO_SERVICE] = "nobody.knows"
        assert link.call("Visit", seqid=9, to="nobody.knows").reason == "no_endpoint"
        assert link.got.sequence == (77 if caller_speaks.startswith("ttheader") else 0)
    assert callee.count == 66
    assert all(request.args.get(1, 3) in (None, b"", b"x" * 300_000) for request in callee.requests)


# ---- what the header says --------------------------------------------------------------------


def test_names_come_from_the_header(world):
    """Each of the five: the header's before Base's, the method always the message's."""
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules=speaks("ttheader"), default=[callee], canary=[callee], listeners=ALL)
    link = world.link(tside, framing="ttheader")
    link.header = wire.Header(ints={FROM_SERVICE: "in.header", FROM_CLUSTER: "c1", TO_SERVICE: SERVICE,
                                    TO_CLUSTER: "canary", TO_METHOD: "Lies", LOG_ID: "log-77"})
    assert link.call("Visit", to="other.service", to_cluster="x", from_cluster="y", caller="in.base").server == "a"
    tside.wait_calls(1, method="Visit", to=SERVICE, to_cluster="canary", reason="ok", **{"from": "in.header"})
    got = callee.links[0].got
    assert got.ints[TO_METHOD] == "Visit" and got.ints[LOG_ID] == "log-77" and got.ints[FROM_CLUSTER] == "c1"
    link.header = wire.Header()  # nothing in it: Base says it
    assert link.call("Visit", caller="in.base").server == "a"
    tside.wait_calls(1, method="Visit", to=SERVICE, to_cluster="default", reason="ok", **{"from": "in.base"})


def test_the_budget(world):
    """RPCTimeout and the entry bound the call, the smaller of them, and are rewritten to what is left."""
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules=speaks("ttheader", timeout_ms=5000), default=[callee], listeners=ALL)
    link = caller_of(world, tside, "ttheader")
    for ints, texts, most in (({}, {}, 5000), ({RPC_TIMEOUT: "700"}, {}, 700), ({RPC_TIMEOUT: "700"}, {wire.REMAIN: "300"}, 300),
                              ({RPC_TIMEOUT: "200"}, {wire.REMAIN: "900"}, 200)):
        link.header.ints = {TO_SERVICE: SERVICE, **ints}
        link.header.texts = dict(texts)
        assert link.call("Visit", base_fields=None).server == "a"
        got = callee.links[0].got
        assert most - 200 < int(got.ints[RPC_TIMEOUT]) == int(got.texts[wire.REMAIN]) <= most
    callee.gate.clear()
    link.header.ints = {TO_SERVICE: SERVICE, RPC_TIMEOUT: "60"}
    assert link.call("Visit", base_fields=None).reason == "timeout"


def test_what_it_does_not_know_passes(world):
    """Other keys, the token and their order; of the reply, too, but for what is about its connection."""
    def script(link) -> None:
        while (body := link.frame()) is not None:
            request = wire.read_message(body)
            link.header = wire.Header(sequence=5, texts={"RPC_BACKWARD_a": "1", "biz-status": "3"}, ints={21: "t"})
            link.send(wire.reply(request, wire.response("a")))

    callee = world.callee("a", script, framing="ttheader")
    tside = world.tside(rules=speaks("ttheader"), default=[callee], listeners=ALL)
    link = caller_of(world, tside, "ttheader", RPC_PERSIST_x="1", RPC_TRANSIT_y="2", isn="Demo")
    link.header.token = "token"
    link.header.ints |= {21: "stress", 10: "env"}
    assert link.call("Visit", base_fields=None).server == "a"
    got = callee.links[0].got
    assert got.token == "token" and got.ints[21] == "stress" and got.ints[10] == "env"
    assert {key: got.texts[key] for key in ("RPC_PERSIST_x", "RPC_TRANSIT_y", "isn")} == {
        "RPC_PERSIST_x": "1", "RPC_TRANSIT_y": "2", "isn": "Demo"}
    assert link.got.sequence == 77
    assert link.got.texts == {"RPC_BACKWARD_a": "1", "biz-status": "3"} and link.got.ints == {21: "t"}


def test_a_header_is_made_for_a_callee_that_wants_one(world):
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules=speaks("ttheader", timeout_ms=900), default=[callee], listeners=ALL)
    link = world.link(tside)
    assert link.call("Visit", log_id="log-5", caller="app.feed", from_cluster="blue",
                     extra={"RPC_PERSIST_x": "1", "other": "2"}).server == "a"
    got = callee.links[0].got
    left = got.ints.pop(RPC_TIMEOUT)
    assert 0 < int(left) <= 900 and got.texts.pop(wire.REMAIN) == left
    assert got.ints == {LOG_ID: "log-5", FROM_SERVICE: "app.feed", FROM_CLUSTER: "blue", TO_SERVICE: SERVICE,
                        TO_CLUSTER: "default", TO_METHOD: "Visit", MESSAGE_TYPE: "1"}
    assert got.texts == {"RPC_PERSIST_x": "1"}


def test_a_callee_without_one_has_it_in_base(world):
    """The budget that came in the header, in Base.Extra of a callee that has Base."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"timeout_ms": 5000}}, default=[callee], listeners=ALL)
    link = caller_of(world, tside, "ttheader")
    link.header.ints[RPC_TIMEOUT] = "400"
    assert link.call("Visit").server == "a"
    assert 200 < int(callee.requests[0].extra[wire.REMAIN]) <= 400


def test_a_retry_is_marked_and_a_marked_call_is_not_tried_again(world):
    def script(link) -> None:
        body = link.frame()
        if link.number == 0:
            return  # hangs up: the call may have been run
        link.send(wire.reply(wire.read_message(body), wire.response("a")))
        answer(link)

    callee = world.callee("a", script, framing="ttheader")
    retry = {"retry": {"attempts": 1, "on": ["reset"], "idempotent": True}}
    tside = world.tside(rules=speaks("ttheader", **retry), default=[callee], listeners=ALL)
    link = caller_of(world, tside, "ttheader")
    assert link.call("Visit", base_fields=None).server == "a"
    assert callee.links[1].got.texts[RETRY] == "1"
    callee.script = lambda link: link.frame() and None
    callee.close_all()
    link.header.texts[RETRY] = "1"
    attempts = callee.count
    assert link.call("Visit", base_fields=None).reason == "upstream_reset"
    assert callee.count <= attempts + 2  # a free one beside it, no retry


def test_crrst_of_a_callee(world):
    """A connection that its callee will close is used no more, and the caller does not hear of it."""
    def script(link) -> None:
        while (body := link.frame()) is not None:
            link.header = wire.Header(texts={"crrst": "1"} if link.number == 0 else {})
            link.send(wire.reply(wire.read_message(body), wire.response("a")))

    for mode in ("pool", "mux"):
        callee = world.callee("a", script, framing="ttheader")
        tside = world.tside(rules={KEY: {"pool": {"framing": "ttheader", "mode": mode}}}, default=[callee],
                            listeners=ALL, workers=1)
        link = caller_of(world, tside, "ttheader")
        for _ in range(3):
            assert link.call("Visit").server == "a"
            assert "crrst" not in link.got.texts
        assert callee.links[0].gone.wait(10)
        assert len(callee.links) == 2


def refuses(tside) -> bool:
    try:
        tside.link().close()
    except ConnectionError:
        return True
    return False


def test_crrst_while_draining(world):
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules=speaks("ttheader"), default=[callee], listeners=ALL)
    link = caller_of(world, tside, "ttheader")
    assert link.call("Visit").server == "a" and "crrst" not in link.got.texts
    callee.gate.clear()
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 2)
    tside.signal(15)
    wait_until(lambda: refuses(tside))  # every worker drains
    callee.gate.set()
    assert link.message().server == "a"
    assert link.got.texts["crrst"] == "1"
    assert tside.wait(20) == 0
    tside.ended = True


# ---- hostile ---------------------------------------------------------------------------------

[BODY] = wire.bodies(wire.call("Visit", seqid=8))


def raw(info: bytes, payload: bytes = BODY, length: int = 0, magic: int = 0x1000, flags: int = 0, size: int = -1) -> bytes:
    size = len(info) // 4 if size < 0 else size
    rest = struct.pack(">HHiH", magic, flags, 1, size) + info + payload
    return struct.pack(">I", length or len(rest)) + rest


def padded(info: bytes) -> bytes:
    return info + b"\0" * (-len(info) % 4)


CLOSED = {
    "length 0": struct.pack(">I", 0) + b"\x10\0" + bytes(30),
    "length of a header alone": raw(b"\0\0\0\0", b"", 10),
    "length above the limit": struct.pack(">I", 0x3fffffff) + raw(b"\0\0\0\0")[4:],
    "length -1": struct.pack(">I", 0xffffffff) + raw(b"\0\0\0\0")[4:],
    "another magic": raw(b"\0\0\0\0", magic=0x1001),
    "Apache's magic": raw(b"\0\0\0\0", magic=0x0fff),
    "a stream": raw(b"\0\0\0\0", flags=2),
    "no header": raw(b"", size=0),
    "header beyond the frame": raw(b"\0\0\0\0", size=0xffff),
    "compact": raw(b"\x02\0\0\0"),
    "protobuf": raw(b"\x04\0\0\0"),
    "a struct": raw(b"\x10\0\0\0"),
    "zlib": raw(b"\0\1\1\0"),
    "255 transforms": raw(b"\0\xff\0\0"),
    "an unknown block": raw(padded(b"\0\0\x22\0\1")),
    "a text block that is cut": raw(padded(b"\0\0\1\0\5\0\1a")),
    "a key beyond the header": raw(padded(b"\0\0\1\0\1\xff\xffa")),
    "a value beyond the header": raw(padded(b"\0\0\1\0\1\0\1a\xff\xffb")),
    "a number block that is cut": raw(padded(b"\0\0\x10\xff\xff\0\3")),
    "a value of a number beyond": raw(padded(b"\0\0\x10\0\1\0\3\0\xffa")),
    "a token beyond the header": raw(padded(b"\0\0\x11\xff\xffa")),
    "5,000 blocks": raw(padded(b"\0\0" + b"\1\0\0" * 5000)),
    "an inner frame too short": raw(b"\0\0\0\0", struct.pack(">I", len(BODY) - 1) + BODY),
    "an inner frame too long": raw(b"\0\0\0\0", struct.pack(">I", len(BODY) + 1) + BODY),
    "a message of another version": raw(b"\0\0\0\0", b"\x80\x02" + BODY[2:]),
    "a reply": raw(b"\0\0\0\0", b"\x80\1\0\2" + BODY[4:]),
    "a frame without a header": wire.frame(BODY),
    "no frame at all": BODY,
    "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
}
BAD = {
    "two messages": raw(b"\0\0\0\0", BODY + BODY),
    "a byte behind the message": raw(b"\0\0\0\0", BODY + b"\0"),
    "a message that is cut": raw(b"\0\0\0\0", BODY[:-3]),
    "a field of no type": raw(b"\0\0\0\0", BODY[:17] + b"\x63" + BODY[18:]),
}


@pytest.mark.parametrize("what", [*CLOSED, *BAD])
def test_hostile_callers(world, what):
    """Nothing of it reaches a callee; what came before is answered; a bad message is, too, and only it."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"accept": ["ttheader"]},))
    link = caller_of(world, tside, "ttheader")
    link.send_raw(header().encode(BODY) + {**CLOSED, **BAD}[what])
    assert link.message().server == "a"
    if what in BAD:
        bad = link.message()
        assert (bad.reason, bad.seqid) == ("bad_request", 8)
        assert link.call("Visit").server == "a"
    else:
        assert link.ended()
        assert tside.metric("tside_frames_rejected_total") == 1
    assert callee.count == (2 if what in BAD else 1)
    assert caller_of(world, tside, "ttheader").call("Visit").server == "a"


def test_large_headers(world):
    """Values of 65,535 bytes, four of them: passed on; at every cut of the stream, too."""
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules=speaks("ttheader"), default=[callee], listeners=ALL)
    link = caller_of(world, tside, "ttheader", **{f"RPC_PERSIST_{i}": "v" * 65535 for i in range(3)})
    assert link.call("Visit").server == "a"
    assert len(callee.links[0].got.texts["RPC_PERSIST_2"]) == 65535
    link.header = header(x="1")
    for byte in link.header.encode(BODY):
        link.send_raw(bytes([byte]))
    assert link.message().server == "a"


def test_a_header_that_has_no_room_for_more(world):
    """Of the longest there is: it goes as it came, the call is served, and so are those beside it."""
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules={KEY: {"pool": {"framing": "ttheader", "mode": "mux"}}}, default=[callee], listeners=ALL,
                        workers=1)
    other = caller_of(world, tside, "ttheader")
    assert other.call("Visit").server == "a"
    link = caller_of(world, tside, "ttheader", **{f"RPC_PERSIST_{i}": "v" * 65535 for i in range(3)})
    room = 262140 - len(link.header.encode(b"")) + 14
    link.header.texts["filling"] = "f" * (room - len("filling") - 4 - 3)
    assert 262130 < len(link.header.encode(b"")) - 14 <= 262140
    for _ in range(3):
        assert link.call("Visit").server == "a" and other.call("Visit").server == "a"
    assert len(callee.links) == 1
    assert tside.metric("tside_edits_dropped_total") == 3


def test_more_in_extra_than_a_header_holds(world):
    """Persist keys that do not fit are left out; the names are there."""
    callee = world.callee("a", framing="ttheader")
    tside = world.tside(rules=speaks("ttheader"), default=[callee], listeners=ALL)
    link = world.link(tside)
    assert link.call("Visit", extra={f"RPC_PERSIST_{i}": "v" * 60000 for i in range(6)}).server == "a"
    assert callee.links[0].got.ints[TO_SERVICE] == SERVICE


@pytest.mark.parametrize("what", ["magic", "transform", "block", "message"])
def test_hostile_callees(world, what):
    data = {"magic": raw(b"\0\0\0\0", magic=0x1001), "transform": raw(b"\0\1\1\0"),
            "block": raw(padded(b"\0\0\x22\0\1")), "message": raw(b"\0\0\0\0", b"\x80\1\0\2\0\0\0\5Visit\0\0\0\1\x63")}[what]

    def script(link) -> None:
        while link.frame() is not None:
            link.send_raw(data)

    callee = world.callee("a", script, framing="ttheader")
    tside = world.tside(rules=speaks("ttheader"), default=[callee])
    assert world.link(tside).call("Visit").reason == "upstream_protocol"
    assert callee.links[0].gone.wait(10)


@pytest.mark.parametrize("said, spoken", [("framed", "ttheader"), ("ttheader", "framed"), ("ttheader", "unframed")])
def test_a_callee_that_answers_in_another_framing(world, said, spoken):
    [plain] = wire.bodies(wire.reply(wire.read_message(BODY), wire.response("a")))
    data = {"framed": wire.frame(plain), "unframed": plain, "ttheader": wire.Header().encode(plain)}[spoken]

    def script(link) -> None:
        while link.frame() is not None:
            link.send_raw(data)

    callee = world.callee("a", script, framing=said)
    tside = world.tside(rules=speaks(said), default=[callee])
    answered = world.link(tside).call("Visit")
    assert answered.reason == "upstream_protocol"
    assert f"its rule needs pool.framing {spoken}" in answered.exception[1]
