"""Sockets that do exactly what a test says: callers and callees without a Thrift library."""

from __future__ import annotations

import socket
import struct
import threading
import time
from typing import Callable, Optional

from . import wire
from .wait import PATIENCE


class Closed(Exception):
    """The other side ended the connection where bytes were expected."""


class Link:
    """One connection, from either side; framed, unless it is told otherwise. Every wait has a deadline.

    What is sent is written as frames, whatever the connection speaks: tests say the same to both.
    """

    def __init__(self, sock: socket.socket, timeout: float = 5.0, framing: str = "framed"):
        self.sock = sock
        self.timeout = timeout
        self.framing = framing
        self.header = wire.Header()  # TTHeader: that goes out in front of each message
        self.got = wire.Header()  # and that came with the last one
        self.pending = b""
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @classmethod
    def to(cls, address: str, timeout: float = 5.0, framing: str = "framed") -> "Link":
        if address.startswith("unix:") or address.startswith("/"):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(address.removeprefix("unix:"))
        else:
            host, port = address.rsplit(":", 1)
            sock = socket.create_connection((host.strip("[]"), int(port)), timeout)
        return cls(sock, timeout, framing)

    def send(self, data: bytes) -> None:
        if self.framing == "unframed":
            data = b"".join(wire.bodies(data))
        elif self.framing.startswith("ttheader"):
            data = b"".join(self.header.encode(body, self.framing == "ttheader_framed") for body in wire.bodies(data))
        self.send_raw(data)

    def send_raw(self, data: bytes) -> None:
        self.sock.settimeout(self.timeout * PATIENCE)
        self.sock.sendall(data)

    def _fill(self, n: int, deadline: float) -> bool:
        """Whether n bytes are pending; False at the stream's end, TimeoutError by time."""
        while len(self.pending) < n:
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(self.pending)} of {n} bytes within {self.timeout} s")
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(max(65536, min(n, 1 << 20)))
            except ConnectionResetError:
                data = b""
            if not data:
                return False
            self.pending += data
        return True

    def frame(self, timeout: Optional[float] = None) -> Optional[bytes]:
        """The next frame's body, or message; None at a clean end; Closed in the middle of one."""
        deadline = time.monotonic() + (timeout or self.timeout) * PATIENCE
        if self.framing == "unframed":
            return self._unframed(deadline)
        if not self._fill(4, deadline):
            if self.pending:
                raise Closed(f"ended within a frame's length: {self.pending!r}")
            return None
        (length,) = struct.unpack(">I", self.pending[:4])
        if not self._fill(4 + length, deadline):
            raise Closed(f"ended within a frame of {length}: {len(self.pending) - 4} came")
        if self.framing.startswith("ttheader"):
            whole, self.pending = self.pending[:4 + length], self.pending[4 + length:]
            self.got, body, inner = wire.read_header(whole)
            assert inner == (self.framing == "ttheader_framed")
            return body
        body, self.pending = self.pending[4:4 + length], self.pending[4 + length:]
        return body

    def _unframed(self, deadline: float) -> Optional[bytes]:
        while True:
            length = wire.message_length(self.pending)
            if length is not None:
                body, self.pending = self.pending[:length], self.pending[length:]
                return body
            if not self._fill(len(self.pending) + 1, deadline):
                if self.pending:
                    raise Closed(f"ended within a message: {len(self.pending)} bytes came")
                return None

    def first_byte(self) -> int:
        """Of what comes next."""
        if not self._fill(1, time.monotonic() + self.timeout * PATIENCE):
            raise Closed("ended instead of a message")
        return self.pending[0]

    def message(self, timeout: Optional[float] = None) -> wire.Message:
        body = self.frame(timeout)
        if body is None:
            raise Closed("ended instead of a message")
        return wire.read_message(body)

    def call(self, *args, **kwargs) -> wire.Message:
        """One call with wire.call()'s arguments, and its reply."""
        self.send(wire.call(*args, **kwargs))
        return self.message()

    def ended(self, timeout: Optional[float] = None) -> bool:
        """Waits for the stream's end; bytes that come first are an AssertionError."""
        body = self.frame(timeout)
        assert body is None, f"bytes instead of the end: {body!r}"
        return True

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Ends with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()


class CalleeLink(Link):
    """A connection that a RawCallee accepted; frames read from it are recorded there."""

    def __init__(self, sock: socket.socket, callee: "RawCallee", number: int):
        super().__init__(sock, timeout=600, framing=callee.framing)
        self.callee = callee
        self.number = number  # 0, 1, ...: in the order of acceptance
        self.gone = threading.Event()

    def frame(self, timeout: Optional[float] = None) -> Optional[bytes]:
        body = super().frame(timeout)
        if body is not None:
            with self.callee.lock:
                self.callee.bodies.append(body)
        return body


Script = Callable[[CalleeLink], None]


def answer(link: CalleeLink) -> None:
    """The script of a good callee: answers every call with its own name, waiting at the gate."""
    callee = link.callee
    while True:
        body = link.frame()
        if body is None:
            return
        request = wire.read_message(body)
        callee.gate.wait()
        if request.type == wire.CALL:
            link.send(wire.reply(request, wire.response(callee.name, request.args.get(1, 1) or b"")))


def answer_with(result: Callable[[wire.Message], bytes]) -> Script:
    """A callee that answers each request with the bytes that result(request) gives."""

    def script(link: CalleeLink) -> None:
        while True:
            body = link.frame()
            if body is None:
                return
            request = wire.read_message(body)
            link.callee.gate.wait()
            link.send(result(request))

    return script


def silent(link: CalleeLink) -> None:
    """Reads and never answers."""
    while link.frame() is not None:
        pass


class RawCallee:
    """A server in this process: one thread a connection, each running the script."""

    def __init__(self, name: str = "raw", script: Script = answer, backlog: int = 1024,
                 address: str = "127.0.0.1:0", framing: str = "framed"):
        self.name = name
        self.framing = framing
        self.script = script
        self.lock = threading.Lock()
        self.bodies: list[bytes] = []  # every frame's body, in order of arrival
        self.links: list[CalleeLink] = []
        self.errors: list[BaseException] = []
        self.gate = threading.Event()  # closed: answers wait
        self.gate.set()
        host, port = address.rsplit(":", 1)
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind((host, int(port)))
        self.listener.listen(backlog)
        self.address = "%s:%d" % self.listener.getsockname()
        self.stopping = False
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                link = CalleeLink(sock, self, len(self.links))
                self.links.append(link)
            threading.Thread(target=self._serve, args=(link,), daemon=True).start()

    def _serve(self, link: CalleeLink) -> None:
        try:
            self.script(link)
        except (OSError, Closed):
            pass  # the other side left
        except BaseException as error:  # a broken script must fail its test
            self.errors.append(error)
        finally:
            link.close()
            link.gone.set()

    @property
    def requests(self) -> list[wire.Message]:
        with self.lock:
            return [wire.read_message(body) for body in self.bodies]

    @property
    def count(self) -> int:
        with self.lock:
            return len(self.bodies)

    @property
    def open_links(self) -> int:
        with self.lock:
            return sum(1 for link in self.links if not link.gone.is_set())

    def forget(self) -> None:
        with self.lock:
            self.bodies.clear()

    def close_all(self, reset: bool = False) -> None:
        """Ends every accepted connection, as a restarting callee does; goes on accepting."""
        with self.lock:
            links = [link for link in self.links if not link.gone.is_set()]
        for link in links:
            if reset:
                link.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                link.sock.shutdown(socket.SHUT_RDWR)  # wakes the thread in recv()
            except OSError:
                pass

    def stop(self) -> None:
        self.stopping = True
        self.gate.set()
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        self.close_all()
        assert not self.errors, f"callee {self.name}: {self.errors}"


class StuckListener:
    """An address where connecting takes for ever: its accept queue is full, SYNs are dropped."""

    def __init__(self) -> None:
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.address = "%s:%d" % self.listener.getsockname()
        self.fillers = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(self.listener.getsockname())
            self.fillers.append(filler)

    def stop(self) -> None:
        for filler in self.fillers:
            filler.close()
        self.listener.close()


def closed_port() -> str:
    """An address where nothing listens: a bound socket that never listens keeps it free of others."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    _KEPT.append(sock)
    return "%s:%d" % sock.getsockname()


_KEPT: list[socket.socket] = []
