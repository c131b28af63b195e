"""Callers that take more than their share harm no other caller, and memory stays within the limits."""

import signal
import socket
import threading
import time

import pytest

from support import wire
from support.callee import Echo
from support.process import Allocations, instrumented
from support.raw import answer_with
from support.tside import SERVICE
from support.wait import PATIENCE, wait_until

KEY = f"*/*/{SERVICE}/*/*/config"
# A sanitizer's shadow and quarantine are no memory of tside's.
ROOM = 20 if instrumented() else 1


class Others:
    """A few good callers that call all the time and note how long the slowest call took."""

    def __init__(self, world, tside, n: int = 3):
        self.links = [world.link(tside, timeout=20) for _ in range(n)]
        self.took: list[float] = []
        self.wrong: list = []
        self.stop = threading.Event()
        self.threads = [threading.Thread(target=self._call, args=(link,)) for link in self.links]

    def _call(self, link) -> None:
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                reply = link.call("Visit", caller="good.app")
            except Exception as error:  # set by the test, not by the thread
                self.wrong.append(error)
                return
            self.took.append(time.monotonic() - begun)
            if reply.type != wire.REPLY:
                self.wrong.append(reply)

    def __enter__(self) -> "Others":
        for thread in self.threads:
            thread.start()
        wait_until(lambda: len(self.took) >= 30 or self.wrong)
        return self

    def __exit__(self, *_) -> None:
        self.stop.set()
        for thread in self.threads:
            thread.join(30)
        self.took.sort()
        print(f"{len(self.took)} calls of the others, median {self.took[len(self.took) // 2] * 1000:.1f} ms, "
              f"slowest {self.took[-1] * 1000:.1f} ms")

    def unharmed(self, calls: int = 200) -> None:
        """That many more calls of theirs are served, each in time."""
        already = len(self.took)
        wait_until(lambda: len(self.took) >= already + calls or self.wrong, 20)
        assert self.wrong == []
        assert max(self.took[already:]) < 0.5 * PATIENCE


def test_a_caller_with_1000_connections(world):
    tside = world.tside(default=[world.callee("a")],
                        rules={f"greedy.app/*/{SERVICE}/*/*/config": {"timeout_ms": 30000, "connect_timeout_ms": 9000,
                                                                     "pool": {"wait_ms": 20000}}})
    with Others(world, tside) as others:
        links = [world.link(tside, timeout=30) for _ in range(1000)]
        for link in links:
            link.send(wire.call("Visit", caller="greedy.app"))
        others.unharmed()
        for link in links:
            reply = link.message()
            # 256 connections at once are much for a callee in Python: the greedy caller's own problem.
            assert reply.server == "a" or reply.reason in ("connect_timeout", "pool_exhausted"), reply
    assert tside.calls(**{"from": "good.app", "reason": "ok"}) == tside.calls(**{"from": "good.app"})


def test_a_caller_that_pipelines_1000_calls_without_reading(world):
    """Its replies are large: what it does not take is bounded, calls of others are answered."""
    echo = Echo()
    tside = world.tside(default=[echo])
    before = tside.memory_kib()
    greedy = world.link(tside, timeout=60)
    text = "x" * 50_000
    frames = b"".join(wire.call("Visit", caller="greedy.app", say=text, seqid=i) for i in range(1000))
    sender = threading.Thread(target=greedy.send, args=(frames,))
    try:
        with Others(world, tside) as others:
            sender.start()
            wait_until(lambda: tside.metric("tside_read_pauses_total") > 0, 10)
            others.unharmed()
            # 50 MB were asked for; unsent are 256 KiB, a call each of the pool, and what the kernel holds.
            assert tside.memory_kib() - before < 24 * 1024 * ROOM
            for i in range(1000):
                reply = greedy.message()  # in order; some of its own calls wait too long
                assert reply.seqid == i
                assert reply.reason == "pool_exhausted" or len(reply.args.get(0)) == 50_000
            sender.join(10)
        wait_until(lambda: tside.metric("tside_buffered_bytes") == 0)
    finally:
        echo.stop()


def test_pipelined_calls_pause_reading_at_their_limit(world):
    callee = world.callee("a")
    callee.gate.clear()
    tside = world.tside(default=[callee], limits={"pipelined_calls": 8})
    link = world.link(tside)
    link.send(b"".join(wire.call("Visit", seqid=i) for i in range(40)))
    wait_until(lambda: callee.count == 8)
    wait_until(lambda: tside.metric("tside_read_pauses_total", cause="pipelined_calls") > 0)
    assert tside.metric("tside_calls_inflight") == 8 and callee.count == 8
    callee.gate.set()
    assert [link.message().seqid for _ in range(40)] == list(range(40))
    assert tside.calls() == 40


def test_refused_calls_hold_nothing(world):
    """limits.calls bounds calls and their memory: one that is refused pauses its connection until it is answered."""
    callee = world.callee("a")
    callee.gate.clear()
    tside = world.tside(default=[callee], limits={"calls": 20},
                        rules={KEY: {"timeout_ms": 20000, "connect_timeout_ms": 5000, "pool": {"wait_ms": 20000}}})
    links = world.spread(tside, 20)
    for link in links:
        link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 20)
    for link in links:
        link.send(wire.call("Visit") * 1000 + wire.frame(wire.call("Visit")[4:-1] + b"\x0f"))
    wait_until(lambda: tside.metric("tside_read_pauses_total", cause="calls") == 20)
    assert tside.metric("tside_calls_inflight") <= 40
    callee.gate.set()
    for link in links:
        told = [link.message() for _ in range(1002)]
        assert {reply.reason for reply in told} <= {None, "concurrency_limit", "bad_request"}
        assert told[0].server == "a" and told[1].reason == "concurrency_limit" and told[-1].reason == "bad_request"
    assert tside.metric("tside_calls_inflight") == 0


def test_a_pipelining_caller_is_served_where_others_use_the_buffers_up(world):
    """A reply that waits for its turn is kept, limit or not: it was read already."""
    first = threading.Event()

    def answer(request):
        if request.args.get(1, 2) == 1:
            first.wait(10)
        return wire.reply(request, wire.response("a"))

    tside = world.tside(default=[world.callee("a", answer_with(answer))], workers=1, limits={"buffered_bytes": 1 << 20},
                        rules={KEY: {"timeout_ms": 9000, "connect_timeout_ms": 5000}})
    good = world.link(tside)
    assert good.call("Visit").server == "a"
    begun = wire.call("Visit", blob=b"x" * 300_000)[:65_000]
    hogs = world.spread(tside, 40)
    for hog in hogs:
        hog.send(begun)
    wait_until(lambda: tside.metric("tside_buffers_exhausted_total") > 0)
    for i in range(10):
        first.clear()
        good.send(wire.call("Visit", number=1, seqid=2 * i) + wire.call("Visit", number=2, seqid=2 * i + 1))
        first.set()
        assert [good.message().seqid for _ in range(2)] == [2 * i, 2 * i + 1]


@pytest.mark.counted
def test_a_listener_survives_a_lack_of_memory(world):
    """Two connections in one turn for which there is none: both are closed, and the next is served."""
    allocations = Allocations()
    tside = world.tside(default=[world.callee("a")], workers=1, env=allocations.env)
    allocations.refuse(900, 1300)  # a session's
    tside.signal(signal.SIGSTOP)
    host, port = tside.address.split(":")
    lost = [socket.create_connection((host, int(port)), 10) for _ in range(4)]
    tside.signal(signal.SIGCONT)
    for connection in lost:
        assert connection.recv(1) == b""
    assert tside.metric("tside_downstream_connections_refused_total") >= 4
    allocations.refuse(0, 0)
    assert world.link(tside).call("Visit").server == "a"
    allocations.remove()


def test_half_read_frames_do_not_lock_each_other_out(world):
    """Twenty callers with 1 MB frames, begun all at once, under a cap of 4 MB: all are served."""
    tside = world.tside(default=[world.callee("a")], limits={"buffered_bytes": 4 << 20, "frame_bytes": 2 << 20},
                        rules={KEY: {"timeout_ms": 30000, "connect_timeout_ms": 9000, "pool": {"wait_ms": 20000}}})
    frame = wire.call("Visit", blob=b"x" * 1_000_000, caller="big.app")
    links = [world.link(tside, timeout=60) for _ in range(20)]
    for link in links:
        link.send(frame[:60_000])

    def rest(link) -> None:
        link.send(frame[60_000:])

    with Others(world, tside) as others:
        threads = [threading.Thread(target=rest, args=(link,)) for link in links]
        for thread in threads:
            thread.start()
        others.unharmed(50)
        told = [link.message(60) for link in links]
        for thread in threads:
            thread.join(30)
    served = sum(reply.server == "a" for reply in told)
    assert all(reply.server == "a" or reply.reason == "internal" for reply in told)
    assert served >= 1, "the oldest may always go on"
    assert tside.metric("tside_buffered_bytes") == 0


def test_buffers_stay_within_their_limit(world):
    """Frames begun and left hold at most limits.buffered_bytes, and are given back."""
    limit = 2 << 20
    tside = world.tside(default=[world.callee("a")], limits={"buffered_bytes": limit, "frame_bytes": limit},
                        timeouts={"frame_timeout_ms": 2000})
    before = tside.memory_kib()
    links = [world.link(tside, timeout=20) for _ in range(64)]
    frame = wire.call("Visit", blob=b"x" * 1_000_000)
    for link in links:
        link.sock.settimeout(1)
        try:
            link.sock.sendall(frame[:300_000])
        except TimeoutError:
            pass  # reading is paused: as it should be
    with Others(world, tside) as others:
        others.unharmed(50)
    assert tside.metric("tside_buffered_bytes") <= limit + 1_000_004  # the oldest one may always go on
    assert tside.memory_kib() - before < 24 * 1024 * ROOM
    for link in links:
        link.close()
    wait_until(lambda: tside.metric("tside_buffered_bytes") == 0)
    assert world.link(tside).call("Visit").server == "a"


def test_calls_that_wait_are_left_unread_where_buffers_are_used_up(world):
    """120 calls of 16 KB for one busy connection, under a cap of 1 MiB: the rest waits at its callers."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"pool": {"max_connections": 1, "wait_ms": 20000}, "timeout_ms": 30000}},
                        default=[callee], limits={"buffered_bytes": 1 << 20, "frame_bytes": 1 << 20})
    callee.gate.clear()
    links = [world.link(tside, timeout=30) for _ in range(120)]
    links[0].send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    for link in links[1:]:
        link.send(wire.call("Visit", blob=b"x" * 16_000))  # 1.9 MB in all
    wait_until(lambda: tside.metric("tside_read_pauses_total", cause="buffered_bytes") > 0)
    # A connection that keeps nothing may go on with 4 KiB: else small calls would pay for large ones.
    assert tside.metric("tside_buffered_bytes") <= (1 << 20) + 120 * 4096
    assert tside.metric("tside_buffers_exhausted_total") > 0
    callee.gate.set()
    assert {link.message().server for link in links} == {"a"}


def test_a_claimed_length_allocates_nothing(world):
    tside = world.tside(default=[world.callee("a")])
    assert world.link(tside).call("Visit").server == "a"
    before = tside.memory_kib()
    for _ in range(200):
        world.link(tside).send((16_000_000).to_bytes(4, "big") + b"\x80\x01\0\x01")
    wait_until(lambda: tside.metric("tside_downstream_connections") >= 200)
    assert world.link(tside).call("Visit").server == "a"
    assert tside.memory_kib() - before < 32 * 1024 * ROOM


def test_a_large_frame_of_tiny_elements_delays_nobody(world):
    """16 MB of one-byte elements cost 40 ms to prove: in slices, not in one turn."""
    tside = world.tside(default=[world.callee("a", answer_with(lambda r: wire.reply(r, wire.response("a"))))],
                        rules={KEY: {"timeout_ms": 30000}})
    n = 16_000_000  # and the STOP of the arguments is missing: proved to the end, and refused
    frame = wire.frame(wire.message("Other", wire.Raw(b"\x0f\0\x01\x0c" + n.to_bytes(4, "big") + bytes(n))))
    link = world.link(tside, timeout=60)
    with Others(world, tside) as others:
        for _ in range(3):
            link.send(frame)
            assert link.message(60).reason == "bad_request"
        others.unharmed(50)


@pytest.mark.counted
def test_a_hundred_thousand_keys_load_beside_the_calls(world):
    """100,000 rules and 10,000 endpoints come into force while others call, each call within its 300 ms."""
    tside = world.tside(default=[world.callee("a")], rules={KEY: {"timeout_ms": 300}})
    for i in range(100_000):
        tside.rules[f"*/*/svc{i % 9000}/c{i // 9000}/*/config"] = {"timeout_ms": 1 + i % 1000}
    for i in range(10_000):
        tside.services[f"svc{i % 9000}/default/127.{i // 250 % 250}.0.{1 + i % 250}:9"] = {}
    aside = tside.folder / "rules.yaml.new"
    aside.write_text(tside.rules_text())  # beforehand: the callee lives in this process, too
    with Others(world, tside) as others:
        aside.rename(tside.rules_path)
        wait_until(lambda: tside.metric("tside_keys", source="file", kind="rules") >= 100_000, 30)
        wait_until(lambda: tside.explain("x/default/svc8999/c5/m")["effective"]["timeout_ms"]["from"] != "default", 30)
        others.unharmed()
    assert others.wrong == []
    assert tside.metric("tside_keys", source="file", kind="services") == 10_001
    assert tside.errors() == []


def test_a_caller_whose_calls_hang_does_not_take_all_of_limits_calls(world):
    """The last quarter is kept for those who have fewer: the others never meet the limit."""
    held, served = world.callee("h"), world.callee("a")
    tside = world.tside(services={f"held.service/default/{held.address}": {}}, default=[served], limits={"calls": 80},
                        rules={"*/*/held.service/*/*/config": {"timeout_ms": 60000, "pool": {"max_connections": 1000}}})
    held.gate.clear()
    with Others(world, tside) as others:
        for link in world.spread(tside, 100):
            link.send(wire.call("Visit", to="held.service", caller="greedy.app"))
        wait_until(lambda: tside.metric("tside_calls_share_refused_total") >= 30)
        others.unharmed()
        assert held.count <= 60
    held.gate.set()
    assert tside.calls(**{"from": "good.app", "reason": "ok"}) == tside.calls(**{"from": "good.app"})
