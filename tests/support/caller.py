"""A caller as applications write them: the generated python3-thrift client, on a framed or a buffered socket."""

from __future__ import annotations

from typing import Optional

from . import thriftgen, wire
from .wait import PATIENCE


class Caller:
    """One connection of one application; calls with its Base.

        caller = Caller(tside.address, "app.feed", to="example.service")
        caller.visit("hello").server
    """

    def __init__(self, address: str, caller: str = "app.feed", to: Optional[str] = wire.TO,
                 extra: Optional[dict] = None, timeout: float = 5.0, multiplexed: str = "",
                 buffered: bool = False):
        from thrift.protocol.TBinaryProtocol import TBinaryProtocol
        from thrift.protocol.TMultiplexedProtocol import TMultiplexedProtocol
        from thrift.transport import TSocket, TTransport

        self.demo, self.types = thriftgen.load()
        self.caller, self.to, self.extra = caller, to, dict(extra or {})
        if address.startswith("unix:"):
            socket = TSocket.TSocket(unix_socket=address.removeprefix("unix:"))
        else:
            host, port = address.rsplit(":", 1)
            socket = TSocket.TSocket(host, int(port))
        socket.setTimeout(timeout * 1000 * PATIENCE)
        transport = TTransport.TBufferedTransport if buffered else TTransport.TFramedTransport
        self.transport = transport(socket)
        protocol = TBinaryProtocol(self.transport)
        if multiplexed:
            protocol = TMultiplexedProtocol(protocol, multiplexed)
        self.client = self.demo.Client(protocol)
        self.transport.open()

    def base(self, log_id: str = "log-1", **extra: str):
        entries = {**({"dest_service": self.to} if self.to else {}), **self.extra, **extra}
        return self.types.Base(LogID=log_id, Caller=self.caller, Extra=entries or None)

    def request(self, text: str = "", number: int = 0, log_id: str = "log-1", **extra: str):
        return self.types.Request(text=text, number=number, base=self.base(log_id, **extra))

    def call(self, method: str, text: str = "hello", number: int = 0, log_id: str = "log-1", **extra: str):
        """demo.Demo.<method>; exceptions are thrift's own."""
        return getattr(self.client, method)(self.request(text, number, log_id, **extra))

    def visit(self, text: str = "hello", log_id: str = "log-1", **extra: str):
        return self.call("Visit", text, 0, log_id, **extra)

    def close(self) -> None:
        self.transport.close()

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_) -> None:
        self.close()
