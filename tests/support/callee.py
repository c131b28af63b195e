"""A callee as applications write them: python3-thrift, Binary, framed or buffered, a thread a connection.

Run as a program it serves until its standard input ends; it prints its address, and appends one
JSON line per call to a file before it answers, so that the record is there when the reply is.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import thriftgen  # noqa: E402
from support.process import helper  # noqa: E402


class Callee:
    """The process, seen from a test."""

    program = __file__

    def __init__(self, name: str, *args: str):
        self.name = name
        thriftgen.generate()
        handle, path = tempfile.mkstemp(prefix="tside-callee-")
        os.close(handle)
        self.record = Path(path)
        self.child = subprocess.Popen([sys.executable, self.program, name, path, *args],
                                      stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.child.stdout.readline().strip()
        assert self.address, f"callee {name} does not start"
        self._skip = 0

    @property
    def calls(self) -> list[dict]:
        """What was served since forget(): method, text, number, log_id, caller, extra, oneway."""
        lines = self.record.read_text().splitlines()
        return [json.loads(line) for line in lines[self._skip:]]

    def forget(self) -> None:
        self._skip = len(self.record.read_text().splitlines())

    def kill(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
        self.child.wait()

    def stop(self) -> None:
        self.child.stdin.close()
        self.kill()
        self.child.stdout.close()
        self.record.unlink(missing_ok=True)


class Echo:
    """The callee of the benchmarks: quick, in C; answers with the text that the request brought."""

    def __init__(self, framing: str = "framed") -> None:
        self.child = subprocess.Popen([helper("bench_echo"), framing], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.address = self.child.stdout.readline().strip()

    def stop(self) -> None:
        self.child.communicate("", timeout=10)


class Handler:
    """The demo service."""

    def __init__(self, name: str, path: str):
        self.name = name
        self.file = os.open(path, os.O_WRONLY | os.O_APPEND)
        _, self.types = thriftgen.load()

    def note(self, method: str, text: str, number: int, base) -> None:
        line = {"server": self.name, "method": method, "text": text, "number": number, "base": base is not None}
        if base is not None:
            line.update(log_id=base.LogID, caller=base.Caller, extra=base.Extra)
        os.write(self.file, (json.dumps(line) + "\n").encode())

    def taken(self, method: str, req):
        self.note(method, req.text, req.number, req.base)
        extra = req.base.Extra if req.base is not None else None
        return self.types.Response(server=self.name, text=req.text, extra=extra)

    def Visit(self, req):
        return self.taken("Visit", req)

    def Direct(self, text, base):
        self.note("Direct", text, 0, base)
        return self.types.Response(server=self.name, text=text, extra=base.Extra if base else None)

    def Sleep(self, req):
        response = self.taken("Sleep", req)
        time.sleep(req.number / 1000)
        return response

    def Fail(self, req):
        self.taken("Fail", req)
        raise self.types.Sorry(why=req.text)

    def Raise(self, req):
        from thrift.Thrift import TApplicationException

        self.taken("Raise", req)
        raise TApplicationException(TApplicationException.INTERNAL_ERROR, req.text)

    def Code(self, req):
        response = self.taken("Code", req)
        response.baseResp = self.types.BaseResp(StatusMessage=req.text, StatusCode=req.number)
        return response

    def Large(self, req):
        response = self.taken("Large", req)
        response.blob = b"x" * req.number
        return response

    def Touch(self, req):
        self.taken("Touch", req)

    def Tell(self, req):
        self.taken("Tell", req)


def serve(handler: Handler, multiplexed: str = "", transport: str = "framed") -> None:
    """Prints the address; returns when standard input has ended."""
    from thrift.protocol.TBinaryProtocol import TBinaryProtocolFactory
    from thrift.server.TServer import TThreadedServer
    from thrift.TMultiplexedProcessor import TMultiplexedProcessor
    from thrift.transport import TSocket, TTransport

    demo, _ = thriftgen.load()
    processor = demo.Processor(handler)
    if multiplexed:
        inner, processor = processor, TMultiplexedProcessor()
        processor.registerProcessor(multiplexed, inner)
    listener = TSocket.TServerSocket(host="127.0.0.1", port=0)
    listener.listen()
    print("%s:%d" % listener.handle.getsockname()[:2], flush=True)
    listener.listen = lambda: None  # serve() would listen again, on another port
    transports = {"framed": TTransport.TFramedTransportFactory, "buffered": TTransport.TBufferedTransportFactory}
    server = TThreadedServer(processor, listener, transports[transport](), TBinaryProtocolFactory(), daemon=True)
    threading.Thread(target=server.serve, daemon=True).start()
    sys.stdin.read()


def main() -> None:
    name, path, *options = sys.argv[1:]
    serve(Handler(name, path), *options)


if __name__ == "__main__":
    main()
