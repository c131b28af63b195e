"""Callers and callees that send one message behind the other, without frames: TBufferedTransport."""

import subprocess

import pytest

from support import wire
from support.process import helper
from support.raw import Closed, silent
from support.tside import SERVICE
from support.wait import wait_until

KEY = f"*/*/{SERVICE}/*/*/config"
BOTH = ({"accept": ["framed", "unframed"]},)
SPOKEN = ["framed", "unframed"]


def speaks(framing: str, **fields) -> dict:
    return {KEY: {"pool": {"framing": framing}, **fields}}


# ---- every pair ------------------------------------------------------------------------------


@pytest.mark.parametrize("callee_speaks", SPOKEN)
@pytest.mark.parametrize("caller_speaks", SPOKEN)
def test_every_pair_of_python(world, caller_speaks, callee_speaks):
    """Official clients and servers, whatever each of them speaks: all kinds of answers, small and large."""
    transport = {"framed": "framed", "unframed": "buffered"}
    alpha = world.thrift_callee(f"alpha-{callee_speaks}", transport=transport[callee_speaks])
    tside = world.tside(rules=speaks(callee_speaks, timeout_ms=10000), default=[alpha], listeners=BOTH)
    for _ in range(4):
        caller = world.caller(tside, buffered=caller_speaks == "unframed", timeout=10)
        assert caller.visit("hi").text == "hi"
        assert caller.visit("x" * 300_000).text == "x" * 300_000
        assert len(caller.call("Large", number=500_000).blob) == 500_000
        assert caller.call("Code", number=503).baseResp.StatusCode == 503
        with pytest.raises(caller.types.Sorry):
            caller.call("Fail", "no")
        with pytest.raises(Exception, match="broken"):
            caller.call("Raise", "broken")
        caller.call("Tell", "it")
        assert caller.visit("still here").server == alpha.name
    wait_until(lambda: len(alpha.calls) == 32)
    assert all(call["extra"].get(wire.REMAIN) for call in alpha.calls if call["method"] == "Visit")
    tside.wait_calls(4, reason="app_exception")
    assert tside.calls() == 32


@pytest.mark.parametrize("callee_speaks", SPOKEN)
def test_every_pair_of_c_glib(world, callee_speaks):
    options = ["buffered"] if callee_speaks == "unframed" else []
    server = subprocess.Popen([helper("demo_server"), "gamma", *options], stdin=subprocess.PIPE,
                              stdout=subprocess.PIPE, text=True)
    try:
        address = server.stdout.readline().strip()
        tside = world.tside(rules=speaks(callee_speaks), default=[address], listeners=BOTH)
        for transport in ("framed", "buffered"):
            def client(*more: str) -> list[str]:
                return subprocess.run([helper("demo_client"), tside.address, f"transport={transport}", *more],
                                      capture_output=True, text=True, timeout=20, check=True).stdout.splitlines()

            assert client("text=hi", "count=20") == ["reply gamma hi"] * 20
            assert client("method=Fail", "text=no") == ["sorry no"]
            assert client("method=Touch") == ["void"]
            assert client("to=nobody.knows")[0].startswith("exception 6 application error: [tside no_endpoint]")
    finally:
        server.communicate("", timeout=10)


# ---- callers ---------------------------------------------------------------------------------


def test_order_and_seqids(world):
    """Pipelined calls of one write: answered in request order, each under its own seqid; tside's own answers too."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=BOTH)
    link = world.link(tside, framing="unframed")
    calls = [wire.call("Visit", seqid=i, say=f"n{i}", to=SERVICE if i % 3 else "nobody.knows") for i in range(30)]
    link.send(b"".join(calls))
    for i in range(30):
        message = link.message()
        assert message.seqid == i
        assert (message.reason or message.args.get(0, 2)) == (f"n{i}".encode() if i % 3 else "no_endpoint")


def test_byte_by_byte_and_half_closed(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=BOTH)
    link = world.link(tside, framing="unframed")
    for byte in wire.bodies(wire.call("Visit", seqid=1) + wire.call("Visit", seqid=2)):
        for i in range(len(byte)):
            link.send_raw(byte[i:i + 1])
    link.half_close()
    assert [link.message().seqid for _ in range(2)] == [1, 2]
    assert link.ended()


def test_what_is_passed_on(world):
    """The same edits as in a frame: the budget and an empty LogID; the payload byte for byte."""
    for framing in SPOKEN:
        callee = world.callee("a", framing=framing)
        tside = world.tside(rules=speaks(framing, timeout_ms=400), default=[callee], listeners=BOTH)
        for caller in SPOKEN:
            blob = bytes(range(256)) * 40
            assert world.link(tside, framing=caller).call("Visit", log_id="", blob=blob).server == "a"
            request = callee.requests[-1]
            assert 0 < int(request.extra[wire.REMAIN]) <= 400
            assert len(request.base.get(1)) == 32
            assert request.args.get(1, 3) == blob


def test_each_connection_speaks_for_itself(world):
    """Framed and unframed callers on one port; a listener that takes one of them sends the other away."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=(*BOTH, {}, {"accept": ["unframed"]}))
    for framing in SPOKEN:
        assert world.link(tside, 0, framing=framing).call("Visit").server == "a"
    assert world.link(tside, 1).call("Visit").server == "a"
    assert world.link(tside, 2, framing="unframed").call("Visit").server == "a"
    for listener, framing in ((1, "unframed"), (2, "framed")):
        link = world.link(tside, listener, framing=framing)
        link.send(wire.call("Visit"))
        assert link.ended()
        wait_until(lambda: tside.metric("tside_foreign_connections_total", protocol=framing) == 1)


def test_one_that_changes_its_mind(world):
    """A frame behind an unframed message, and the other way round: the connection ends, unanswered from there on."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=BOTH)
    [plain] = wire.bodies(wire.call("Visit", seqid=7))
    for framing, behind in (("unframed", wire.call("Visit")), ("framed", plain)):
        link = world.link(tside, framing=framing)
        assert link.call("Visit", seqid=6).seqid == 6
        link.send_raw(behind)
        assert link.ended()
    assert callee.count == 2


# Each behind a good call, which is answered. With a readable header it is answered, too, as bad_request.
STRICT_CALL = b"\x80\x01\x00\x01"
HEAD = STRICT_CALL + b"\x00\x00\x00\x05Visit\x00\x00\x00\x09"
UNREADABLE = {
    "another version": b"\x80\x02\x00\x01" + HEAD[4:] + b"\x00",
    "not strict": b"\x00\x00\x00\x05Visit\x01\x00\x00\x00\x09\x00",
    "zeros": b"\x00" * 32,
    "ones": b"\xff" * 32,
    "type 0": b"\x80\x01\x00\x00" + HEAD[4:] + b"\x00",
    "a reply": b"\x80\x01\x00\x02" + HEAD[4:] + b"\x00",
    "an exception": b"\x80\x01\x00\x03" + HEAD[4:] + b"\x00",
    "type 5": b"\x80\x01\x00\x05" + HEAD[4:] + b"\x00",
    "a name of -1 bytes": STRICT_CALL + b"\xff\xff\xff\xff" + b"Visit\x00\x00\x00\x09\x00",
    "a name of 2 GiB": STRICT_CALL + b"\x7f\xff\xff\xff" + b"Visit\x00\x00\x00\x09\x00",
    "a frame": wire.call("Visit"),
    "HTTP": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "TTHeader": b"\x00\x00\x00\x40\x10\x00\x00\x00\x00\x00\x00\x01\x00\x02" + b"\x00" * 40,
}
BAD = {
    "a field of no type": HEAD + b"\x07\x00\x01\x00",
    "a field of type 127": HEAD + b"\x7f\x00\x01",
    "a list of no type": HEAD + b"\x0f\x00\x01\x07\x00\x00\x00\x01\x00",
    "a map of no type": HEAD + b"\x0d\x00\x01\x05\x05\x00\x00\x00\x01\x00",
    "a string of -1 bytes": HEAD + b"\x0b\x00\x01\xff\xff\xff\xff",
    "a string of 2 GiB": HEAD + b"\x0b\x00\x01\x7f\xff\xff\xff",
    "a list of -1 elements": HEAD + b"\x0f\x00\x01\x0b\xff\xff\xff\xff",
    "a list of 2 G elements": HEAD + b"\x0f\x00\x01\x08\x7f\xff\xff\xff",
    "a map of 2 G pairs": HEAD + b"\x0d\x00\x01\x0b\x0b\x7f\xff\xff\xff",
    "a set of -2 elements": HEAD + b"\x0e\x00\x01\x0b\xff\xff\xff\xfe",
    "65 levels": HEAD + b"\x0c\x00\x01" * 65,
    "65 lists": HEAD + b"\x0f\x00\x01" + b"\x0f\x00\x00\x00\x01" * 70,
    "a string above the limit": HEAD + b"\x0b\x00\x01\x00\x10\x00\x00" + b"x" * 70_000,
    "many fields above the limit": HEAD + b"\x0a\x00\x01" * 1 + b"x" * 8 + (b"\x0a\x00\x02" + b"y" * 8) * 7000,
}


@pytest.mark.parametrize("what", [*UNREADABLE, *BAD])
def test_hostile_callers(world, what):
    """Nothing of it reaches a callee; what came before it is answered; the connection ends; others go on."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=BOTH, limits={"frame_bytes": 65536})
    link = world.link(tside, framing="unframed", timeout=10)
    link.send_raw(wire.bodies(wire.call("Visit", seqid=8))[0] + {**UNREADABLE, **BAD}[what])
    assert link.message().server == "a"
    if what in BAD:
        answer = link.message()
        assert (answer.reason, answer.seqid, answer.name) == ("bad_request", 9, b"Visit")
    assert link.ended()
    assert callee.count == 1
    assert world.link(tside, framing="unframed").call("Visit").server == "a"


def test_a_message_that_ends_early(world):
    """EOF within a message: what was whole is answered, the rest is nothing."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=BOTH)
    [body] = wire.bodies(wire.call("Visit", seqid=8))
    for cut in (1, 4, 8, 17, 40, len(body) - 1):
        link = world.link(tside, framing="unframed")
        link.send_raw(body + body[:cut])
        link.half_close()
        assert link.message().seqid == 8
        assert link.ended()
    assert callee.count == 6


# ---- callees ---------------------------------------------------------------------------------


def answer_raw(data: bytes):
    """A callee that answers each message with these bytes."""

    def script(link) -> None:
        while link.frame() is not None:
            link.send_raw(data)

    return script


REPLY_HEAD = b"\x80\x01\x00\x02\x00\x00\x00\x05Visit"


def reply_to(data: bytes):
    """The same behind a good header with the seqid that was sent."""

    def script(link) -> None:
        while (body := link.frame()) is not None:
            link.send_raw(REPLY_HEAD + wire.read_message(body).seqid.to_bytes(4, "big") + data)
            link.frame()

    return script


@pytest.mark.parametrize("data", [b"\x07\x00\x00", b"\x0b\x00\x00\xff\xff\xff\xff", b"\x0c\x00\x01" * 65,
                                  b"\x0f\x00\x00\x0b\xff\xff\xff\xff"], ids=["type", "string", "depth", "list"])
def test_hostile_callees(world, data):
    """A reply that is none: upstream_protocol, and the connection goes."""
    callee = world.callee("a", reply_to(data), framing="unframed")
    tside = world.tside(rules=speaks("unframed"), default=[callee])
    assert world.link(tside).call("Visit").reason == "upstream_protocol"
    assert callee.links[0].gone.wait(10)


def test_a_reply_above_the_limit(world):
    callee = world.callee("a", reply_to(b"\x0b\x00\x00\x00\x10\x00\x00" + b"x" * 70_000), framing="unframed")
    tside = world.tside(rules=speaks("unframed"), default=[callee], limits={"frame_bytes": 65536})
    assert world.link(tside).call("Visit").reason == "frame_too_large"


@pytest.mark.parametrize("said, spoken", [("framed", "unframed"), ("unframed", "framed")])
def test_a_callee_that_answers_in_another_framing(world, said, spoken):
    """The answer names what it speaks, and the field that has to say so."""
    [plain] = wire.bodies(wire.reply(wire.read_message(wire.bodies(wire.call("Visit"))[0]), wire.response("a")))
    data = plain if spoken == "unframed" else wire.frame(plain)
    callee = world.callee("a", answer_raw(data), framing=said)
    tside = world.tside(rules=speaks(said), default=[callee])
    answer = world.link(tside).call("Visit")
    assert answer.reason == "upstream_protocol"
    assert f"its rule needs pool.framing {spoken}" in answer.exception[1]


@pytest.mark.parametrize("mode", ["pool", "mux", "pipeline", "short"])
def test_modes(world, mode):
    callee = world.callee("a", framing="unframed")
    rules = {KEY: {"pool": {"framing": "unframed", "mode": mode}}}
    tside = world.tside(rules=rules, default=[callee], listeners=BOTH)
    for framing in SPOKEN:
        link = world.link(tside, framing=framing)
        link.send(b"".join(wire.call("Visit", seqid=i, blob=b"x" * 1000) for i in range(50)))
        assert [link.message().seqid for _ in range(50)] == list(range(50))
        link.send(wire.call("Tell", type_=wire.ONEWAY) + wire.call("Visit", seqid=51))
        assert link.message().seqid == 51
    wait_until(lambda: callee.count == 104)


def test_connections_are_not_shared_between_framings(world):
    """Two methods of a callee that speaks both: each framing has a connection of its own, and keeps it."""

    def script(link) -> None:
        link.framing = "unframed" if link.first_byte() == 0x80 else "framed"
        while (body := link.frame()) is not None:
            link.send(wire.reply(wire.read_message(body), wire.response(link.framing)))

    callee = world.callee("a", script)
    tside = world.tside(rules={KEY: {"pool": {"framing": "unframed"}},
                               f"*/*/{SERVICE}/*/Ping/config": {"pool": {"framing": "framed"}}},
                        default=[callee], workers=1)
    link = world.link(tside)
    for _ in range(5):
        assert link.call("Visit").server == "unframed"
        assert link.call("Ping").server == "framed"
    assert len(callee.links) == 2


def test_silent_callee_and_cut_reply(world):
    callee = world.callee("a", silent, framing="unframed")
    tside = world.tside(rules=speaks("unframed", timeout_ms=100), default=[callee])
    assert world.link(tside).call("Visit").reason == "timeout"

    def cut(link) -> None:
        link.frame()
        link.send_raw(REPLY_HEAD)
        raise Closed

    callee.script = cut
    assert world.link(tside).call("Visit").reason == "upstream_reset"
