"""Three etcd members of which some die or stand still: calls go on, and changes go on to act."""

import signal
import time

import pytest

from support.etcd import RULES, EtcdCluster
from support.tside import SERVICE, Tside
from support.wait import PATIENCE, wait_until

CONFIG = f"{RULES}/*/*/{SERVICE}/*/*/config"
FOUND_S = 10  # a member that stops is found within (docs/specification.md, section 4), and then a change acts at once


@pytest.fixture(scope="module")
def servers():
    made = EtcdCluster().start()
    yield made
    made.remove()


@pytest.fixture
def cluster(servers):
    servers.start().leader().clear()
    return servers


def on_cluster(world, cluster) -> Tside:
    cluster.leader().endpoint(SERVICE, "default", world.callee("a").address)
    tside = world.tside(etcd={"endpoints": cluster.urls}, rules_file=None)
    wait_until(lambda: world.link(tside).call("Visit").server == "a", 10)
    return tside


def watched(tside: Tside, cluster):
    """The member that the watch is at."""
    url = wait_until(lambda: [at["url"] for at in tside.json("/api/v1/etcd")["endpoints"] if at["current"]], 10)[0]
    return cluster.member(url)


def insisted(change) -> bool:
    """False while the members elect a leader: to be asked again, both changes are the same when made twice."""
    try:
        change()
        return True
    except AssertionError:
        return False


def flips_act(link, member, within: float) -> None:
    """A rule that is put there, and then deleted; no call in between fails otherwise."""
    for put in (True, False):
        change = (lambda: member.put(CONFIG, {"access": "deny"})) if put else (lambda: member.delete(CONFIG))
        wait_until(lambda: insisted(change), 30, "etcd takes the change")
        end = time.monotonic() + within * PATIENCE
        while True:
            reply = link.call("Visit")
            assert reply.server == "a" or reply.reason == "denied"
            if (reply.reason == "denied") == put:
                break
            assert time.monotonic() < end, "the change does not act"


@pytest.mark.parametrize("how", ("killed", "stopped"))
def test_the_member_that_is_watched(world, cluster, how):
    tside = on_cluster(world, cluster)
    link = world.link(tside)
    member = watched(tside, cluster)
    member.process.signal(signal.SIGKILL if how == "killed" else signal.SIGSTOP)
    try:
        flips_act(link, cluster.others(member)[0], FOUND_S + 2)
        assert watched(tside, cluster) is not member
    finally:
        if how == "stopped":
            member.process.signal(signal.SIGCONT)


def test_the_leader(world, cluster):
    tside = on_cluster(world, cluster)
    link = world.link(tside)
    leader = cluster.leader()
    leader.kill()
    assert link.call("Visit").server == "a"
    flips_act(link, cluster.others(leader)[0], FOUND_S + 2)


def test_the_quorum(world, cluster):
    """One of three is left: nothing can be changed, calls go on; then two are back."""
    tside = on_cluster(world, cluster)
    link = world.link(tside)
    left = cluster.others(watched(tside, cluster))[0]
    for member in cluster.others(left):
        member.kill()
    wait_until(lambda: not left.healthy(), 10)
    for _ in range(200):
        assert link.call("Visit").server == "a"
    cluster.start()
    flips_act(link, left, FOUND_S + 6)  # a backoff of 5 s may be under way


def test_a_member_that_came_back_as_a_stranger(world):
    """One member lost its data and was started alone, as a new cluster with a rule of its own, and then the
    member in use restarts: tside passes the stranger over, says so, and follows the known cluster. Also after
    a restart of its own: the known cluster's id is on disk."""
    cluster = EtcdCluster().start()
    try:
        tside = on_cluster(world, cluster)
        link = world.link(tside)
        used = watched(tside, cluster)
        stranger, other = cluster.others(used)
        stranger.wipe()
        stranger.peers = None
        stranger.start()
        stranger.put(CONFIG, {"access": "deny"})
        used.kill()  # two of three are gone: what is left has no leader
        strangers = lambda: tside.json("/api/v1/etcd")["watch"]["strangers"]
        wait_until(lambda: strangers() > 0, 20, "the stranger was met")
        assert link.call("Visit").server == "a"
        used.launch()
        flips_act(link, other, FOUND_S + 6)
        shown = tside.json("/api/v1/etcd")
        assert shown["watch"]["cluster_changes"] == 0 and shown["held"] == {"rules": 0, "services": 0}
        met = [at for at in shown["endpoints"] if at["url"] == stranger.url][0]
        assert met["ok"] is False and met["cluster_id"] not in (None, shown["watch"]["cluster_id"])
        assert [line for line in tside.events("etcd_trouble") if "passed over" in line["msg"] and stranger.url in line["msg"]]
        assert tside.metric("tside_etcd_strangers_total") > 0

        tside.stop()
        used.kill()
        tside.start()
        wait_until(lambda: strangers() > 0, 20, "the stranger was met")
        link = world.link(tside)
        assert link.call("Visit").server == "a"
        used.launch()
        flips_act(link, other, FOUND_S + 6)
    finally:
        cluster.remove()
