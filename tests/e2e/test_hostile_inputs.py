"""The catalogue of 54 hostile inputs, over real sockets, on both sides of tside.

Each test or row bears the number that its input has in the catalogue (test_all_54 keeps the list
whole). A framing or header that cannot be followed closes the connection without a word and reaches
no callee; a body that is not exactly one well-formed message is `bad_request`, the connection kept; of
a callee's bytes the same proof makes `upstream_protocol`, and that upstream connection goes.
"""

import re
import socket
import struct
import threading
from pathlib import Path

import pytest

from support import wire
from support.raw import Closed, Link, answer, answer_with, silent
from support.tside import SERVICE, Tside
from support.wait import wait_until

KEY = f"*/*/{SERVICE}/*/*/config"
BASE = (255, wire.STRUCT, wire.base(extra={"dest_service": SERVICE}))
GOOD = wire.call("Visit", seqid=7)
U32 = struct.Struct(">I")


def rejected(tside: Tside) -> float:
    return tside.metric("tside_frames_rejected_total") + tside.metric("tside_foreign_connections_total")


def closed_without_a_word(link: Link) -> None:
    assert link.ended(), "the connection ends, and not a byte before"


def still_serves(world, tside: Tside, callee, count: int) -> None:
    """Nothing of what came before reached the callee, and a good call does."""
    assert callee.count == count
    assert world.link(tside).call("Visit", seqid=9).server == callee.name
    assert callee.count == count + 1


def unread(sock: socket.socket) -> int:
    """How many bytes this connection's other end was sent and has not read: the kernel's word."""
    def shown(address) -> str:
        host, port = address
        return "%08X:%04X" % (int.from_bytes(socket.inet_aton(host), "little"), port)

    wanted = [shown(sock.getpeername()), shown(sock.getsockname())]
    for line in Path("/proc/net/tcp").read_text().splitlines():
        columns = line.split()
        if columns[1:3] == wanted:
            return int(columns[4].split(":")[1], 16)
    raise AssertionError(f"no connection {wanted}")


def send_split(link: Link, data: bytes, cut: int) -> None:
    """In two parts, the second when the first has been read."""
    link.send(data[:cut])
    wait_until(lambda: unread(link.sock) == 0)
    link.send(data[cut:])


# ---- closed without an exception -----------------------------------------------------------------


def header(version_type: int, name: bytes = b"Visit", seqid: int = 7, name_len=None) -> bytes:
    length = len(name) if name_len is None else name_len
    return U32.pack(version_type) + struct.pack(">i", length) + name + struct.pack(">i", seqid) + b"\0"


# number -> (bytes, cause once the connection has carried a good call)
CLOSED = {
    "01 length 0": (U32.pack(0), "empty"),
    "02 length -1": (U32.pack(0xffffffff), "too_large"),
    "02 length 0x80000000": (U32.pack(0x80000000), "too_large"),
    "03 length 0x7fffffff": (U32.pack(0x7fffffff), "too_large"),
    "03 length 16384001": (U32.pack(16384001), "too_large"),
    "17 version 0x8002": (wire.frame(header(0x80020001)), "version"),
    "17 version 0xC001": (wire.frame(header(0xc0010001)), "version"),
    "19 non-strict header": (wire.frame(struct.pack(">i", 5) + b"Visit\x01" + U32.pack(7) + b"\0"), "version"),
    "20 type 0": (wire.frame(header(0x80010000)), "message_type"),
    "20 type 5": (wire.frame(header(0x80010005)), "message_type"),
    "20 type 6": (wire.frame(header(0x80010006)), "message_type"),
    "20 type 7": (wire.frame(header(0x80010007)), "message_type"),
    "20 type 255": (wire.frame(header(0x800100ff)), "message_type"),
    "21 type 2, a reply": (wire.frame(header(0x80010002)), "message_type"),
    "21 type 3, an exception": (wire.frame(header(0x80010003)), "message_type"),
    **{f"22 frame of {n} bytes": (wire.frame(header(0x80010001, b"")[:n]), "header_short") for n in (1, 3, 4, 7, 8, 11)},
    "23 name length -1": (wire.frame(header(0x80010001, name_len=-1)), "name_length"),
    "23 name length 2^31-1": (wire.frame(header(0x80010001, name_len=2 ** 31 - 1)), "name_length"),
    "23 name length beyond the frame": (wire.frame(header(0x80010001, name_len=7)), "name_length"),
}


@pytest.mark.parametrize("case", CLOSED, ids=lambda c: c.replace(" ", "_"))
def test_first_bytes_that_close(world, case):
    data, _ = CLOSED[case]
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    link.send(data)
    closed_without_a_word(link)
    assert rejected(tside) == 1
    assert tside.calls() == 0
    still_serves(world, tside, callee, 0)


@pytest.mark.parametrize("case", CLOSED, ids=lambda c: c.replace(" ", "_"))
def test_later_bytes_that_close(world, case):
    """Behind good calls: those are answered, then the connection ends, and the cause is counted."""
    data, cause = CLOSED[case]
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    link.send(GOOD + data + GOOD)
    assert link.message().seqid == 7
    closed_without_a_word(link)
    assert tside.metric("tside_frames_rejected_total", cause=cause) == 1
    assert rejected(tside) == 1
    still_serves(world, tside, callee, 2)


FOREIGN = {
    "13 GET": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "http"),
    "13 POST": (b"POST /x HTTP/1.1\r\n\r\n", "http"),
    "13 PRI": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http"),
    "13 TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(32), "tls"),
    "13 SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "unknown"),
    "13 HELO": (b"HELO example.org\r\n", "unknown"),
    "14 unframed strict": (GOOD[4:], "unframed"),
    "14 framed non-strict, as scribe's": (wire.frame(U32.pack(3) + b"Log\x01" + U32.pack(7) + b"\0"), "framed_unversioned"),
    "14 framed protobuf of Kitex": (wire.frame(U32.pack(0x90010001) + U32.pack(3) + b"Log" + U32.pack(7)), "framed_protobuf"),
    "14 mesh header": (b"\xff\xaf\0\x08" + bytes(8) + GOOD, "meshheader"),
    "15 framed compact": (wire.frame(b"\x82\x21\x07\x05Visit\0"), "compact"),
    "15 unframed compact": (b"\x82\x21\x07\x05Visit\0", "compact"),
    "16 THeader": (wire.frame(b"\x0f\xff\0\0" + U32.pack(7) + b"\0\x01\0\0\0\0" + GOOD[4:]), "theader"),
    "16 TTHeader": (wire.frame(b"\x10\x00\0\0" + U32.pack(7) + b"\0\x01\0\0\0\0" + GOOD[4:]), "ttheader"),
}


@pytest.mark.parametrize("case", FOREIGN, ids=lambda c: c.replace(" ", "_"))
def test_foreign_protocols_are_recognised_and_closed(world, case):
    data, protocol = FOREIGN[case]
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    link.send(data)
    closed_without_a_word(link)
    assert tside.metric("tside_foreign_connections_total", protocol=protocol) == 1
    assert rejected(tside) == 1
    assert f"it sent {protocol}, no framed" in tside.wait_event("caller_rejected")["msg"]
    still_serves(world, tside, callee, 0)


# ---- bodies: refused as a request, and as a reply -------------------------------------------------


def structs(depth: int) -> bytes:
    """A struct in which `depth` structs nest, itself included."""
    return (b"\x0c\0\x01" * (depth - 1)) + b"\0" * depth


def lists(depth: int) -> bytes:
    inner = b"\x0f\0\0\0\x01" * (depth - 2) + b"\x08\0\0\0\0"
    return b"\x0f\0\x01" + inner + b"\0"


def struct_in_lists(depth: int) -> bytes:
    """Lists, and an empty struct in the innermost: the struct stands at `depth`."""
    return b"\x0f\0\x01" + b"\x0f\0\0\0\x01" * (depth - 3) + b"\x0c\0\0\0\x01" + b"\0" + b"\0"


def map_keys(depth: int) -> bytes:
    """Maps as keys of maps: {{{}: 0}: 0}: the innermost is empty."""
    head = b"\x0d\x03\0\0\0\x01" * (depth - 2) + b"\0\0\0\0\0\0"
    return b"\x0d\0\x01" + head + b"\x05" * (depth - 2) + b"\0"


def string_of(length: int, rest: bytes = b"abc\0") -> bytes:
    return b"\x0b\0\x01" + struct.pack(">i", length) + rest


def container_of(kind: bytes, types: bytes, count: int, rest: bytes = b"\0" * 16) -> bytes:
    return kind + b"\0\x01" + types + struct.pack(">i", count) + rest


FILLED = wire.encode(wire.STRUCT, [(1, wire.STRUCT, [(1, wire.STRING, "hello"), (255, wire.STRUCT, BASE[2])])])
BAD_BODIES = {
    "30 no stop": FILLED[:-1],
    "30 cut string": FILLED[:-6],
    "30 cut field header": FILLED[:-1] + b"\x0b\0",
    "30 nothing at all": b"",
    "31 trailing byte": FILLED + b"\0",
    "31 trailing 4 bytes": FILLED + b"abcd",
    "32 second message": FILLED + GOOD[4:],
    "32 second frame inside": FILLED + GOOD,
    "33 string length -1": string_of(-1),
    "33 string length -16": string_of(-16),
    "33 string length 2^31-1": string_of(2 ** 31 - 1),
    "33 string length remaining + 1": string_of(5),
    "34 list n -1": container_of(b"\x0f", b"\x08", -1),
    "34 list n 2^31-1": container_of(b"\x0f", b"\x0a", 2 ** 31 - 1),
    "34 list n 2^29 of i64": container_of(b"\x0f", b"\x0a", 2 ** 29),
    "34 list n remaining/min + 1": container_of(b"\x0f", b"\x0a", 3),
    "34 set n -1": container_of(b"\x0e", b"\x08", -1),
    "34 map n -1": container_of(b"\x0d", b"\x08\x08", -1),
    "34 map n 2^30 of i32 pairs": container_of(b"\x0d", b"\x08\x08", 2 ** 30),
    "34 map n remaining/min + 1": container_of(b"\x0d", b"\x08\x08", 3),
    "34 list<struct> n 2^31-1": container_of(b"\x0f", b"\x0c", 2 ** 31 - 1),
    "36 list of type 0": container_of(b"\x0f", b"\x00", 1),
    "36 list of type 1": container_of(b"\x0f", b"\x01", 2 ** 31 - 1),
    "36 map key of type 0": container_of(b"\x0d", b"\x00\x08", 1),
    "36 map value of type 1": container_of(b"\x0d", b"\x08\x01", 1),
    "37 bools as type 1": container_of(b"\x0f", b"\x01", 2, b"\x01\x02\0"),
    **{f"38 field type {t:#x}": bytes([t]) + b"\0\x01" + b"\0" * 17 for t in (1, 5, 7, 9, 17, 0x7f, 0x80, 0xff)},
    "38 element type 9": container_of(b"\x0f", b"\x09", 1),
    "39 depth 65, structs": structs(65),
    "39 depth 65, lists": lists(65),
    "39 depth 65, a struct in lists": struct_in_lists(65),
    "39 depth 10,000": structs(10_000),
    "39 depth 100,000, lists": lists(100_000),
    "39 depth 4,000,000": structs(4_000_000),
    "40 depth 65, map keys": map_keys(65),
}


@pytest.mark.parametrize("case", BAD_BODIES, ids=lambda c: c.replace(" ", "_"))
def test_bad_bodies_are_answered_kept_and_forwarded_nowhere(world, case):
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"callee": {"service": SERVICE}},))
    link = world.link(tside, timeout=20)
    bad = wire.frame(header(0x80010001, seqid=3)[:-1] + BAD_BODIES[case])
    link.send(GOOD + bad + GOOD)
    before, answer_, after = link.message(), link.message(), link.message()
    kind, said = answer_.exception
    assert (kind, answer_.seqid, answer_.name) == (7, 3, b"Visit")
    assert said.startswith("[tside bad_request] ")
    assert (before.server, after.server) == ("a", "a")
    assert callee.count == 2
    # A ONEWAY message never gets an answer, whatever happens to it.
    link.send(wire.frame(header(0x80010004, seqid=3)[:-1] + BAD_BODIES[case]) + GOOD)
    assert link.message().server == "a"
    tside.wait_calls(2, reason="bad_request")
    assert callee.count == 3


@pytest.mark.parametrize("case", BAD_BODIES, ids=lambda c: c.replace(" ", "_"))
def test_bad_bodies_of_replies_reach_no_caller(world, case):
    """So that no callee can slip an answer to another call into a caller's stream."""
    def script(link):
        if link.number > 0:
            return answer(link)
        request = link.message()
        link.send(wire.frame(header(0x80010002, seqid=request.seqid)[:-1] + BAD_BODIES[case]))
        assert link.frame() is None  # that connection goes

    callee = world.callee("a", script)
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 20000}})
    link = world.link(tside, timeout=20)
    reply = link.call("Visit", seqid=5)
    assert (reply.reason, reply.seqid) == ("upstream_protocol", 5)
    assert callee.links[0].gone.wait(5)
    assert link.call("Visit", seqid=6).server == "a"
    tside.wait_calls(1, reason="upstream_protocol")


# ---- bodies that are unusual and legal ------------------------------------------------------------


def with_base(first: bytes) -> bytes:
    """These fields of the arguments, then Base."""
    return first + wire.field(*BASE) + b"\0"


def blind(result: bytes):
    """A callee that does not look into its requests: decoding 4,000,000 elements here takes seconds."""
    def script(link):
        while True:
            request = link.frame()
            if request is None:
                return
            link.send(wire.frame(header(0x80010002, seqid=struct.unpack_from(">i", request, 13)[0])[:-1] + result))

    return script


LEGAL = {
    "35 list<struct> of STOPs": container_of(b"\x0f", b"\x0c", 1_000_000, b"\0" * 1_000_000),
    "36 empty list of type 0": container_of(b"\x0f", b"\x00", 0, b""),
    "36 empty map of types 0/0": container_of(b"\x0d", b"\x00\x00", 0, b""),
    "36 empty set of type 0x55": container_of(b"\x0e", b"\x55", 0, b""),
    "37 bool 2": b"\x02\0\x01\x02",
    "37 bool 255": b"\x02\0\x01\xff",
    "38 uuid": b"\x10\0\x01" + bytes(16),
    "38 list of uuid": container_of(b"\x0f", b"\x10", 2, bytes(32)),
    "39 depth 64, structs": structs(64)[:-1],
    "39 depth 64, lists": lists(64)[:-1],
    "39 depth 64, a struct in lists": struct_in_lists(64)[:-1],
    "40 depth 64, map keys": map_keys(64)[:-1],
    "45 negative field id": wire.field(-1, wire.I32, 1) + wire.field(-2 ** 15, wire.STRING, "x"),
    "45 field id 0": wire.field(0, wire.I32, 1),
    "46 non-UTF-8 string": wire.field(1, wire.STRING, b"\xff\xfe\xc0"),
}


@pytest.mark.parametrize("case", LEGAL, ids=lambda c: c.replace(" ", "_"))
def test_unusual_and_legal_both_ways(world, case):
    """Forwarded byte for byte, and relayed byte for byte."""
    args = with_base(LEGAL[case])
    result = LEGAL[case] + b"\0"
    callee = world.callee("a", blind(result))
    tside = world.tside(default=[callee], listeners=({"deadline": {"rewrite": False}},))
    link = world.link(tside, timeout=20)
    for seqid in (5, 6):
        link.send(wire.frame(header(0x80010001, seqid=seqid)[:-1] + args))
        body = link.frame()
        assert body == header(0x80010002, seqid=seqid)[:-1] + result
    assert [body[17:] for body in callee.bodies] == [args, args]


# ---- framing, one by one ---------------------------------------------------------------------------


def test_04_a_frame_of_exactly_the_limit_in_pieces(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], limits={"frame_bytes": 65536})
    room = 65536 - len(wire.call("Visit", blob=b"", seqid=7)) + 4
    # Remaining time and LogID would lift it over the limit: edits that do not fit are left out.
    frame = wire.call("Visit", blob=b"x" * room, seqid=7)
    assert len(frame) == 65536 + 4
    link = world.link(tside)
    for at in range(0, len(frame), 4000):
        link.send(frame[at:at + 4000])
    assert link.message().server == "a"
    assert callee.requests[0].args.get(1, 3) == b"x" * room
    assert tside.metric("tside_edits_dropped_total") == 1
    link.send(wire.call("Visit", blob=b"x" * (room + 1)))
    closed_without_a_word(link)
    assert tside.metric("tside_frames_rejected_total", cause="too_large") == 1


@pytest.mark.parametrize("sent", [1, 2, 3, 4, 5, 30])
def test_05_a_frame_begun_and_left(world, sent):
    callee = world.callee("a")
    tside = world.tside(default=[callee], timeouts={"frame_timeout_ms": 150})
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    link.send(GOOD[:sent])
    closed_without_a_word(link)
    assert tside.metric("tside_frames_rejected_total", cause="timeout") == 1
    still_serves(world, tside, callee, 1)


def test_06_slow_bytes_do_not_stretch_the_time_for_a_frame(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], timeouts={"frame_timeout_ms": 300})
    link = world.link(tside)
    pause = threading.Event()
    with pytest.raises((OSError, Closed)):
        for at in range(len(GOOD)):  # about 2 s in all
            link.send(GOOD[at:at + 1])
            pause.wait(0.02)
        raise AssertionError("the whole frame was taken")
    assert tside.metric("tside_frames_rejected_total", cause="timeout") == 1
    still_serves(world, tside, callee, 0)


def test_07_a_frame_cut_by_the_end(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    for cut in (1, 4, 20, len(GOOD) - 1):
        link = world.link(tside)
        link.send(GOOD[:cut])
        link.half_close()
        closed_without_a_word(link)
    wait_until(lambda: tside.metric("tside_frames_rejected_total", cause="cut") == 4)
    assert callee.links == []
    still_serves(world, tside, callee, 0)


def test_08_a_request_split_at_every_byte(world):
    """Of the first frame of a connection, whose bytes are looked at twice, and of the second."""
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    for cut in range(1, len(GOOD)):
        link = world.link(tside)
        for _ in range(2):
            send_split(link, GOOD, cut)
            reply = link.message()
            assert (reply.server, reply.seqid) == ("a", 7)
        link.close()
    assert callee.count == 2 * (len(GOOD) - 1)


@pytest.mark.parametrize("n", [2, 50])
def test_09_many_frames_in_one_segment(world, n):
    tside = world.tside(default=[world.callee("a")])
    link = world.link(tside)
    link.send(b"".join(wire.call("Visit", seqid=i, say=str(i)) for i in range(n)))
    assert [link.message().seqid for _ in range(n)] == list(range(n))


def test_10_pipelining_without_reading_pauses_then_ends(world):
    """A caller that takes no replies is read no further, and closed after write_stall_ms."""
    callee = world.callee("a", answer_with(lambda r: wire.reply(r, wire.response("a", blob=b"x" * 20_000))))
    tside = world.tside(default=[callee], timeouts={"write_stall_ms": 400})
    link = world.link(tside, timeout=15)
    sent = 0
    try:
        for _ in range(10_000):
            link.sock.settimeout(15)
            link.sock.sendall(GOOD)
            sent += 1
    except OSError:
        pass
    wait_until(lambda: tside.metric("tside_write_stalls_total") == 1, 10)
    wait_until(lambda: tside.metric("tside_downstream_connections") == 0)
    assert callee.count < 5000, "reading went on and on"
    wait_until(lambda: tside.calls(reason="downstream_gone") > 0)
    assert world.link(tside).call("Visit").server == "a"


def test_11_a_request_then_half_close(world):
    tside = world.tside(default=[world.callee("a")])
    link = world.link(tside)
    link.send(GOOD)
    link.half_close()
    assert link.message().seqid == 7
    closed_without_a_word(link)


SLOW_TO_PROVE = container_of(b"\x0f", b"\x0c", 4_000_000, b"\0" * 4_000_000)


def test_11_a_request_that_is_slow_to_prove_then_half_close(world):
    tside = world.tside(default=[world.callee("a", blind(b"\0"))], rules={KEY: {"timeout_ms": 20000}})
    for seqid in range(5):
        link = world.link(tside, timeout=20)
        link.send(wire.frame(header(0x80010001, seqid=seqid)[:-1] + with_base(SLOW_TO_PROVE)))
        link.half_close()
        assert link.message().seqid == seqid
        closed_without_a_word(link)


def test_12_a_reset_while_a_call_is_in_flight(world):
    """The late reply is swallowed, and the upstream connection serves the next call."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], workers=1)
    callee.gate.clear()
    link = world.link(tside)
    link.send(GOOD)
    wait_until(lambda: callee.count == 1)
    link.reset()
    wait_until(lambda: tside.metric("tside_downstream_connections") == 0)
    callee.gate.set()
    tside.wait_calls(1, reason="downstream_gone")
    assert world.link(tside).call("Visit", say="next").args.get(0, 2) == b"next"
    assert len(callee.links) == 1


# ---- headers that are accepted or answered ----------------------------------------------------------


def test_18_the_unused_byte_is_forwarded(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    for unused in (0x01, 0x5a, 0xff):
        link.send(wire.frame(wire.message("Visit", [BASE], version=wire.STRICT | unused << 8)))
        assert link.message().server == "a"
        assert callee.bodies[-1][2] == unused


def test_24_an_empty_name(world):
    tside = world.tside(default=[world.callee("a")])
    link = world.link(tside)
    reply = link.call("", seqid=4)
    assert (reply.reason, reply.exception[0], reply.seqid, reply.name) == ("bad_request", 7, 4, b"")
    assert link.call("Visit").server == "a"


@pytest.mark.parametrize("name, shown", [
    (b"\xff\xfe", "\\xFF\\xFE"), (b"a\0b", "a\\x00b"), (b"a/b", "a/b"), (b"../..", "../.."), (b"a%2Fb", "a%2Fb"),
    (b'a\nb"\\', 'a\\x0Ab"\\'), (b"*", "*"),
], ids=str)
def test_25_names_of_any_bytes_are_carried_and_shown_escaped(world, name, shown):
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"access_log": 1}}, default=[callee])
    assert world.link(tside).call(name).server == "a"
    assert callee.requests[0].name == name
    tside.wait_calls(1, method=shown, reason="ok")
    assert tside.wait_event("call")["method"] == shown


def test_25_a_name_of_16_mb(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside, timeout=20)
    reply = link.call("n" * 16_000_000)
    assert reply.reason == "bad_request" and len(reply.body) < 4096
    assert callee.count == 0
    assert link.call("Visit").server == "a"


@pytest.mark.parametrize("name, to, method", [
    (b"A:b:c", "A", "b:c"), (b":x", None, None), (b"x:", None, None), (b":", None, None),
])
def test_26_multiplexed_names(world, name, to, method):
    callee = world.callee("a")
    tside = world.tside(services={f"A/default/{callee.address}": {}}, default=[callee])
    link = world.link(tside)
    reply = link.call(name, to=None)
    if to is None:
        assert reply.reason == ("no_route" if name == b":x" else "bad_request")
        assert callee.count == 0
    else:
        assert reply.server == "a" and callee.requests[0].name == name
        tside.wait_calls(1, to=to, method=method)
    assert link.call("Visit").server == "a"


def test_27_seqids(world):
    tside = world.tside(default=[world.callee("a")])
    link = world.link(tside)
    seqids = [0, -1, -2 ** 31, 2 ** 31 - 1, 5, 5, 5, 0, 0]
    link.send(b"".join(wire.call("Visit", seqid=seqid) for seqid in seqids))
    assert [link.message().seqid for _ in seqids] == seqids


def test_28_oneway_on_a_two_way_method(world):
    """Forwarded, its answer dropped; one that must be refused is dropped and counted."""
    callee = world.callee("a", answer_with(lambda r: wire.reply(r, wire.response("a"))))
    tside = world.tside(default=[callee])
    link = world.link(tside)
    link.send(wire.call("Visit", type_=wire.ONEWAY) + wire.call("Visit", type_=wire.ONEWAY, to=None))
    wait_until(lambda: tside.metric("tside_oneway_answer_bytes_dropped_total") > 0)
    tside.wait_calls(1, reason="no_route")
    assert link.call("Visit", seqid=8).seqid == 8


def test_29_a_call_of_a_oneway_method(world):
    """Times out; the connection that may still bring an answer is not used again."""
    callee = world.callee("a", lambda link: silent(link) if link.number == 0 else answer(link))
    tside = world.tside(rules={f"*/*/{SERVICE}/*/Tell/config": {"timeout_ms": 80}}, default=[callee])
    link = world.link(tside)
    assert link.call("Tell").reason == "timeout"
    assert callee.links[0].gone.wait(3)
    assert link.call("Visit").server == "a"


# ---- Base ------------------------------------------------------------------------------------------


def args_call(*fields) -> bytes:
    return wire.frame(wire.message("Visit", list(fields)))


TO_A = wire.base(extra={"dest_service": SERVICE})
TO_NONE = wire.base(extra={"dest_service": "nobody"})
BASES = {
    "41 no 255": (args_call((1, wire.I32, 1)), "no_route"),
    "41 255 is an i32": (args_call((255, wire.I32, 1)), "no_route"),
    "41 255 is a string": (args_call((255, wire.STRING, "x")), "no_route"),
    "42 255 twice": (args_call((255, wire.STRUCT, TO_NONE), (255, wire.STRUCT, TO_A)), "a"),
    "43 in the second argument": (args_call((1, wire.I32, 1), (2, wire.STRUCT, [(255, wire.STRUCT, TO_A)])), "a"),
    "43 of several: the lowest id": (args_call((2, wire.STRUCT, [(255, wire.STRUCT, TO_NONE)]),
                                               (1, wire.STRUCT, [(255, wire.STRUCT, TO_A)])), "a"),
    "44 Caller empty": (wire.call(caller=""), "a"),
    "44 Caller of 1 MB": (wire.call(caller="c" * 1_000_000), "bad_request"),
    "44 Caller not UTF-8": (wire.call(caller=b"\xff\xfe"), "a"),
    "44 Caller a/b": (wire.call(caller="a/b"), "a"),
    "44 Extra of another type": (args_call((255, wire.STRUCT, [
        (2, wire.STRING, "app"), (6, wire.MAP, (wire.STRING, wire.I64, {"dest_service": 1}))])), "no_route"),
    "44 Extra of 10,000 entries": (wire.call(extra={f"key-{i}": "v" * 20 for i in range(10_000)}), "a"),
    "44 duplicate keys": (wire.call(to="nobody", extra=[("dest_service", SERVICE)]), "a"),
}


@pytest.mark.parametrize("case", BASES, ids=lambda c: c.replace(" ", "_"))
def test_bases(world, case):
    frame, expected = BASES[case]
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    link.send(frame)
    reply = link.message()
    assert (reply.server or reply.reason) == expected
    assert callee.count == (expected == "a")
    assert link.call("Visit").server == "a"


@pytest.mark.parametrize("case", [c for c in BASES if c.startswith("41")], ids=lambda c: c.replace(" ", "_"))
def test_41_without_base_the_listener_names_the_callee(world, case):
    """And the arguments are forwarded byte for byte: there is no place for edits."""
    frame, _ = BASES[case]
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"callee": {"service": SERVICE}},))
    link = world.link(tside)
    link.send(frame)
    assert link.message().server == "a"
    assert callee.bodies[0][17:] == frame[21:]


def test_46_ordinary_strings_are_forwarded_untouched(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    text = bytes(range(256)) * 4
    assert world.link(tside).call("Visit", say=text).args.get(0, 2) == text


# ---- the callee is untrusted, too --------------------------------------------------------------------


def visit(request: wire.Message, said: bytes = b"") -> bytes:
    return wire.reply(request, wire.response("a", said))


def reply_header(request: wire.Message, version_type: int = 0x80010002, **kwargs) -> bytes:
    return wire.frame(header(version_type, seqid=request.seqid, **kwargs))


WRONG_REPLIES = {
    "01 length 0": lambda r: U32.pack(0),
    "02 length -1": lambda r: U32.pack(0xffffffff) + visit(r),
    "02 length 0x80000000": lambda r: U32.pack(0x80000000) + visit(r),
    "13 HTTP": lambda r: b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "14 unframed": lambda r: visit(r)[4:],
    "15 compact": lambda r: wire.frame(b"\x82\x41\x07\x05Visit\0"),
    "16 THeader": lambda r: wire.frame(b"\x0f\xff\0\0" + U32.pack(7) + b"\0\x01\0\0\0\0" + visit(r)[4:]),
    "17 version 0x8002": lambda r: reply_header(r, 0x80020002),
    "17 version 0xC001": lambda r: reply_header(r, 0xc0010002),
    "19 non-strict header": lambda r: wire.frame(
        struct.pack(">i", 5) + b"Visit\x02" + struct.pack(">i", r.seqid) + b"\0"),
    **{f"20 type {t}": (lambda r, t=t: reply_header(r, 0x80010000 | t)) for t in (0, 5, 9, 255)},
    **{f"22 frame of {n} bytes": (lambda r, n=n: wire.frame(header(0x80010002, b"", r.seqid)[:n]))
       for n in (1, 3, 4, 7, 8, 11)},
    "23 name length -1": lambda r: reply_header(r, name_len=-1),
    "23 name length 2^31-1": lambda r: reply_header(r, name_len=2 ** 31 - 1),
    "23 name length beyond the frame": lambda r: reply_header(r, name_len=7),
    "47 unknown seqid": lambda r: wire.reply(r, [], seqid=r.seqid ^ 1),
    "47 seqid 0": lambda r: wire.reply(r, [], seqid=0) if r.seqid else wire.reply(r, [], seqid=1),
    "47 type CALL": lambda r: wire.reply(r, [], wire.CALL),
    "47 type ONEWAY": lambda r: wire.reply(r, [], wire.ONEWAY),
    "47 another name": lambda r: wire.reply(r, [], name=b"Other"),
    "47 no name": lambda r: wire.reply(r, [], name=b""),
    "48 another service's name": lambda r: wire.reply(r, [], name=b"other:Visit"),
}
TOLD_AS_LENGTHS = ("02", "13")  # their first four bytes are one above the limit


@pytest.mark.parametrize("case", WRONG_REPLIES, ids=lambda c: c.replace(" ", "_"))
def test_wrong_replies_are_upstream_protocol(world, case):
    def script(link):
        if link.number > 0:
            return answer(link)
        link.send(WRONG_REPLIES[case](link.message()))
        assert link.frame() is None

    callee = world.callee("a", script)
    tside = world.tside(default=[callee])
    link = world.link(tside)
    reply = link.call("Visit", seqid=5)
    told = "frame_too_large" if case[:2] in TOLD_AS_LENGTHS else "upstream_protocol"
    assert (reply.reason, reply.seqid) == (told, 5)
    assert callee.links[0].gone.wait(5)
    assert link.call("Visit").server == "a"


def test_08_a_reply_split_at_every_byte(world):
    cuts = iter(range(1, 10_000))

    def script(link):
        while True:
            request = link.frame()
            if request is None:
                return
            data = visit(wire.read_message(request), b"split")
            send_split(link, data, next(cuts) % len(data) or 1)

    tside = world.tside(default=[world.callee("a", script)], rules={KEY: {"timeout_ms": 20000}})
    link = world.link(tside)
    length = len(visit(wire.read_message(GOOD[4:]), b"split"))
    for seqid in range(1, length):
        reply = link.call("Visit", seqid=seqid)
        assert (reply.args.get(0, 2), reply.seqid) == (b"split", seqid)
    assert next(cuts) == length


def test_18_the_unused_byte_of_a_reply_is_relayed(world):
    unused = iter((0x01, 0x5a, 0xff))
    callee = world.callee("a", answer_with(lambda r: reply_header(r, 0x80010002 | next(unused) << 8)))
    tside = world.tside(default=[callee])
    link = world.link(tside)
    for byte in (0x01, 0x5a, 0xff):
        link.send(GOOD)
        assert link.frame() == header(0x80010002 | byte << 8, seqid=7)


def test_47_a_reply_before_the_request_was_sent(world):
    """Right in every byte, but it cannot be the answer to what was not yet asked."""
    told = threading.Event()

    def script(link):
        if link.number > 0:
            return answer(link)
        head = b""
        while len(head) < 21:  # of 8 MB, up to the seqid
            head += link.sock.recv(21 - len(head))
        link.send(wire.frame(header(0x80010002, seqid=struct.unpack(">i", head[-4:])[0])))
        told.wait(30)  # and reads no further

    callee = world.callee("a", script)
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 20000, "send_timeout_ms": 20000}})
    link = world.link(tside, timeout=20)
    reply = link.call("Visit", seqid=5, blob=b"x" * 8_000_000)
    told.set()
    assert (reply.reason, reply.seqid) == ("upstream_protocol", 5)
    assert "the reply came before the request was sent" in reply.exception[1]
    assert link.call("Visit").server == "a"


def test_47_bytes_on_an_idle_connection(world):
    """An answer to no call: the connection goes, the next call takes another."""
    go = threading.Event()

    def script(link):
        request = link.message()
        link.send(visit(request))
        if link.number == 0:
            go.wait(10)
            link.send(visit(request, b"unasked"))
            assert link.frame() is None
        else:
            answer(link)

    callee = world.callee("a", script)
    tside = world.tside(default=[callee], workers=1)
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    go.set()
    assert callee.links[0].gone.wait(5)
    assert link.call("Visit", say="mine").args.get(0, 2) == b""
    assert len(callee.links) == 2


@pytest.mark.parametrize("name", [b"Visit", b"svc:Visit"])
def test_48_the_reply_may_bear_the_bare_name_or_the_one_sent(world, name):
    callee = world.callee("a", answer_with(lambda r: wire.reply(r, wire.response("a"), name=name)))
    tside = world.tside(services={f"svc/default/{callee.address}": {}})
    reply = world.link(tside).call("svc:Visit", to=None)
    assert (reply.server, reply.name) == ("a", name)


@pytest.mark.parametrize("name", [b"xyz:Visit", b"sv:Visit", b"svcs:Visit", b":Visit", b"svc:Visim", b"svc.Visit"])
def test_48_the_reply_under_another_services_name(world, name):
    def script(link):
        if link.number > 0:
            return answer(link)
        link.send(wire.reply(link.message(), [], name=name))
        assert link.frame() is None

    callee = world.callee("a", script)
    tside = world.tside(services={f"svc/default/{callee.address}": {}})
    link = world.link(tside)
    assert link.call("svc:Visit", to=None).reason == "upstream_protocol"
    assert callee.links[0].gone.wait(5)
    assert link.call("svc:Visit", to=None).server == "a"


def test_49_a_reply_that_comes_twice(world):
    callee = world.callee("a", answer_with(lambda r: visit(r, r.args.get(1, 1)) * 2))
    tside = world.tside(default=[callee])
    link = world.link(tside)
    for i in range(20):
        assert link.call("Visit", say=str(i)).args.get(0, 2) == str(i).encode()


def test_50_a_reply_that_never_comes(world):
    callee = world.callee("a", lambda link: silent(link) if link.number == 0 else answer(link))
    tside = world.tside(rules={KEY: {"timeout_ms": 80}}, default=[callee])
    link = world.link(tside)
    assert link.call("Visit").reason == "timeout"
    assert callee.links[0].gone.wait(5)
    assert link.call("Visit").server == "a"


@pytest.mark.parametrize("cut", [1, 4, 10, 30])
def test_51_a_reply_cut_by_the_end(world, cut):
    def script(link):
        if link.number > 0:
            return answer(link)
        link.send(visit(link.message())[:cut])

    tside = world.tside(default=[world.callee("a", script)])
    link = world.link(tside)
    reply = link.call("Visit", seqid=5)
    assert (reply.reason, reply.seqid) == ("upstream_reset", 5)
    assert link.call("Visit").server == "a"


@pytest.mark.parametrize("result", [b"\0", wire.encode(wire.STRUCT, wire.response("a", blob=b"x" * 3_000_000)),
                                    SLOW_TO_PROVE + b"\0"], ids=["small", "large", "slow_to_prove"])
def test_51_a_whole_reply_then_the_end(world, result):
    """The end behind a reply takes nothing of it away, however long its proof takes."""
    def script(link):
        request = link.message()
        link.send(wire.frame(header(0x80010002, seqid=request.seqid)[:-1] + result))

    tside = world.tside(default=[world.callee("a", script)], rules={KEY: {"timeout_ms": 20000}})
    link = world.link(tside, timeout=20)
    for seqid in range(5):
        link.send(wire.call("Visit", seqid=seqid))
        assert link.frame() == header(0x80010002, seqid=seqid)[:-1] + result
        # Else the next call may go out on this connection before its end is seen, and be lost with it.
        wait_until(lambda: tside.metric("tside_upstream_connections", state="open") == 0)


@pytest.mark.parametrize("length", [65537, 16384001, 0x7fffffff])
def test_52_a_reply_above_the_limit(world, length):
    def script(link):
        if link.number > 0:
            return answer(link)
        link.frame()
        link.send(U32.pack(length) + b"\x80\x01\0\x02")
        assert link.frame() is None

    callee = world.callee("a", script)
    tside = world.tside(default=[callee], limits={"frame_bytes": 65536})
    link = world.link(tside)
    assert link.call("Visit", seqid=5).reason == "frame_too_large"
    assert callee.links[0].gone.wait(5)
    assert link.call("Visit").server == "a"


def test_53_seqids_in_use_are_never_given_out_twice(world):
    """Of the calls that are out at once, on any connection, none answers for another."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], workers=1)
    links = world.spread(tside, 4)
    for turn in range(30):
        callee.gate.clear()
        callee.forget()
        for i, link in enumerate(links):
            link.send(b"".join(wire.call("Visit", seqid=0, say=f"{turn}/{i}/{k}") for k in range(4)))
        wait_until(lambda: callee.count == 16)
        assert len({request.seqid for request in callee.requests}) == 16
        callee.gate.set()
        for i, link in enumerate(links):
            assert [link.message().args.get(0, 2) for _ in range(4)] == [
                f"{turn}/{i}/{k}".encode() for k in range(4)]


def test_54_a_callee_that_closes_behind_accepting(world):
    """What may have reached it is not sent again; what provably did not, is."""
    def script(link):
        if link.number == 1:
            link.frame()  # the call is here, and the connection ends without an answer
            return
        answer(link)

    callee = world.callee("a", script)
    tside = world.tside(default=[callee], workers=1)
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    callee.close_all()
    wait_until(lambda: tside.metric("tside_upstream_connections", state="open") == 0)
    assert link.call("Visit", say="once").reason == "upstream_reset"
    assert sum(request.args.get(1, 1) == b"once" for request in callee.requests) == 1
    assert link.call("Visit").server == "a"


# ---- the list is whole -------------------------------------------------------------------------------


# What only a connection of its own, or only Base, can bring; and what a callee's wrong answer is.
CALLERS_ALONE = {4, 5, 6, 7, 9, 10, 11, 12, 21, *range(24, 30), *range(41, 45)}
CALLEES_ALONE = set(range(47, 55))


def test_all_54():
    """Every number from every side from which it can come."""
    def numbered(*tables):
        return {int(name[:2]) for table in tables for name in table}

    def tests(text):
        return {int(n) for n in re.findall(r"^def test_(\d\d)_", text, flags=re.M)}

    callers, _, callees = Path(__file__).read_text().partition("\n# ---- the callee is untrusted, too --")
    from_callers = numbered(CLOSED, FOREIGN, BAD_BODIES, LEGAL, BASES) | tests(callers)
    from_callees = numbered(BAD_BODIES, LEGAL, WRONG_REPLIES) | tests(callees)
    every = set(range(1, 55))
    assert from_callers == every - CALLEES_ALONE
    assert from_callees >= every - CALLERS_ALONE - {3} and 52 in from_callees  # 3 is 52's on that side
