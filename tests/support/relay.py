"""An application in the middle of a chain: a python3-thrift server that calls the next service in turn.

It calls through the tside of its own host, with the Extra that it was called with. Its handler takes the
time it spent off the budget before it calls, as docs/specification.md (section 5) asks of applications,
or (copies) passes the budget on as it came.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import wire  # noqa: E402
from support.callee import Callee, Handler, serve  # noqa: E402
from support.caller import Caller  # noqa: E402


class Relay(Callee):
    """The process, seen from a test; its record shows what it was called with."""

    program = __file__

    def __init__(self, name: str, onward: str, to: str, copies: bool = False):
        super().__init__(name, onward, to, "copies" if copies else "takes_off")


class RelayHandler(Handler):
    """Each method spends `number` milliseconds, then calls the same method of the next service."""

    def __init__(self, name: str, path: str, onward: str, to: str, copies: bool):
        super().__init__(name, path)
        self.to, self.copies = to, copies
        self.onward = Caller(onward, name, to=None, timeout=30)
        self.alone = threading.Lock()  # one connection, whose calls go one after the other

    def passed_on(self, extra: dict, begun: float) -> dict:
        passed = {**extra, "dest_service": self.to}
        if not self.copies and wire.REMAIN in extra:
            own_ms = int((time.monotonic() - begun) * 1000) + 1
            passed[wire.REMAIN] = str(max(0, int(extra[wire.REMAIN]) - own_ms))
        return passed

    def relay(self, method: str, req):
        begun = time.monotonic()
        self.taken(method, req)
        time.sleep(req.number / 1000)
        with self.alone:
            extra = self.passed_on(req.base.Extra or {}, begun)
            return self.onward.call(method, req.text, req.number, req.base.LogID, **extra)

    def Visit(self, req):
        return self.relay("Visit", req)

    def Raise(self, req):
        return self.relay("Raise", req)


def main() -> None:
    name, path, onward, to, budget = sys.argv[1:]
    serve(RelayHandler(name, path, onward, to, budget == "copies"))


if __name__ == "__main__":
    main()
