"""The way of a call: bytes in, the same bytes out but for the edits, the right reply to the right caller."""

import subprocess
import threading

import pytest

from support import wire
from support.process import helper
from support.raw import RawCallee, answer_with, silent
from support.wait import stays, wait_until

NO_EDITS = ({"deadline": {"rewrite": False}, "base": {"fill_log_id": False}},)


def without_seqid(body: bytes) -> bytes:
    """The body with its seqid zeroed: tside numbers upstream calls itself."""
    at = 8 + int.from_bytes(body[4:8], "big")
    return body[:at] + b"\0\0\0\0" + body[at + 4:]


def test_everything_but_the_seqid_is_forwarded_unchanged_without_edits(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=NO_EDITS)
    strange = [
        (-5, wire.I64, -(2 ** 63)), (0, wire.DOUBLE, 1.5), (7, wire.UUID, bytes(range(16))),
        (9, wire.SET, (wire.STRING, ["a", b"\xff\xfe", ""])), (9, wire.BOOL, 7),
        (10, wire.MAP, wire.Raw(b"\0\0\0\0\0\0")), (11, wire.LIST, (wire.MAP, [(wire.I16, wire.I8, {1: 2})])),
        (12, wire.STRUCT, [(1, wire.STRING, "x" * 70_000)]),
    ]
    frames = [
        wire.call("Visit", seqid=5),
        wire.call("Direct", direct=True, extra={"k": "v" * 1000}),
        wire.frame(wire.message("Visit", strange + [(255, wire.STRUCT, wire.base(
            extra={"dest_service": wire.TO}))])),
        wire.frame(wire.message("Visit", [(1, wire.STRUCT, [(255, wire.STRUCT, wire.base(
            extra={"dest_service": wire.TO}))])], version=wire.STRICT | 0x5a00)),
        wire.call("Visit", log_id=""),
    ]
    link = world.link(tside)
    for frame in frames:
        link.send(frame)
        assert link.message().type == wire.REPLY
    assert [without_seqid(body) for body in callee.bodies] == [without_seqid(f[4:]) for f in frames]


def test_replies_come_back_unchanged_but_for_the_seqid(world):
    results = [
        wire.response("a", b"\xff\xfe not utf-8", code=0, blob=b"\0" * 100_000),
        [],
        [(0, wire.LIST, (wire.I32, [1, 2, 3]))],
        [(1, wire.STRUCT, [(1, wire.STRING, "sorry")])],
    ]
    asked = iter(results)
    sent = []

    def result(request):
        sent.append(wire.reply(request, next(asked)))
        return sent[-1]

    tside = world.tside(default=[world.callee("a", answer_with(result))])
    link = world.link(tside)
    for i in range(len(results)):
        link.send(wire.call("Visit", seqid=i - 2))
        body = link.frame()
        assert without_seqid(body) == without_seqid(sent[-1][4:])
        assert wire.read_message(body).seqid == i - 2


def test_pipelined_replies_come_in_request_order_with_their_own_seqids(world):
    """The first call is answered last: its later ones wait for it, each with the seqid it came with."""
    first = threading.Event()

    def result(request):
        if request.args.get(1, 1) == b"0":
            first.wait(10)
        return wire.reply(request, wire.response("a", request.args.get(1, 1)))

    callee = world.callee("a", answer_with(result))
    tside = world.tside(default=[callee])
    seqids = [0, 0, 7, 7, 7, -1, -2 ** 31, 2 ** 31 - 1] + [3] * 42
    link = world.link(tside)
    link.send(b"".join(wire.call("Visit", seqid=s, say=str(i)) for i, s in enumerate(seqids)))
    wait_until(lambda: callee.count == len(seqids))
    with pytest.raises(TimeoutError):
        link.frame(0.05)
    first.set()
    answers = [link.message() for _ in seqids]
    assert [(a.seqid, a.args.get(0, 2)) for a in answers] == [
        (s, str(i).encode()) for i, s in enumerate(seqids)]


def test_any_order_sends_replies_as_they_come(world):
    first = threading.Event()

    def result(request):
        if request.args.get(1, 1) == b"0":
            first.wait(10)
        return wire.reply(request, wire.response("a", request.args.get(1, 1)))

    tside = world.tside(default=[world.callee("a", answer_with(result))], listeners=({"replies": "any_order"},))
    link = world.link(tside)
    link.send(b"".join(wire.call("Visit", seqid=i, say=str(i)) for i in range(5)))
    early = [link.message().seqid for _ in range(4)]
    first.set()
    assert sorted(early) == [1, 2, 3, 4]
    assert link.message().seqid == 0


def test_upstream_seqids_in_flight_differ(world):
    callee = world.callee("a")
    callee.gate.clear()
    tside = world.tside(default=[callee])
    links = world.spread(tside, 8)
    for link in links:
        link.send(wire.call("Visit", seqid=0) * 10)
    wait_until(lambda: callee.count == 80)
    callee.gate.set()
    for link in links:
        for _ in range(10):
            assert link.message().server == "a"
    # They count up per upstream connection, from a number of its own.
    assert len({request.seqid for request in callee.requests}) > 1


def test_a_half_closed_caller_gets_its_replies_then_the_end(world):
    callee = world.callee("a")
    callee.gate.clear()
    tside = world.tside(default=[callee])
    link = world.link(tside)
    link.send(wire.call("Visit", seqid=1) + wire.call("Visit", seqid=2))
    link.half_close()
    wait_until(lambda: callee.count == 2)
    callee.gate.set()
    assert [link.message().seqid, link.message().seqid] == [1, 2]
    assert link.ended()


def test_oneway_is_forwarded_and_never_answered(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    link.send(wire.call("Tell", type_=wire.ONEWAY, seqid=4, say="once"))
    wait_until(lambda: callee.count == 1)
    request = callee.requests[0]
    assert (request.type, request.name, request.args.get(1, 1)) == (wire.ONEWAY, b"Tell", b"once")
    assert link.call("Visit", seqid=5).seqid == 5
    tside.wait_calls(1, method="Tell", reason="ok")


def test_oneway_that_fails_is_not_answered_either(world):
    tside = world.tside(rules={"*/*/denied.service/*/*/config": {"access": "deny"}})
    link = world.link(tside)
    for to in ("unknown.service", "denied.service", None):
        link.send(wire.call("Tell", type_=wire.ONEWAY, to=to))
    tside.wait_calls(1, reason="no_endpoint")
    tside.wait_calls(1, reason="denied")
    tside.wait_calls(1, reason="no_route")
    assert link.call("Visit", to=None, seqid=9).seqid == 9


def test_answers_to_oneway_are_dropped(world):
    """Official servers do answer ONEWAY on two-way methods; no caller may get such an answer."""
    answered = []

    def answer(request):
        frame = wire.reply(request, wire.response("a", request.args.get(1, 1)))
        answered.append((request.type, len(frame)))
        return frame

    tside = world.tside(default=[world.callee("a", answer_with(answer))])
    link = world.link(tside)
    for i in range(5):
        link.send(wire.call("Visit", type_=wire.ONEWAY, say=f"oneway {i}"))
        assert link.call("Visit", say=f"call {i}").args.get(0, 2) == f"call {i}".encode()
    wait_until(lambda: len(answered) == 10)
    dropped = sum(length for type_, length in answered if type_ == wire.ONEWAY)
    wait_until(lambda: tside.metric("tside_oneway_answer_bytes_dropped_total") >= dropped)
    assert tside.metric("tside_oneway_answer_bytes_dropped_total") == dropped


def test_oneway_never_shares_a_connection_with_calls(world):
    shared = []

    def script(link):
        types = set()
        while True:
            body = link.frame()
            if body is None:
                return
            request = wire.read_message(body)
            types.add(request.type)
            if len(types) > 1:
                shared.append(link.number)
            if request.type == wire.CALL:
                link.send(wire.reply(request, wire.response("a")))

    callee = world.callee("a", script)
    tside = world.tside(default=[callee])
    for link in world.spread(tside, 6):
        for _ in range(5):
            link.send(wire.call("Tell", type_=wire.ONEWAY))
            assert link.call("Visit").server == "a"
    wait_until(lambda: callee.count == 60)
    assert shared == []


def test_several_callers_each_get_their_own(world):
    callees = [world.callee(name) for name in ("a", "b", "c")]
    tside = world.tside(default=callees)
    links = world.spread(tside, 12)
    for turn in range(10):
        for i, link in enumerate(links):
            link.send(wire.call("Visit", seqid=turn, say=f"{i}/{turn}"))
        for i, link in enumerate(links):
            reply = link.message()
            assert (reply.seqid, reply.args.get(0, 2)) == (turn, f"{i}/{turn}".encode())
    assert sum(callee.count for callee in callees) == 120
    tside.wait_calls(120, reason="ok", **{"from": "app.feed", "to": wire.TO, "method": "Visit"})


def test_official_python_client_and_server(world):
    alpha = world.thrift_callee("alpha")
    tside = world.tside(default=[alpha])
    caller = world.caller(tside, "app.feed")
    answer = caller.visit("hello", log_id="log-7")
    assert (answer.server, answer.text) == ("alpha", "hello")
    assert alpha.calls[0]["log_id"] == "log-7" and alpha.calls[0]["caller"] == "app.feed"
    with pytest.raises(caller.types.Sorry):
        caller.call("Fail", "declared")
    with pytest.raises(Exception, match="undeclared"):
        caller.call("Raise", "undeclared")
    assert caller.call("Code", number=7).baseResp.StatusCode == 7
    assert len(caller.call("Large", number=3_000_000).blob) == 3_000_000
    assert caller.call("Touch") is None
    caller.call("Tell")
    assert caller.client.Direct("x", caller.base()).server == "alpha"
    wait_until(lambda: len(alpha.calls) == 8)
    tside.wait_calls(1, reason="app_exception")
    tside.wait_calls(7, reason="ok")  # a declared exception is an answer like any other


def test_official_c_glib_client_and_server(world):
    server = subprocess.Popen([helper("demo_server"), "gamma"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
    try:
        tside = world.tside(default=[server.stdout.readline().strip()])

        def client(*options: str) -> list[str]:
            return subprocess.run([helper("demo_client"), tside.address, *options], capture_output=True,
                                  text=True, timeout=20, check=True).stdout.splitlines()

        assert client("text=hi", "count=20") == ["reply gamma hi"] * 20
        assert client("method=Fail", "text=no") == ["sorry no"]
        assert client("method=Code", "number=503") == ["code 503"]
        assert client("method=Touch") == ["void"]
        said = client("to=nobody.knows")[0]
        assert said.startswith("exception 6 application error: [tside no_endpoint]")
        assert world.caller(tside).visit("x").server == "gamma"
    finally:
        server.communicate("", timeout=10)


def test_official_multiplexed_client_and_server(world):
    """The name goes out as it came, prefix and all; the server strips it."""
    alpha = world.thrift_callee("alpha-mux", multiplexed="example.service")
    tside = world.tside(default=[alpha])
    assert world.caller(tside, to=None, multiplexed="example.service").visit("x").server == "alpha-mux"
    tside.wait_calls(1, method="Visit", to="example.service", reason="ok")


def test_a_multiplexed_client_of_a_plain_server(world):
    """base.strip_service takes the prefix off; without it the server knows no such method."""
    alpha = world.thrift_callee("alpha")
    tside = world.tside(default=[alpha], listeners=({}, {"base": {"strip_service": True}}))
    as_sent, stripped = (world.caller(tside, to=None, multiplexed="example.service", listener=n) for n in (0, 1))
    with pytest.raises(Exception, match="Unknown function example.service:Visit"):
        as_sent.visit("x")
    assert stripped.visit("x").server == "alpha"
    tside.wait_calls(1, method="Visit", to="example.service", reason="ok")


def test_a_stripped_name_beside_edits(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"base": {"strip_service": True}},))
    link = world.link(tside)
    assert link.call("example.service:Visit", to=None).name == b"Visit"
    assert callee.requests[0].name == b"Visit"
    assert "RPC_PERSIST_DDL_REMAIN_TIME" in callee.requests[0].extra
    assert link.call("Visit").name == b"Visit"  # and a name without a prefix is left alone
    assert [request.name for request in callee.requests] == [b"Visit", b"Visit"]


def test_unix_listener(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"listen": "unix:thrift.sock", "mode": "0660"}, {}))
    path = tside.folder / "thrift.sock"
    assert path.stat().st_mode & 0o777 == 0o660
    for _ in range(4):
        assert world.link(tside).call("Visit").server == "a"
    assert world.link(tside, listener=1).call("Visit").server == "a"


def test_large_frames_both_ways(world):
    blob = bytes(range(256)) * 20_000  # 5 MB
    callee = world.callee("a", answer_with(lambda r: wire.reply(r, wire.response("a", blob=r.args.get(1, 3)))))
    tside = world.tside(default=[callee])
    link = world.link(tside, timeout=20)
    for _ in range(2):
        assert link.call("Visit", blob=blob).args.get(0, 4) == blob
    assert callee.requests[0].args.get(1, 3) == blob


def test_a_call_ends_where_its_callee_is_slow_not_the_connection(world):
    """One slow callee holds up neither other callers nor, with its deadline over, its own."""
    slow = world.callee("slow", silent)
    quick = world.callee("quick")
    tside = world.tside(
        rules={"*/*/slow.service/*/*/config": {"timeout_ms": 200}}, default=[quick],
        services={f"slow.service/default/{slow.address}": {}})
    link, other = world.link(tside), world.link(tside)
    link.send(wire.call("Visit", to="slow.service", seqid=1) + wire.call("Visit", seqid=2))
    assert other.call("Visit").server == "quick"
    first, second = link.message(), link.message()
    assert (first.seqid, first.reason) == (1, "timeout")
    assert (second.seqid, second.server) == (2, "quick")


def test_idle_connections_stay(world):
    tside = world.tside(default=[world.callee("a")])
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    stays(lambda: tside.metric("tside_downstream_connections") == 1, 0.5)
    assert link.call("Visit").server == "a"


def test_idle_connections_end_after_idle_ms_where_set(world):
    tside = world.tside(default=[world.callee("a")], timeouts={"idle_ms": 150})
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    assert link.ended(3)


def test_limits_connections_closes_what_is_too_much(world):
    tside = world.tside(default=[world.callee("a")], limits={"connections": 3})
    links = [world.link(tside) for _ in range(3)]
    for link in links:
        assert link.call("Visit").server == "a"
    assert world.link(tside).ended(3)
    assert tside.metric("tside_downstream_connections_refused_total") == 1
    links[0].close()
    wait_until(lambda: tside.metric("tside_downstream_connections") == 2)
    assert world.link(tside).call("Visit").server == "a"


def test_a_callee_that_never_was_is_no_hang(world):
    """A call that names no callee is answered at once."""
    tside = world.tside()
    reply = world.link(tside).call("Visit", to="unheard.of", seqid=77)
    assert (reply.reason, reply.seqid, reply.name) == ("no_endpoint", 77, b"Visit")
    assert isinstance(world.callee("spare"), RawCallee)
