"""listeners[].uids: which From the peer of a unix connection may claim, by the uid that it connected with."""

import socket
import subprocess
import sys

from support import wire
from support.raw import Link
from support.tside import SERVICE
from support.wait import wait_until

ALICE, BOB = 20001, 20002
UIDS = {str(ALICE): ["app.feed", "app.next"], str(BOB): ["app.ads"]}
CONNECT = """
import socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect(sys.argv[1])
socket.send_fds(socket.socket(fileno=int(sys.argv[2])), [b"-"], [link.fileno()])
"""


def unix_tside(world, **listener):
    tside = world.tside(default=[world.callee("a")],
                        listeners=({"listen": "unix:thrift.sock", "mode": "0666", **listener},))
    tside.folder.chmod(0o755)
    return tside


def link_of(tside, uid: int) -> Link:
    """A connection made by a process of that uid, which has passed it on and has ended."""
    here, there = socket.socketpair()
    with here, there:
        subprocess.run([sys.executable, "-c", CONNECT, str(tside.folder / "thrift.sock"), str(there.fileno())],
                       pass_fds=[there.fileno()], user=uid, group=uid, extra_groups=[], check=True)
        [fd] = socket.recv_fds(here, 1, 1)[1]
    return Link(socket.socket(fileno=fd))


def claims(tside, uid: int, *names) -> list[str]:
    """What becomes of calls with these names for From, all over one connection of that uid."""
    link = link_of(tside, uid)
    told = [link.call("Visit", caller=name) for name in names]
    link.close()
    return [reply.server or reply.reason for reply in told]


def test_each_uid_has_its_names(world):
    tside = unix_tside(world, uids=UIDS)
    for _ in range(3):  # on whichever worker
        assert claims(tside, ALICE, "app.feed", "app.ads", "app.next", "none") == ["a", "denied", "a", "denied"]
        assert claims(tside, BOB, "app.feed", "app.ads") == ["denied", "a"]
        assert claims(tside, 0, "app.feed", "app.ads") == ["denied", "denied"]  # root is not listed


def test_without_uids_any_may_claim_any(world):
    tside = unix_tside(world)
    assert claims(tside, ALICE, "app.feed", "app.ads") == ["a", "a"]


def test_the_answer_names_uid_and_from(world):
    tside = unix_tside(world, uids=UIDS)
    link = link_of(tside, BOB)
    reply = link.call("Visit", caller="app.feed", seqid=7)
    assert reply.seqid == 7 and reply.reason == "denied"
    said = reply.exception[1]
    assert f"uid {BOB} " in said and " app.feed/" in said
    assert link.call("Visit", caller="app.ads").server == "a"  # the connection stays
    link.send(wire.call("Tell", type_=wire.ONEWAY, caller="app.feed"))
    tside.wait_calls(1, method="Tell", reason="denied")
    assert link.call("Visit", caller="app.ads").server == "a"
    link.close()
    [line] = tside.events("call", reason="denied", method="Tell")
    assert line["from"] == "app.feed"


def test_what_the_listener_calls_its_callers_is_claimed_too(world):
    """Without Base.Caller the name is the listener's, else `none`: it must be the uid's own all the same."""
    tside = unix_tside(world, uids=UIDS, caller={"service": "app.ads"})
    assert claims(tside, BOB, None) == ["a"]
    assert claims(tside, ALICE, None) == ["denied"]
    open_to_nobody = unix_tside(world, uids={str(ALICE): ["none"], str(BOB): []})
    assert claims(open_to_nobody, ALICE, None, "app.feed") == ["a", "denied"]
    assert claims(open_to_nobody, BOB, None) == ["denied"]


def test_a_rule_does_not_lift_it(world):
    tside = unix_tside(world, uids=UIDS)
    tside.change({f"app.feed/*/{SERVICE}/*/*/config": {"access": "allow"}})
    assert claims(tside, BOB, "app.feed") == ["denied"]
    wait_until(lambda: tside.calls(reason="denied") == 1)
