"""A chain of three hops: app -> tside -> app -> tside -> app -> tside -> app, each tside on a host of its own.

The applications are python3-thrift servers. Those in the middle spend time before they call on.
"""

import time

import pytest
from thrift.Thrift import TApplicationException

from support import wire
from support.wait import PATIENCE, wait_until

REMAIN, STAMP, MARK = wire.REMAIN, wire.STAMP, "RPC_PERSIST_RetryReq"
SERVICES = ("first.service", "second.service", "third.service")


class Chain:
    """Built from its end: whoever calls needs the address of what it calls."""

    def __init__(self, world, listener=None, copies=False, **config):
        self.last = world.thrift_callee("last")
        self.apps, self.sidecars = [self.last], []
        for service in reversed(SERVICES):
            tside = world.tside(rules={f"*/*/{service}/*/*/config": {"timeout_ms": 60000, **config}},
                                services={f"{service}/default/{self.apps[0].address}": {}},
                                listeners=(listener or {},))
            self.sidecars.insert(0, tside)
            if service != SERVICES[0]:
                self.apps.insert(0, world.relay("before-" + service, tside, service, copies))
        self.caller = world.caller(self.sidecars[0], "app.feed", to=SERVICES[0], timeout=30)

    def budgets(self):
        """What each application was told is left, of its last call."""
        return [int(app.calls[-1]["extra"][REMAIN]) for app in self.apps]

    def told(self, *args, **extra):
        """The message of the exception that a call ends with."""
        with pytest.raises(TApplicationException) as raised:
            self.caller.call(*args, **extra)
        return raised.value.message


WAYS = {"takes_off": ({}, False), "copies": ({"deadline": {"clock": "shared"}}, True)}


@pytest.fixture(params=WAYS)
def chain(world, request):
    """Once its applications take their own time off, once they copy and the listeners count it."""
    listener, copies = WAYS[request.param]
    made = Chain(world, listener, copies)
    made.shared = copies
    # Clocks that are said to be shared may refuse a fifth of the calls: there must be some.
    for _ in range(6):
        assert made.caller.call("Visit", "warm", 0).server == "last"
    return made


def test_the_budget_shrinks_at_each_hop(chain):
    spent, budget = 60, 20000
    assert chain.caller.call("Visit", "hello", spent, **{REMAIN: str(budget)}).server == "last"
    first, second, third = chain.budgets()
    stamps = [STAMP in app.calls[-1]["extra"] for app in chain.apps]
    print(f"left at each application: {first}, {second}, {third} ms")
    assert stamps == [chain.shared] * 3
    # Stamps are whole milliseconds of two readings of the clock: one that was just over is lost.
    assert second <= first - spent + chain.shared and third <= second - spent + chain.shared
    assert budget - 2 * spent - 2000 * PATIENCE < third < first <= budget


def test_the_last_hop_refuses_what_is_spent(chain):
    """Each application spends more than half: the last one is not called at all, and the caller hears in time."""
    seen = len(chain.last.calls)
    budget = int(400 * PATIENCE)
    begun = time.monotonic()
    message = chain.told("Visit", "hello", budget * 6 // 10, **{REMAIN: str(budget)})
    took_ms = (time.monotonic() - begun) * 1000
    # The first two hops' deadlines are one moment, and either may speak.
    assert message.startswith("[tside timeout]") and budget - 5 <= took_ms < budget + 300 * PATIENCE
    third = chain.sidecars[2]
    third.wait_calls(1, reason="timeout")
    refused = third.wait_event("call", reason="timeout")
    assert refused["attempts"] == 0 and refused["to"] == SERVICES[2]
    first, second = [int(app.calls[-1]["extra"][REMAIN]) for app in chain.apps[:2]]
    assert second <= first - budget * 6 // 10 + chain.shared
    assert len(chain.last.calls) == seen
    # The chain is whole: nobody lost a connection over it.
    assert chain.caller.call("Visit").server == "last"


def test_applications_that_copy_need_the_shared_clock(world):
    """Without it the time that applications spend is nobody's: the last one is told more than there is."""
    chain = Chain(world, copies=True)
    assert chain.caller.call("Visit", "hello", 200, **{REMAIN: "20000"}).server == "last"
    first, _, third = chain.budgets()
    assert third > first - 400


@pytest.mark.parametrize("listener, at_each", [({}, [2, 3, 4]), ({"deadline": {"chain_stop": False}}, [2, 4, 8])],
                         ids=["chain_stop", "without"])
def test_retries_do_not_multiply_along_the_chain(world, listener, at_each):
    """The last application always fails. A retry's mark goes along and stops the retries behind it."""
    chain = Chain(world, listener, retry={"on": ["exception"], "idempotent": True})
    assert chain.told("Raise", "went wrong") == "went wrong"
    assert [len(app.calls) for app in chain.apps] == at_each
    marks = [[call["extra"].get(MARK, "") for call in app.calls] for app in chain.apps]
    assert marks == [[""] + ["1"] * (n - 1) if not listener else [""] * n for n in at_each]
    wait_until(lambda: [int(tside.metric("tside_retries_total")) for tside in chain.sidecars]
               == ([1, 1, 1] if not listener else [1, 2, 4]))
