"""rate_scope fleet: hosts that share a rate tell each other through etcd what they are asked for."""

import json
import threading

import pytest

from support.etcd import RULES
from support.tside import SERVICE, endpoints
from support.wait import wait_until

RATE = 200
KEY = f"{RULES}/*/*/{SERVICE}/*/*/config"


class Demand:
    """One caller of a host, that calls as quickly as it is answered."""

    def __init__(self, link) -> None:
        self.link = link
        self.stopping = False
        self.said: dict = {}
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self) -> None:
        while not self.stopping:
            said = self.link.call("Visit").reason or "ok"
            self.said[said] = self.said.get(said, 0) + 1

    def stop(self) -> dict:
        self.stopping = True
        self.thread.join(20)
        return self.said


def share(tside) -> float:
    for route in json.loads(tside.get("/api/v1/routes")[1])["items"]:
        if route["method"] == "Visit":
            return route["rate_share_per_s"]
    return 0


def host(world, etcd, callee, **kwargs):
    made = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None, **kwargs)
    wait_until(lambda: world.link(made).call("Visit").server == callee.name, 10, "rules and endpoints came")
    return made


@pytest.fixture
def fleet(world, etcd):
    """Two hosts, one callee, one rate for both."""
    callee = world.callee("a")
    for key, value in endpoints(SERVICE, default=[callee]).items():
        etcd.put(f"/tside/services/{key}", value)
    etcd.put(KEY, {"rate_per_s": RATE, "burst": 1, "rate_scope": "fleet"})
    return [host(world, etcd, callee) for _ in range(2)]


def test_hosts_share_a_rate(fleet, world, etcd):
    one, other = fleet
    demands = [Demand(world.link(one))]
    try:
        wait_until(lambda: one.metric("tside_fleet_exchanges_total") >= 1, 10)
        assert share(one) == RATE  # alone
        demands.append(Demand(world.link(other)))
        wait_until(lambda: abs(share(one) - RATE / 2) < 5 and abs(share(other) - RATE / 2) < 5, 30, "half for each")
        keys = list(etcd.map("/tside/fleet/"))
        assert len(keys) == 2 and all(f"/{SERVICE}/default/Visit/" in key for key in keys)
        before = [tside.calls(reason="ok") for tside in fleet]
        refused = [tside.calls(reason="rate_limited") for tside in fleet]
        window = threading.Event()
        window.wait(2.0)  # what passes is counted, whatever time that took
        assert all(tside.calls(reason="rate_limited") > n for tside, n in zip(fleet, refused))
        assert all(tside.calls(reason="ok") > n for tside, n in zip(fleet, before))
        demands.pop().stop()  # what the other one does not need any more
        wait_until(lambda: share(one) > RATE * 0.9, 30, "nearly all of it")
    finally:
        for demand in demands:
            demand.stop()


def test_without_etcd_the_last_part_stays(fleet, world, etcd):
    demands = [Demand(world.link(tside)) for tside in fleet]
    try:
        wait_until(lambda: all(abs(share(tside) - RATE / 2) < 5 for tside in fleet), 30, "half for each")
        etcd.kill()
        wait_until(lambda: all(tside.metric("tside_fleet_exchange_failures_total") >= 2 for tside in fleet), 30)
        assert all(abs(share(tside) - RATE / 2) < 10 for tside in fleet)
        before = [tside.calls(reason="ok") for tside in fleet]
        wait_until(lambda: all(tside.calls(reason="ok") > n for tside, n in zip(fleet, before)))
        etcd.start()
        told = [tside.metric("tside_fleet_exchanges_total") for tside in fleet]
        wait_until(lambda: all(tside.metric("tside_fleet_exchanges_total") > n + 2 for tside, n in zip(fleet, told)), 40)
        wait_until(lambda: all(abs(share(tside) - RATE / 2) < 10 for tside in fleet), 30)
    finally:
        for demand in demands:
            demand.stop()


def test_a_lease_that_is_lost_is_made_anew(fleet, world, etcd):
    """Its key is back with the next exchange."""
    demand = Demand(world.link(fleet[0]))
    try:
        # The other one was asked once: it told that, and then that it is no more.
        wait_until(lambda: fleet[1].metric("tside_fleet_told_total") == 2, 30)
        wait_until(lambda: fleet[0].metric("tside_fleet_told_total") >= 1, 30)
        [key] = etcd.map("/tside/fleet/")
        lease = etcd.lease_of(key)
        etcd.ctl("lease", "revoke", f"{lease:x}")
        assert list(etcd.map("/tside/fleet/")) == []
        assert wait_until(lambda: list(etcd.map("/tside/fleet/")), 20, "the key again") == [key]
        assert etcd.lease_of(key) != lease
    finally:
        demand.stop()
    wait_until(lambda: list(etcd.map("/tside/fleet/")) == [], 30, "nobody asks any more: no key")


def test_another_prefix(world, etcd):
    callee = world.callee("a")
    for key, value in endpoints(SERVICE, default=[callee]).items():
        etcd.put(f"/tside/services/{key}", value)
    etcd.put(KEY, {"rate_per_s": RATE, "rate_scope": "fleet"})
    tside = world.tside(etcd={"endpoints": [etcd.url], "fleet_prefix": "/elsewhere"}, rules_file=None)
    wait_until(lambda: world.link(tside).call("Visit").server == "a", 10)
    wait_until(lambda: list(etcd.map("/elsewhere/")), 15, "its key there")
    assert list(etcd.map("/tside/fleet/")) == []


def test_without_etcd_the_rate_is_the_hosts(world):
    """Said once, and the whole rate holds."""
    callee = world.callee("a")
    key = KEY.removeprefix(RULES + "/")
    tside = world.tside(rules={key: {"rate_per_s": 1, "burst": 5, "rate_scope": "fleet"}}, default=[callee])
    link = world.link(tside)
    told = [link.call("Visit").reason for _ in range(40)]
    assert 5 <= told.count(None) <= 8 and set(told) == {None, "rate_limited"}
    wait_until(lambda: [line for line in tside.log() if line.get("event") == "fleet_alone"], 10)
    assert share(tside) == 1


def test_more_hosts_than_are_listened_to(fleet, world, etcd):
    """120 others have told something: each has an equal part."""
    tuple_ = f"app.feed/default/{SERVICE}/default/Visit"
    etcd.put_many({f"/tside/fleet/{tuple_}/other-{i}": "5.00" for i in range(120)})
    demand = Demand(world.link(fleet[0]))
    try:
        wait_until(lambda: fleet[0].metric("tside_fleet_crowded_total") > 0, 20)
        assert RATE / 123 < share(fleet[0]) < RATE / 119
    finally:
        demand.stop()


def test_more_tuples_than_have_a_place(world, etcd):
    """Sixty are shared, the others have the whole rate here; places come free with the tuples' rules."""
    callee = world.callee("a")
    for key, value in endpoints(SERVICE, default=[callee]).items():
        etcd.put(f"/tside/services/{key}", value)
    etcd.put(KEY, {"rate_per_s": RATE, "rate_scope": "fleet"})
    tside = host(world, etcd, callee)
    link = world.link(tside)
    for i in range(70):
        assert link.call(f"Method{i}").reason is None
    wait_until(lambda: tside.metric("tside_fleet_overflow_total") > 0, 20)
    assert tside.metric("tside_fleet_tuples") == 60
    etcd.put(KEY, {"rate_per_s": RATE})
    wait_until(lambda: link.call("Visit").reason is None and share_of_all(tside, link) == 0, 30, "no rate is shared")


def share_of_all(tside, link) -> int:
    for i in range(70):
        link.call(f"Method{i}")
    return int(tside.metric("tside_fleet_tuples"))
