"""Fixtures of the end-to-end tests: every test gets a world, with 1 and with 3 workers."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Iterable, Optional

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.callee import Callee  # noqa: E402
from support.caller import Caller  # noqa: E402
from support.etcd import Etcd, free_port  # noqa: E402
from support.raw import Link, RawCallee, Script, answer  # noqa: E402
from support.relay import Relay  # noqa: E402
from support.tside import SERVICE, Tside, endpoints  # noqa: E402

WORKERS = [int(n) for n in os.environ.get("TSIDE_WORKERS", "1,3").split(",")]


class World:
    """What one test made; taken down in reverse order, each tside held to a clean end."""

    def __init__(self, workers: int, thrift_callees: "CalleeStock"):
        self.workers = workers
        self.stock = thrift_callees
        self.sidecars: list[Tside] = []
        self.callees: list[RawCallee] = []
        self.links: list[Link] = []
        self.callers: list[Caller] = []
        self.relays: list[Relay] = []

    def callee(self, name: str = "raw", script: Script = answer, **kwargs) -> RawCallee:
        """A callee whose bytes the test sees and writes."""
        made = RawCallee(name, script, **kwargs)
        self.callees.append(made)
        return made

    def thrift_callee(self, name: str = "alpha", multiplexed: str = "", transport: str = "framed") -> Callee:
        """A callee on the official library, its record empty."""
        return self.stock.take(name, multiplexed, transport)

    def relay(self, name: str, onward: Tside, to: str, copies: bool = False) -> Relay:
        """A callee on the official library that calls `to` in turn, through its own host's tside."""
        made = Relay(name, onward.address, to, copies)
        self.relays.append(made)
        return made

    def tside(self, rules: Optional[dict] = None, services: Optional[dict] = None, ready: bool = True, start: bool = True,
              default: Iterable = (), canary: Iterable = (), **kwargs) -> Tside:
        """A running tside; default and canary are endpoints of example.service."""
        clusters = {name: members for name, members in (("default", default), ("canary", canary)) if members}
        made = Tside(kwargs.pop("workers", self.workers), rules,
                     {**endpoints(SERVICE, **clusters), **(services or {})}, **kwargs)
        self.sidecars.append(made)
        if start:
            made.start(ready)
        return made

    def link(self, tside: Tside, listener: int = 0, timeout: float = 5.0, framing: str = "framed") -> Link:
        """A caller's raw connection."""
        made = tside.link(listener, timeout, framing)
        self.links.append(made)
        return made

    def spread(self, tside: Tside, n: int = 8) -> list[Link]:
        """Callers on so many connections that several workers have some."""
        return [self.link(tside) for _ in range(n)]

    def caller(self, tside: Tside, *args, listener: int = 0, **kwargs) -> Caller:
        """A caller on the official library."""
        made = Caller(tside.addresses[listener], *args, **kwargs)
        self.callers.append(made)
        return made

    def finish(self) -> None:
        """Ends all there is; what is found wrong of a tside is raised when everything is down."""
        for link in self.links:
            link.close()
        for caller in self.callers:
            caller.close()
        wrong = None
        for callee in self.callees:
            callee.gate.set()
        for tside in reversed(self.sidecars):
            try:
                if not getattr(tside, "ended", False):
                    tside.stop()
                tside.assert_clean()
            except AssertionError as error:
                wrong = wrong or error
        for relay in self.relays:
            relay.stop()
        for callee in self.callees:
            try:
                callee.stop()
            except AssertionError as error:
                wrong = wrong or error
        for tside in self.sidecars:
            tside.remove()
        if wrong is not None:
            raise wrong


class CalleeStock:
    """Thrift callees cost a Python start each: kept for the session, their records emptied."""

    def __init__(self) -> None:
        self.callees: dict[tuple[str, ...], Callee] = {}

    def take(self, *kind: str) -> Callee:
        found = self.callees.get(kind)
        if found is None or found.child.poll() is not None:
            found = self.callees[kind] = Callee(*kind)
        found.forget()
        return found

    def stop(self) -> None:
        for callee in self.callees.values():
            callee.stop()


@pytest.fixture(scope="session")
def stock():
    made = CalleeStock()
    yield made
    made.stop()


@pytest.fixture(params=WORKERS, ids=lambda n: f"{n}w")
def workers(request) -> int:
    return request.param


@pytest.fixture
def world(workers, stock):
    made = World(workers, stock)
    try:
        yield made
    finally:
        made.finish()


@pytest.fixture(scope="module")
def etcd_server():
    made = Etcd().start()
    yield made
    made.remove()


@pytest.fixture
def own_etcd():
    """An etcd of the test's own that stays the same cluster when it is wiped."""
    made = Etcd("own", {"own": f"http://127.0.0.1:{free_port()}"}).start()
    yield made
    made.remove()


@pytest.fixture
def etcd(etcd_server):
    """The module's etcd, up and empty."""
    if not etcd_server.process.alive:
        etcd_server.start()
    etcd_server.clear()
    return etcd_server
