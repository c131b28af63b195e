"""Who calls whom: every row of docs/specification.md, section 1, through real calls."""

import json

import pytest

from support import wire
from support.raw import Link
from support.tside import Tside
from support.wait import wait_until

NAMES = ("from", "from_cluster", "to", "to_cluster", "method")


def seen(tside: Tside) -> list[tuple]:
    """The tuples that calls were counted under: (five names, reason); an unknown name is "-" or empty."""
    return [tuple(labels[name] or "-" for name in NAMES) + (labels["reason"],)
            for found, labels, value in tside.metrics() if found == "tside_calls_total" and value > 0]


def expect(tside: Tside, link: Link, frame: bytes, names: tuple, reason: str = "no_endpoint") -> wire.Message:
    """This frame is a call of these names. No endpoint serves it, so that the answer names its tuple."""
    link.send(frame)
    reply = link.message()
    assert reply.reason == reason, reply
    wait_until(lambda: seen(tside), 5, "the call counted")
    assert seen(tside) == [tuple(names) + (reason,)]
    return reply


def user_extra(**values: object) -> dict:
    return {"user_extra": json.dumps(values)}


BASE_CASES = {
    "all given": (dict(caller="app", from_cluster="fc", to="svc", to_cluster="tc"),
                  ("app", "fc", "svc", "tc", "Visit")),
    "caller absent": (dict(caller=None, to="svc"), ("none", "default", "svc", "default", "Visit")),
    "caller empty": (dict(caller="", to="svc"), ("none", "default", "svc", "default", "Visit")),
    "caller dash": (dict(caller="-", to="svc"), ("none", "default", "svc", "default", "Visit")),
    "clusters empty": (dict(from_cluster="", to="svc", to_cluster=""),
                       ("app.feed", "default", "svc", "default", "Visit")),
    "clusters dash": (dict(from_cluster="-", to="svc", to_cluster="-"),
                      ("app.feed", "default", "svc", "default", "Visit")),
    "user_extra service": (dict(to=None, extra=user_extra(dest_service="svc")),
                           ("app.feed", "default", "svc", "default", "Visit")),
    "user_extra both": (dict(to=None, extra=user_extra(x={"dest_service": "no"}, dest_service="svc",
                                                       dest_cluster="tc")),
                        ("app.feed", "default", "svc", "tc", "Visit")),
    "Extra before user_extra": (dict(to="svc", extra=user_extra(dest_service="no", dest_cluster="tc")),
                                ("app.feed", "default", "svc", "tc", "Visit")),
    "Extra empty, user_extra counts": (dict(to="", extra=user_extra(dest_service="svc")),
                                       ("app.feed", "default", "svc", "default", "Visit")),
    "Extra dash, user_extra counts": (dict(to="-", to_cluster="-",
                                           extra=user_extra(dest_service="svc", dest_cluster="tc")),
                                      ("app.feed", "default", "svc", "tc", "Visit")),
    "user_extra with escapes": (dict(to=None, extra={"user_extra": '{"dest_\\u0073ervice":"sv\\u0063"}'}),
                                ("app.feed", "default", "svc", "default", "Visit")),
    "duplicate Extra key: the last": (dict(to="no", extra=[("dest_service", "svc")]),
                                      ("app.feed", "default", "svc", "default", "Visit")),
    "256 bytes": (dict(caller="c" * 256, to="s" * 256, method="m" * 256, from_cluster="f" * 256,
                       to_cluster="t" * 256), ("c" * 256, "f" * 256, "s" * 256, "t" * 256, "m" * 256)),
    "multiplexed": (dict(to=None, method="svc:Visit"), ("app.feed", "default", "svc", "default", "Visit")),
    "multiplexed, first colon": (dict(to=None, method="svc:a:b"),
                                 ("app.feed", "default", "svc", "default", "a:b")),
    "Extra before the prefix": (dict(to="svc", method="no:Visit"),
                                ("app.feed", "default", "svc", "default", "Visit")),
    "user_extra before the prefix": (dict(to=None, method="no:Visit", extra=user_extra(dest_service="svc")),
                                     ("app.feed", "default", "svc", "default", "Visit")),
    "empty prefix": (dict(to="svc", method=":Visit"), ("app.feed", "default", "svc", "default", "Visit")),
    "control bytes are shown escaped": (dict(to="s\nv\x00c\x7f", method="a/b%*"),
                                        ("app.feed", "default", "s\\x0Av\\x00c\\x7F", "default", "a/b%*")),
    "what ends lines and drives terminals is shown escaped": (
        dict(caller="a\u0085b", to="\u2028", to_cluster="\u2029", method="\u009b1m"),
        ("a\\xC2\\x85b", "default", "\\xE2\\x80\\xA8", "\\xE2\\x80\\xA9", "\\xC2\\x9B1m")),
    "bytes outside UTF-8 are shown escaped": (dict(to="svc", caller=b"\xffx\xc3\xa4"),
                                              ("\\xFFxä", "default", "svc", "default", "Visit")),
}


@pytest.mark.parametrize("case", BASE_CASES, ids=lambda c: c.replace(" ", "_"))
def test_names_from_base(world, case):
    args, names = BASE_CASES[case]
    args = dict(args)
    tside = world.tside()
    expect(tside, world.link(tside), wire.call(args.pop("method", "Visit"), **args), names)


LISTENER = ({"caller": {"service": "lsn.app", "cluster": "lsn.fc"},
             "callee": {"service": "lsn.svc", "cluster": "lsn.tc"}},)
LISTENER_CASES = {
    "no Base": (wire.call("Visit", base_fields=None), ("lsn.app", "lsn.fc", "lsn.svc", "lsn.tc", "Visit")),
    "no arguments": (wire.frame(wire.message("Visit", [])), ("lsn.app", "lsn.fc", "lsn.svc", "lsn.tc", "Visit")),
    "empty and dash": (wire.call("Visit", caller="-", from_cluster="", to="-", to_cluster=""),
                       ("lsn.app", "lsn.fc", "lsn.svc", "lsn.tc", "Visit")),
    "Base wins": (wire.call("Visit", caller="a", from_cluster="b", to="c", to_cluster="d"),
                  ("a", "b", "c", "d", "Visit")),
    "prefix wins": (wire.call("p.svc:Visit", to=None), ("app.feed", "lsn.fc", "p.svc", "lsn.tc", "Visit")),
    "empty prefix, listener": (wire.call(":Visit", to=None), ("app.feed", "lsn.fc", "lsn.svc", "lsn.tc", "Visit")),
    "dash prefix, listener": (wire.call("-:Visit", to=None), ("app.feed", "lsn.fc", "lsn.svc", "lsn.tc", "Visit")),
    "broken user_extra": (wire.call("Visit", to=None, extra={"user_extra": '{"dest_service": "x"'}),
                          ("app.feed", "lsn.fc", "lsn.svc", "lsn.tc", "Visit")),
    "user_extra of another type": (wire.call("Visit", to=None, extra={"user_extra": '{"dest_service": 7}'}),
                                   ("app.feed", "lsn.fc", "lsn.svc", "lsn.tc", "Visit")),
}


@pytest.mark.parametrize("case", LISTENER_CASES, ids=lambda c: c.replace(" ", "_"))
def test_names_from_the_listener(world, case):
    frame, names = LISTENER_CASES[case]
    tside = world.tside(listeners=LISTENER)
    expect(tside, world.link(tside), frame, names)


def request_args(*fields) -> bytes:
    return wire.frame(wire.message("Visit", list(fields)))


def named(to: str, **kwargs) -> list:
    return wire.base(extra={"dest_service": to}, **kwargs)


BASE_PLACES = {
    "in 255 of the arguments": request_args((1, wire.STRUCT, [(255, wire.STRUCT, named("no"))]),
                                            (255, wire.STRUCT, named("svc"))),
    "in 255 of the first struct argument": request_args(
        (1, wire.I32, 5), (2, wire.STRUCT, [(255, wire.STRUCT, named("svc"))]),
        (3, wire.STRUCT, [(255, wire.STRUCT, named("no"))])),
    "lowest id, not first on the wire": request_args(
        (3, wire.STRUCT, [(255, wire.STRUCT, named("no"))]), (2, wire.STRUCT, [(255, wire.STRUCT, named("svc"))])),
    "255 twice: the last": request_args((255, wire.STRUCT, named("no")), (255, wire.STRUCT, named("svc"))),
    "255 twice within the request": request_args(
        (1, wire.STRUCT, [(255, wire.STRUCT, named("no")), (255, wire.STRUCT, named("svc"))])),
    "the argument twice: the last": request_args(
        (1, wire.STRUCT, [(255, wire.STRUCT, named("no"))]), (1, wire.STRUCT, [(255, wire.STRUCT, named("svc"))])),
    "Extra in field 1": request_args((255, wire.STRUCT, [
        (2, wire.STRING, "app.feed"), (1, wire.MAP, wire.string_map({"dest_service": "svc"}))])),
    "Extra in field 3": request_args((255, wire.STRUCT, named("svc", extra_id=3, canonical=False))),
    "Extra in field 5": request_args((255, wire.STRUCT, named("svc", extra_id=5))),
    "Extra: the lowest id": request_args((255, wire.STRUCT, [
        (2, wire.STRING, "app.feed"), (6, wire.MAP, wire.string_map({"dest_service": "no"})),
        (5, wire.MAP, wire.string_map({"dest_service": "svc"}))])),
    "Extra twice: the last": request_args((255, wire.STRUCT, [
        (2, wire.STRING, "app.feed"), (6, wire.MAP, wire.string_map({"dest_service": "no"})),
        (6, wire.MAP, wire.string_map({"dest_service": "svc"}))])),
    "Extra of another type is passed over": request_args((255, wire.STRUCT, [
        (2, wire.STRING, "app.feed"), (3, wire.MAP, (wire.STRING, wire.I32, {"dest_service": 1})),
        (6, wire.MAP, wire.string_map({"dest_service": "svc"}))])),
    "fields in any order": request_args((255, wire.STRUCT, [
        (6, wire.MAP, wire.string_map({"dest_service": "svc"})), (-1, wire.I32, 1), (2, wire.STRING, "app.feed")])),
    "Caller twice: the last": request_args((255, wire.STRUCT, [
        (2, wire.STRING, "no"), (2, wire.STRING, "app.feed"),
        (6, wire.MAP, wire.string_map({"dest_service": "svc"}))])),
}


@pytest.mark.parametrize("case", BASE_PLACES, ids=lambda c: c.replace(" ", "_"))
def test_where_base_stands(world, case):
    tside = world.tside()
    expect(tside, world.link(tside), BASE_PLACES[case], ("app.feed", "default", "svc", "default", "Visit"))


NO_BASE = {
    "absent": request_args((1, wire.STRUCT, [(1, wire.STRING, "x")])),
    "255 is an i32": request_args((255, wire.I32, 5)),
    "255 is a string": request_args((1, wire.STRUCT, [(255, wire.STRING, "x")])),
    "Caller is an i32, Extra a list": request_args((255, wire.STRUCT, [
        (2, wire.I32, 5), (6, wire.LIST, (wire.STRING, ["dest_service"]))])),
    "Extra empty with codes 0/0": request_args((255, wire.STRUCT, [(6, wire.MAP, wire.Raw(b"\0\0\0\0\0\0"))])),
    "255 twice, the last no struct": request_args((255, wire.STRUCT, named("no")), (255, wire.I32, 1)),
}


@pytest.mark.parametrize("case", NO_BASE, ids=lambda c: c.replace(" ", "_"))
def test_a_base_that_is_absent_or_of_other_types_is_no_error(world, case):
    """Then nothing names the callee; with a listener that does, the call goes on."""
    tside = world.tside(listeners=({}, *LISTENER))
    expect(tside, world.link(tside), NO_BASE[case], ("none", "default", "-", "default", "Visit"), "no_route")
    assert world.link(tside, 1).call("Visit", base_fields=None).reason == "no_endpoint"


@pytest.mark.parametrize("what", ["caller", "from_cluster", "to", "to_cluster", "method"])
def test_a_name_of_257_bytes_is_a_bad_request(world, what):
    callee = world.callee("a")
    tside = world.tside(default=[callee], services={f"{'n' * 257}/default/{callee.address}": {}})
    args = {what: "n" * 257}
    link = world.link(tside)
    link.send(wire.call(args.pop("method", "Visit"), **args))
    reply = link.message()
    assert (reply.reason, reply.exception[0]) == ("bad_request", 7)
    assert callee.count == 0
    assert link.call("Visit").server == "a"


@pytest.mark.parametrize("name, bare", [("", b""), ("svc:", b""), ("-", b"-"), ("svc:-", b"-"), (":-", b"-")])
def test_a_call_without_a_method_is_a_bad_request(world, name, bare):
    """"-" counts as absent; but it is the name that the client looks for in its answer."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], services={f"svc/default/{callee.address}": {}})
    link = world.link(tside)
    reply = link.call(name, seqid=4)
    assert (reply.reason, reply.name, reply.seqid) == ("bad_request", bare, 4)
    link.send(wire.frame(wire.message(name, wire.Raw(b"\0\0"), seqid=5)))  # bad by its body, too
    reply = link.message()
    assert (reply.reason, reply.name, reply.seqid) == ("bad_request", bare, 5)
    assert callee.count == 0
    tside.wait_calls(2, method="-", reason="bad_request")
    assert link.call("Visit").server == "a"


def test_a_bad_body_is_answered_under_the_bare_name(world):
    link = world.link(world.tside(default=[world.callee("a")]))
    link.send(wire.frame(wire.message("svc:Visit", wire.Raw(b"\0\0"), seqid=3)))
    reply = link.message()
    assert (reply.reason, reply.name, reply.seqid) == ("bad_request", b"Visit", 3)


def test_answers_bear_the_bare_method_and_the_tuple_to_explain(world):
    tside = world.tside()
    link = world.link(tside)
    reply = link.call("svc:Vi/si%t", to=None, seqid=-3, from_cluster="*")
    assert (reply.name, reply.seqid, reply.type) == (b"Vi/si%t", -3, wire.EXCEPTION)
    kind, said = reply.exception
    assert kind == 6
    assert said.startswith("[tside no_endpoint] ")
    assert said.endswith(" tside explain app.feed/%2A/svc/default/Vi%2Fsi%25t"), said


def test_rules_match_encoded_names_bytewise(world):
    """A name with reserved bytes is found under its encoded key, and under no look-alike."""
    callee = world.callee("a")
    tside = world.tside(
        rules={"*/*/a%2Fb/*/Vi%2Asit/config": {"access": "deny"}},
        services={f"a%2Fb/default/{callee.address}": {}, f"A%2FB/default/{callee.address}": {}})
    link = world.link(tside)
    assert link.call("Vi*sit", to="a/b").reason == "denied"
    assert link.call("Visit", to="a/b").server == "a"
    assert link.call("Vi*sit", to="A/B").server == "a"
    assert link.call("Vi%2Asit", to="a/b").server == "a"
    assert link.call("Visit", to="a%2Fb").reason == "no_endpoint"
