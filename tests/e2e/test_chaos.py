"""Callers and callees misbehave while rules and endpoints flap: each caller gets its own answers, and all sums add up."""

import asyncio
import collections
import random
import signal

import pytest

from support.chaos import Chaos
from support.raw import closed_port
from support.tside import SERVICE
from support.wait import wait_until

KEY = f"*/*/{SERVICE}/*/*/config"
SECONDS, CALLERS = 3, 60
GAUGES = ("tside_downstream_connections", "tside_calls_inflight", "tside_pool_waiting", "tside_buffered_bytes",
          "tside_upstream_connections")

TIGHT = {"limits": {"buffered_bytes": 4 << 20, "pipelined_calls": 16, "calls": 200, "connections": CALLERS - 10,
                    "frame_bytes": 1 << 20, "tuples": 6},
         "timeouts": {"write_stall_ms": 300, "frame_timeout_ms": 300, "idle_ms": 300}}
WIDE = {"limits": {"frame_bytes": 1 << 20}, "timeouts": {"write_stall_ms": 20000, "frame_timeout_ms": 20000}}


def in_use(tside) -> dict:
    return {(name, *labels.items()): value for name, labels, value in tside.metrics() if name in GAUGES and value != 0}


@pytest.mark.parametrize("limits", ("tight", "wide"))
def test_chaos(world, limits):
    seed = 7
    chaos, rnd = Chaos(seed), random.Random(seed)
    config = {"timeout_ms": 120, "pool": {"max_connections": 12, "wait_ms": 40, "max_waiting": 60, "idle_ms": 200}}
    bounds = TIGHT if limits == "tight" else WIDE

    async def scene():
        addresses = [*await chaos.listen(4), closed_port()]
        services = {f"{SERVICE}/default/{address}": {"weight": 10} for address in addresses}
        tside = await asyncio.to_thread(world.tside, rules={KEY: config}, services=services, **bounds)

        def flap() -> None:
            tside.services = {key: {"weight": rnd.choice((0, 1, 10))} for key in services if rnd.random() < 0.75}
            config.update(timeout_ms=rnd.choice((60, 120, 400)), lb=rnd.choice(("p2c", "round_robin")))
            config["pool"]["max_connections"] = rnd.choice((1, 4, 12) if limits == "tight" else (20, 80))
            tside.write_rules()
            if rnd.random() < 0.2:
                tside.signal(signal.SIGHUP)

        await chaos.run(tside.address, CALLERS, SECONDS, flap)
        return tside

    tside = asyncio.run(scene())
    assert tside.alive, tside.tail()
    wait_until(lambda: not in_use(tside), 15, "every gauge is zero again")
    assert all(route["inflight"] == 0 for route in tside.json("/api/v1/routes")["items"])
    counted: collections.Counter = collections.Counter()
    for name, labels, value in tside.metrics():
        if name == "tside_calls_total":
            counted[labels["reason"]] += value
    print(f"sent {chaos.sent}, counted {dict(counted)}, told {dict(chaos.told)}")
    assert chaos.errors == []
    assert chaos.told[None] > 0 and len(chaos.told) > 3, "it was too quiet"
    assert chaos.told.total() <= counted.total() - counted["downstream_gone"]
    assert counted.total() <= chaos.sent
    for reason, n in chaos.told.items():
        if reason is not None:
            assert n <= counted[reason], reason
