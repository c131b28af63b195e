"""SIGTERM: not ready, no new connections, what is in flight finishes, connections end behind a reply."""

import signal
import socket
import subprocess
import time

import pytest

from support import wire
from support.process import binary
from support.raw import Link, silent
from support.tside import SERVICE, cli
from support.wait import PATIENCE, wait_until

KEY = f"*/*/{SERVICE}/*/*/config"


def ended(tside, timeout: float = 10.0) -> None:
    assert tside.wait(timeout) == 0, tside.tail()
    tside.ended = True


def in_flight(world, tside, callee, n: int = 1) -> list[Link]:
    callee.gate.clear()
    links = [world.link(tside, timeout=15) for _ in range(n)]
    for link in links:
        link.send(wire.call("Visit", seqid=5))
    wait_until(lambda: callee.count == n)
    return links


def test_an_idle_tside_ends_at_once(world):
    tside = world.tside(default=[world.callee("a")])
    begun = time.monotonic()
    tside.signal(signal.SIGTERM)
    ended(tside)
    assert time.monotonic() - begun < 2 * PATIENCE


def test_calls_in_flight_finish_and_their_connections_end_behind_the_reply(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}})
    links = in_flight(world, tside, callee, 6)
    tside.signal(signal.SIGTERM)
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    assert tside.get("/livez")[0] == 200
    assert tside.json("/api/v1/info")["pid"] == tside.pid
    callee.gate.set()
    for link in links:
        reply = link.message()
        assert (reply.server, reply.seqid) == ("a", 5)
        assert link.ended()
    ended(tside)


def test_no_new_connections(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}})
    [link] = in_flight(world, tside, callee)
    tside.signal(signal.SIGTERM)
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    wait_until(lambda: refused(tside.address))
    callee.gate.set()
    assert link.message().server == "a"
    ended(tside)


def refused(address: str) -> bool:
    host, port = address.rsplit(":", 1)
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) != 0


def test_an_idle_connection_ends_after_250_ms_without_a_byte(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    links = [world.link(tside) for _ in range(4)]
    for link in links:
        assert link.call("Visit").server == "a"
    begun = time.monotonic()
    tside.signal(signal.SIGTERM)
    for link in links:
        assert link.ended()
        assert time.monotonic() - begun >= 0.24
    ended(tside)
    assert time.monotonic() - begun < 1.5 * PATIENCE


def test_a_call_within_those_250_ms_is_served(world):
    """Thrift clients do not reconnect by themselves: a caller that calls while tside drains is served once more."""
    tside = world.tside(default=[world.callee("a")])
    links = [world.link(tside) for _ in range(4)]
    for link in links:
        assert link.call("Visit").server == "a"
    tside.signal(signal.SIGTERM)
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    for link in links:
        link.send(wire.call("Visit", seqid=6))
    for link in links:
        assert link.message().seqid == 6
        assert link.ended()
    ended(tside)


def test_a_frame_begun_is_read_to_its_end(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}})
    frame = wire.call("Visit", seqid=7, blob=b"x" * 100_000)
    links = [world.link(tside, timeout=15) for _ in range(3)]
    for link in links:
        link.send(frame[:50_000])
    wait_until(lambda: tside.metric("tside_buffered_bytes") >= 3 * 49_000)
    tside.signal(signal.SIGTERM)
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 0.4)  # longer than an idle connection has
    for link in links:
        link.send(frame[50_000:])
        assert link.message().seqid == 7
        assert link.ended()
    ended(tside)


def test_pipelined_calls_that_are_in_are_answered(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}})
    callee.gate.clear()
    link = world.link(tside, timeout=15)
    link.send(b"".join(wire.call("Visit", seqid=i) for i in range(10)))
    wait_until(lambda: callee.count == 10)
    tside.signal(signal.SIGTERM)
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    callee.gate.set()
    assert [link.message().seqid for _ in range(10)] == list(range(10))
    assert link.ended()
    ended(tside)


def test_drain_timeout_ends_what_does_not_finish(world):
    callee = world.callee("a", silent)
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 60000}}, timeouts={"drain_timeout_ms": 700})
    links = [world.link(tside, timeout=15) for _ in range(3)]
    for link in links:
        link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 3)
    begun = time.monotonic()
    tside.signal(signal.SIGTERM)
    for link in links:
        assert link.message().reason == "draining"
        assert link.ended()
    ended(tside)
    assert 0.65 <= time.monotonic() - begun < 0.7 + 1.5 * PATIENCE


def test_a_second_sigterm_ends_at_once(world):
    callee = world.callee("a", silent)
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 60000}})
    link = world.link(tside, timeout=15)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    tside.signal(signal.SIGTERM)
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    begun = time.monotonic()
    tside.signal(signal.SIGTERM)
    tside.wait(5)
    tside.ended = True
    assert time.monotonic() - begun < 1 * PATIENCE


@pytest.mark.parametrize("how", ["post", "verb"])
def test_draining_by_hand_is_as_sigterm(world, how):
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}})
    [link] = in_flight(world, tside, callee)
    if how == "post":
        assert tside.post("/api/v1/drain")[0] in (200, 202)
    else:
        assert cli("drain", "-c", tside.config).returncode == 0
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    callee.gate.set()
    assert link.message().server == "a"
    ended(tside)


def test_a_first_sigterm_behind_a_drain_by_hand_cuts_nothing(world):
    """`tside drain; systemctl stop tside`, and Kubernetes behind a preStop that gave up: only a second signal cuts."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}})
    [link] = in_flight(world, tside, callee)
    assert tside.post("/api/v1/drain")[0] in (200, 202)
    tside.signal(signal.SIGTERM)
    begun = time.monotonic()
    wait_until(lambda: time.monotonic() - begun > 0.3)
    callee.gate.set()
    assert link.message().server == "a"
    ended(tside)


def test_a_second_sigterm_behind_a_drain_by_hand_ends_at_once(world):
    callee = world.callee("a", silent)
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 60000}})
    link = world.link(tside, timeout=15)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    assert tside.post("/api/v1/drain")[0] in (200, 202)
    begun = time.monotonic()
    tside.signal(signal.SIGTERM)
    tside.signal(signal.SIGINT)  # two of one kind may arrive as one
    assert link.message().reason == "draining"
    ended(tside)
    assert time.monotonic() - begun < 1 * PATIENCE


def test_drain_wait_returns_when_it_is_over(world):
    tside = world.tside(default=[world.callee("a")])
    done = cli("drain", "--wait", "20", "-c", tside.config)
    assert done.returncode == 0, done.stderr
    ended(tside, 3)


UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")
# Where the host permits no namespaces, it is the same scene in one.
NAMESPACE = UNSHARE if subprocess.run([*UNSHARE, "true"], capture_output=True, check=False).returncode == 0 else ()


@pytest.mark.parametrize("inside", ("tside", "verb"))
def test_drain_wait_across_pid_namespaces(world, inside):
    """What tside holds for its pid is another process here, or none; this one must not be waited for."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}},
                        wrapper=NAMESPACE if inside == "tside" else ())
    [link] = in_flight(world, tside, callee)
    verb = [binary(), "drain", "--wait", "20", "-c", tside.config]
    waiting = subprocess.Popen([*NAMESPACE, *verb] if inside == "verb" else verb, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    assert waiting.poll() is None
    callee.gate.set()
    assert link.message().server == "a"
    ended(tside)
    _, told = waiting.communicate(timeout=3 * PATIENCE)
    assert waiting.returncode == 0, told


def test_sigint_is_as_sigterm(world):
    tside = world.tside(default=[world.callee("a")])
    assert world.link(tside).call("Visit").server == "a"
    tside.signal(signal.SIGINT)
    ended(tside)


def test_unix_sockets_are_removed_at_the_end(world):
    tside = world.tside(listeners=({"listen": "unix:thrift.sock"},))
    assert (tside.folder / "thrift.sock").exists() and tside.admin_socket.exists()
    tside.signal(signal.SIGTERM)
    ended(tside)
    assert not (tside.folder / "thrift.sock").exists() and not tside.admin_socket.exists()


def test_a_second_tside_on_the_state_dir_refuses_to_start(world):
    tside = world.tside(default=[world.callee("a")])
    other = tside.folder / "other.yaml"
    other.write_text(tside.config.read_text().replace("admin.sock", "other.sock"))
    done = cli("run", "-c", other)
    assert done.returncode not in (0, None) and "state" in done.stderr, done.stderr
    assert world.link(tside).call("Visit").server == "a"
