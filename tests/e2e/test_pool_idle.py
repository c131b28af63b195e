"""Connections that nobody uses: made ahead for endpoints that are new, and noticed when their callee ends them."""

import pytest

from support.tside import SERVICE, endpoints
from support.wait import wait_until

KEY = f"*/*/{SERVICE}/*/*/config"
MODES = ["pool", "mux", "pipeline"]


@pytest.mark.parametrize("mode", MODES)
def test_a_new_endpoint_has_a_connection_before_its_first_call(world, mode):
    """The next call of the cluster makes it, though it goes elsewhere itself."""
    old, new = world.callee("old"), world.callee("new")
    tside = world.tside(rules={KEY: {"lb": "random", "pool": {"mode": mode}}}, default=[old])
    links = world.spread(tside, 8)
    for link in links:
        assert link.call("Visit").server == "old"
    [(old_key, _)] = endpoints(SERVICE, default=[old]).items()
    [(new_key, _)] = endpoints(SERVICE, default=[new]).items()
    tside.change(services={old_key: {"weight": 10000}, new_key: {"weight": 1}})
    for link in links:
        assert link.call("Visit").server == "old"
    wait_until(lambda: 1 <= tside.metric("tside_upstream_warmed_total") == len(new.links))
    assert new.count == 0 and len(new.links) <= world.workers
    tside.change(services={old_key: {"weight": 0}, new_key: {"weight": 1}})
    warmed = len(new.links)
    assert links[0].call("Visit").server == "new"
    if world.workers == 1:
        assert len(new.links) == warmed  # that call found it


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("resets", [False, True], ids=["ends", "resets"])
def test_an_idle_connection_that_its_callee_ends(world, mode, resets):
    """Its descriptor is closed before any call comes, and the next call has another connection."""
    callee = world.callee("a")
    tside = world.tside(rules={KEY: {"pool": {"mode": mode}, "retry": {"attempts": 0}}}, default=[callee])
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    wait_until(lambda: tside.metric("tside_upstream_connections", state="idle") == 1)
    callee.close_all(reset=resets)
    wait_until(lambda: tside.metric("tside_upstream_connections", state="open") == 0)
    assert tside.metric("tside_upstream_connections", state="idle") == 0
    assert link.call("Visit").server == "a"
    assert len(callee.links) == 2
    assert tside.metric("tside_resends_total") == 0
