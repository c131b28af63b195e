"""Rules from a real etcd: what is put acts on the next calls, and no failure of etcd fails a call."""

import base64
import collections
import json
import re
import signal
import subprocess
import threading
import time

import pytest
from thrift.Thrift import TApplicationException

from support import wire
from support.caller import Caller
from support.etcd import RULES, SERVICES
from support.process import helper
from support.raw import Link
from support.tside import SERVICE, Tside
from support.wait import PATIENCE, wait_until

ANY = f"*/*/{SERVICE}/*/*"
CANNED = base64.b64encode(wire.encode(wire.STRUCT, [(0, wire.STRUCT, [(1, wire.STRING, "canned")])])).decode()
TRAFFIC, DEGRADE, CONFIG = (f"{RULES}/{ANY}/{kind}" for kind in ("traffic", "degrade", "config"))


def on_etcd(world, etcd, **kwargs) -> Tside:
    """A tside with etcd alone, its first list in force."""
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None, **kwargs)
    synced(tside, etcd)
    return tside


def synced(tside: Tside, etcd) -> None:
    """tside has seen what etcd holds now."""
    revision = etcd.revision()
    wait_until(lambda: seen_revision(tside) >= revision, 10, f"revision {revision}")


def seen_revision(tside: Tside) -> int:
    return tside.explain(f"x/default/{SERVICE}/default/Visit")["snapshot"]["revision"]


ADDRESS = re.compile(r"\d+\.\d+\.\d+\.\d+:\d+")


def assert_map_is_etcds(tside: Tside, etcd, at_most: int = 60) -> None:
    """What tside holds is what etcd holds: explain shows each rule with etcd's value and revision, no rule
    that etcd has not, and as many endpoints, none but etcd's. Of very many keys, some are looked at."""
    synced(tside, etcd)
    rules, services = etcd.held(RULES), etcd.map(SERVICES)
    keys = {labels["kind"]: value for name, labels, value in tside.metrics()
            if name == "tside_keys" and labels["source"] == "etcd"}
    assert keys == {"rules": len(rules), "services": len(services)}
    callees = {key.split("/")[3] for key in services}
    tuples = {key.removeprefix(RULES + "/").rsplit("/", 1)[0].replace("*", "x") for key in rules}
    for tuple_ in sorted(tuples | {f"x/x/{callee}/default/x" for callee in callees})[:: len(tuples) // at_most + 1]:
        shown = tside.explain(tuple_)
        held = {candidate["key"]: candidate for step in shown["steps"].values() for candidate in step["candidates"]}
        assert set(held) <= set(rules)
        names = tuple_.split("/")
        for key, (value, revision) in rules.items():
            pattern = key.removeprefix(RULES + "/").split("/")
            if all(part in ("*", name) for part, name in zip(pattern, names)):
                assert key in held, f"{key} is not among the candidates of {tuple_}"
                assert held[key]["mod_revision"] == revision
                told = held[key]["value"]
                assert (json.loads(told) if isinstance(told, str) else told) == json.loads(value)
    for callee in callees:
        told = set()
        for cluster in {key.split("/")[4] for key in services if key.split("/")[3] == callee}:
            # A caller that no traffic rule names: the calls go to the cluster that they name.
            targets = tside.explain(f"nobody.else/x/{callee}/{cluster}/no.such.method")["targets"]
            told |= set(ADDRESS.findall(json.dumps(targets)))
        assert told <= {key.split("/")[5] for key in services if key.split("/")[3] == callee}


class Callers:
    """Official clients, Python and c_glib, whose calls are counted by what became of them."""

    def __init__(self, world, tside: Tside):
        self.tside = tside
        self.python = [world.caller(tside, "app.feed") for _ in range(4)]
        self.failed: list = []

    def calls(self, n: int) -> collections.Counter:
        told: collections.Counter = collections.Counter()
        for i in range(n):
            told[self.one(self.python[i % len(self.python)], f"log-{i}")] += 1
        return told

    @staticmethod
    def one(caller: Caller, log_id: str = "log") -> str:
        try:
            answer = caller.visit("hello", log_id=log_id)
        except TApplicationException as error:
            return error.message.split("]")[0].removeprefix("[tside ")
        if answer.baseResp is not None and answer.baseResp.StatusCode:
            return f"code {answer.baseResp.StatusCode}"
        return answer.server

    def c_glib(self, n: int = 5, **options: str) -> collections.Counter:
        args = [f"{key}={value}" for key, value in options.items()]
        out = subprocess.run([helper("demo_client"), self.tside.address, f"count={n}", *args], capture_output=True,
                             text=True, timeout=30, check=True).stdout.splitlines()
        return collections.Counter(line.split()[1] if line.startswith("reply") else line for line in out)


@pytest.fixture
def scene(world, etcd):
    """Three endpoints of default and one of canary, in etcd; everything as the issue says it."""
    names = {"default": ["d1", "d2", "d3"], "canary": ["c1"]}
    for cluster, members in names.items():
        for name in members:
            etcd.endpoint(SERVICE, cluster, world.thrift_callee(name).address, {"weight": 10})
    tside = on_etcd(world, etcd)
    return tside, Callers(world, tside)


def to_clusters(told: collections.Counter) -> tuple[int, int]:
    assert set(told) <= {"d1", "d2", "d3", "c1"}, told
    return sum(n for name, n in told.items() if name[0] == "d"), told["c1"]


def next_calls(callers: Callers, expected, within: float = 1.0) -> None:
    """From some call within that time on, calls do as the new rule says."""
    deadline = time.monotonic() + within * PATIENCE
    while not all(expected(Callers.one(caller)) for caller in callers.python):
        assert time.monotonic() < deadline, "the change does not act"


def test_the_whole_scene(scene, world, etcd):
    tside, callers = scene

    # traffic 100/0 -> 0/100 -> 90/10
    etcd.put(TRAFFIC, {"default": 100, "canary": 0})
    next_calls(callers, lambda who: who[0] == "d")
    assert to_clusters(callers.calls(60)) == (60, 0)
    assert to_clusters(callers.c_glib(20)) == (20, 0)
    etcd.put(TRAFFIC, {"default": 0, "canary": 100})
    next_calls(callers, lambda who: who == "c1")
    assert to_clusters(callers.calls(60)) == (0, 60)
    assert to_clusters(callers.c_glib(20)) == (0, 20)
    etcd.put(TRAFFIC, {"default": 90, "canary": 10})
    next_calls(callers, lambda who: who[0] in "dc")
    synced(tside, etcd)
    wait_until(lambda: callers.calls(40)["c1"] < 20, 3)
    split = to_clusters(callers.calls(600))
    assert 20 <= split[1] <= 110, split  # 60 expected; six standard deviations are 44

    # degrade 0 -> 100 -> 30, with each reply kind
    etcd.put(DEGRADE, 0)
    synced(tside, etcd)
    assert sum(to_clusters(callers.calls(20))) == 20
    kinds = {
        "degraded": (100, lambda: callers.c_glib(2), "exception 6 application error: [tside degraded]"),
        "degraded ": ({"percent": 100, "reply": {"exception": "be right back"}}, lambda: callers.c_glib(2),
                      "exception 6 application error: [tside degraded] be right back"),
        "code 1003": ({"percent": 100, "reply": {"base_resp": {"code": 1003, "message": "degraded"}}},
                      lambda: callers.c_glib(2), "code 1003"),
    }
    for told, (value, c_calls, c_told) in kinds.items():
        etcd.put(DEGRADE, value)
        next_calls(callers, lambda who: who == told.strip())
        assert callers.calls(20) == {told.strip(): 20}
        assert all(line.startswith(c_told) for line in wait_for_all(c_calls, c_told))
    etcd.put(DEGRADE, {"percent": 100, "reply": {"void": True}})
    wait_until(lambda: touch(callers) == "void", 3)
    assert callers.c_glib(3, method="Touch") == {"void": 3}
    etcd.put(DEGRADE, {"percent": 100, "reply": {"result": CANNED}})
    next_calls(callers, lambda who: who == "canned")
    assert callers.calls(20) == {"canned": 20}
    etcd.put(DEGRADE, 30)
    next_calls(callers, lambda who: who != "canned")
    synced(tside, etcd)
    wait_until(lambda: callers.calls(10)["canned"] == 0, 3)
    share = callers.calls(600)
    assert 110 <= share["degraded"] <= 250, share  # 180 expected
    etcd.delete(DEGRADE)
    next_calls(callers, lambda who: who != "degraded")
    wait_until(lambda: callers.calls(20)["degraded"] == 0, 3)

    # a timeout of 400 ms against a callee that sleeps
    etcd.put(f"{RULES}/*/*/{SERVICE}/*/Sleep/config", {"timeout_ms": 400})
    synced(tside, etcd)
    wait_until(lambda: sleeps(callers.python[0], 1000) == "timeout", 3)
    for caller in callers.python:
        assert sleeps(caller, 1000) == "timeout"
        assert sleeps(caller, 1) in ("d1", "d2", "d3", "c1")

    # weight 0, and back: in turns, for p2c may spare the one that was just seen to sleep
    etcd.put(f"{RULES}/*/*/{SERVICE}/*/*/config", {"lb": "round_robin"})
    address = world.thrift_callee("d2").address
    etcd.endpoint(SERVICE, "default", address, {"weight": 0})
    synced(tside, etcd)
    wait_until(lambda: callers.calls(30)["d2"] == 0, 3)
    assert callers.calls(100)["d2"] == 0
    etcd.endpoint(SERVICE, "default", address, {"weight": 10})
    wait_until(lambda: callers.calls(30)["d2"] > 0, 3)
    etcd.delete(f"{RULES}/*/*/{SERVICE}/*/*/config")

    # deny
    etcd.put(f"{RULES}/app.feed/*/{SERVICE}/*/*/config", {"access": "deny"})
    next_calls(callers, lambda who: who == "denied")
    assert callers.calls(10) == {"denied": 10}
    assert wait_for_all(lambda: callers.c_glib(2, caller="c.app"), "d")
    etcd.delete(f"{RULES}/app.feed/*/{SERVICE}/*/*/config")
    next_calls(callers, lambda who: who != "denied")

    # etcd is killed: calls go on
    before = seen_revision(tside)
    etcd.kill()
    for _ in range(3):
        assert sum(to_clusters(callers.calls(40))) == 40
    assert seen_revision(tside) == before

    # No call failed that no rule failed.
    told = {(labels["reason"], labels["method"]) for name, labels, value in tside.metrics()
            if name == "tside_calls_total" and value > 0}
    assert {reason for reason, _ in told} == {"ok", "degraded", "denied", "timeout"}, told
    assert {method for reason, method in told if reason == "timeout"} == {"Sleep"}

    # tside is started again without etcd: calls go on, from what is on disk
    tside.stop()
    tside.start()
    callers = Callers(world, tside)
    told = callers.calls(200)
    assert sum(to_clusters(told)) == 200 and told["c1"] < 60
    assert sleeps(callers.python[0], 1000) == "timeout"
    assert seen_revision(tside) == before

    # and etcd comes back
    etcd.start()
    etcd.put(TRAFFIC, {"canary": 1})
    wait_until(lambda: Callers.one(callers.python[0]) == "c1", 12)
    assert_map_is_etcds(tside, etcd)
    told = {labels["reason"] for name, labels, value in tside.metrics() if name == "tside_calls_total" and value > 0}
    assert told == {"ok", "timeout"}, told


def wait_for_all(calls, start: str) -> list[str]:
    """Each worker may take a moment: the first round of calls that all obey the new rule."""
    def good():
        told = list(calls())
        return told if all(line.startswith(start) for line in told) else None

    return wait_until(good, 3, f"everything starting with {start!r}")


def touch(callers: Callers) -> str:
    try:
        callers.python[0].call("Touch")
        return "void"
    except TApplicationException as error:
        return error.message


def sleeps(caller: Caller, ms: int) -> str:
    try:
        return caller.call("Sleep", number=ms).server
    except TApplicationException as error:
        return error.message.split("]")[0].removeprefix("[tside ")


def test_200_flips_put_to_effect(world, etcd):
    """From the put's beginning to the end of the first call that does as it says; p99 within 100 ms."""
    one, two = world.callee("one"), world.callee("two")
    etcd.endpoint(SERVICE, "default", one.address)
    etcd.endpoint(SERVICE, "canary", two.address)
    tside = on_etcd(world, etcd)
    links = world.spread(tside, 3 if world.workers > 1 else 1)
    took = []
    for flip in range(200):
        target = ("two", {"canary": 1}) if flip % 2 == 0 else ("one", {"default": 1})
        begun = time.monotonic()
        etcd.put_fast(TRAFFIC, target[1])
        for link in links:
            while link.call("Visit").server != target[0]:
                assert time.monotonic() - begun < 10, f"flip {flip} does not act"
        took.append((time.monotonic() - begun) * 1000)
    took.sort()
    print(f"put to effect over 200 flips, {world.workers} workers: median {took[99]:.1f} ms, "
          f"p99 {took[197]:.1f} ms, max {took[199]:.1f} ms")
    assert took[197] < 100 * PATIENCE
    assert tside.calls(reason="ok") == tside.calls()
    assert_map_is_etcds(tside, etcd)


def test_a_change_is_atomic_for_each_call_and_loses_none(world, etcd):
    """Flipping all the time under load: every call is answered by one of the two."""
    one, two = world.callee("one"), world.callee("two")
    etcd.endpoint(SERVICE, "default", one.address)
    etcd.endpoint(SERVICE, "canary", two.address)
    tside = on_etcd(world, etcd)
    stop, told = threading.Event(), collections.Counter()

    def caller(link: Link) -> None:
        while not stop.is_set():
            reply = link.call("Visit")
            told[reply.server or reply.reason] += 1

    threads = [threading.Thread(target=caller, args=(link,)) for link in world.spread(tside, 4)]
    for thread in threads:
        thread.start()
    for flip in range(60):
        etcd.put_fast(TRAFFIC, {"canary": 1} if flip % 2 else {"default": 1})
    wait_until(lambda: sum(told.values()) > 300)
    stop.set()
    for thread in threads:
        thread.join(10)
    assert set(told) == {"one", "two"}, told
    assert_map_is_etcds(tside, etcd)


def test_etcd_wins_over_the_file_key_by_key(world, etcd):
    one, two = world.callee("one"), world.callee("two")
    tside = world.tside(rules={f"{ANY}/traffic": {"default": 1}, f"{ANY}/config": {"timeout_ms": 77}},
                        default=[one], canary=[two], etcd={"endpoints": [etcd.url]})
    synced(tside, etcd)
    link = world.link(tside)
    assert link.call("Visit").server == "one"
    etcd.put(TRAFFIC, {"canary": 1})
    wait_until(lambda: link.call("Visit").server == "two", 3)
    shown = tside.explain(f"x/default/{SERVICE}/default/Visit")
    assert shown["effective"]["timeout_ms"]["value"] == 77
    etcd.put(TRAFFIC, {"canary": -1})  # rejected: etcd's last good one stays
    wait_until(lambda: tside.errors(), 3)
    assert link.call("Visit").server == "two"
    etcd.delete(TRAFFIC)  # restores what lies beneath
    wait_until(lambda: link.call("Visit").server == "one", 3)
    assert tside.errors() == []


def test_a_rejected_value_is_listed_until_it_is_mended(world, etcd):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    etcd.put(CONFIG, {"access": "deny"})
    tside = on_etcd(world, etcd)
    link = world.link(tside)
    assert link.call("Visit").reason == "denied"
    etcd.put(CONFIG, "{not json")
    [error] = wait_until(tside.errors, 3)
    assert error["key"] == CONFIG and error["mod_revision"] == etcd.revision()
    assert "deny" in json.dumps(error["in_force"])
    assert link.call("Visit").reason == "denied"
    etcd.put(CONFIG, {"access": "allow"})
    wait_until(lambda: link.call("Visit").server == "a", 3)
    assert (tside.errors(), tside.metric("tside_rules_rejected")) == ([], 0)
    etcd.put(CONFIG, "{not json")
    wait_until(tside.errors, 3)
    etcd.delete(CONFIG)
    wait_until(lambda: not tside.errors(), 3)


def test_keys_of_another_form_are_counted_and_left_alone(world, etcd):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    for key in (f"{RULES}/x", f"{RULES}/a/b/c/d/e/f/traffic", f"{SERVICES}/a/b", "/other/key", f"{RULES}x/{ANY}/config"):
        etcd.put(key, {"access": "deny"})
    tside = on_etcd(world, etcd)
    assert world.link(tside).call("Visit").server == "a"
    assert tside.errors() == []


def test_other_prefixes(world, etcd):
    """An empty rules prefix gives the plain five-name layout at the root."""
    etcd.put(f"/endpoints/{SERVICE}/default/{world.callee('a').address}", "")
    etcd.put(f"/{ANY}/traffic", {"default": 1})
    etcd.put(f"/app.bad/*/{SERVICE}/*/*/config", {"access": "deny"})
    tside = world.tside(etcd={"endpoints": [etcd.url], "rules_prefix": "", "services_prefix": "/endpoints"}, rules_file=None)
    synced(tside, etcd)
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    assert link.call("Visit", caller="app.bad").reason == "denied"


def test_start_without_etcd_and_without_a_state_waits_and_then_serves(world, etcd):
    """Nothing known yet: not ready; etcd comes, and calls are served without a restart."""
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    etcd.kill()
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None, ready=False)
    assert tside.get("/livez")[0] == 200
    assert tside.get("/readyz")[0] == 503
    link = world.link(tside)
    assert link.call("Visit").reason == "no_endpoint"  # it waited for rules, and none came
    etcd.start()
    wait_until(lambda: tside.get("/readyz")[0] == 200, 12)
    wait_until(lambda: link.call("Visit").server == "a", 3)


def test_a_second_etcd_address_takes_over(world, etcd):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    tside = world.tside(etcd={"endpoints": ["http://127.0.0.1:1", etcd.url]}, rules_file=None)
    wait_until(lambda: world.link(tside).call("Visit").server == "a", 10)


def test_a_restarted_etcd_is_followed_again(world, etcd):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    tside = on_etcd(world, etcd)
    link = world.link(tside)
    for turn in range(2):
        if turn == 0:
            etcd.kill()
        else:
            etcd.process.terminate()
        assert link.call("Visit").server == "a"
        etcd.start()
        etcd.put(CONFIG, {"access": "deny"})
        wait_until(lambda: link.call("Visit").reason == "denied", 12)
        etcd.delete(CONFIG)
        wait_until(lambda: link.call("Visit").server == "a", 12)
    assert_map_is_etcds(tside, etcd)


def test_changes_during_an_outage_are_found(world, etcd):
    """Put, delete and compaction while tside is stopped: the list and the watch bring it all."""
    a, b = world.callee("a"), world.callee("b")
    etcd.endpoint(SERVICE, "default", a.address)
    etcd.put(CONFIG, {"access": "deny"})
    tside = on_etcd(world, etcd)
    assert world.link(tside).call("Visit").reason == "denied"
    tside.stop()
    etcd.delete(CONFIG)
    etcd.endpoint(SERVICE, "canary", b.address)
    etcd.put(TRAFFIC, {"canary": 1})
    etcd.ctl("compact", str(etcd.revision()))
    tside.start()
    link = world.link(tside)
    wait_until(lambda: link.call("Visit").server == "b", 5)
    assert_map_is_etcds(tside, etcd)


def test_many_keys_in_pages(world, etcd):
    """More keys than a page holds, all there, and the last one of them in force."""
    etcd.put_many({f"{RULES}/*/*/svc{i}/*/*/config": {"timeout_ms": i + 1} for i in range(2500)})
    tside = on_etcd(world, etcd)
    for i in (0, 1234, 2499):
        assert tside.explain(f"x/default/svc{i}/default/m")["effective"]["timeout_ms"]["value"] == i + 1
    assert_map_is_etcds(tside, etcd)


def test_the_state_on_disk_survives_kill_9(world, etcd):
    """Whatever moment tside dies at, it starts from a whole state."""
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    tside = on_etcd(world, etcd)
    for turn in range(4):
        for i in range(10):
            etcd.put_fast(f"{RULES}/*/*/svc{i}/*/*/config", {"timeout_ms": 100 + turn * 10 + i})
        synced(tside, etcd)
        tside.signal(signal.SIGKILL)
        tside.child.wait()
        tside.start()
        assert world.link(tside).call("Visit").server == "a"
    etcd.kill()
    tside.signal(signal.SIGKILL)
    tside.child.wait()
    tside.start()
    assert world.link(tside).call("Visit").server == "a"


@pytest.mark.parametrize("damage", ["cut", "flipped", "emptied", "garbage"])
def test_a_damaged_state_file_is_refused_not_believed(world, etcd, damage):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    tside = on_etcd(world, etcd)
    tside.stop()
    files = [path for path in (tside.folder / "state").rglob("*") if path.is_file() and path.stat().st_size > 20]
    assert files, "there is a state on disk"
    for path in files:
        data = bytearray(path.read_bytes())
        if damage == "cut":
            data = data[:len(data) // 2]
        elif damage == "flipped":
            data[len(data) // 2] ^= 0x20
        elif damage == "emptied":
            data = bytearray()
        else:
            data = bytearray(b"\xff" * 5000)
        path.write_bytes(data)
    tside.start(ready=False)
    wait_until(lambda: tside.get("/readyz")[0] == 200, 10)  # etcd is there and heals it
    link = world.link(tside)
    wait_until(lambda: link.call("Visit").server == "a", 5)
    assert [line for line in tside.log() if line.get("level") in ("warn", "error") and "state" in json.dumps(line)]


def test_leases_deletes_and_expiry(world, etcd):
    """A delete acts at once; a lease that ends takes its key along."""
    a, b, c = (world.callee(name) for name in "abc")
    etcd.endpoint(SERVICE, "default", a.address)
    lease = etcd.lease(600)
    etcd.endpoint(SERVICE, "default", b.address, lease=lease)
    etcd.endpoint(SERVICE, "default", c.address)
    tside = on_etcd(world, etcd)
    link = world.link(tside)
    assert {link.call("Visit").server for _ in range(60)} == {"a", "b", "c"}
    etcd.delete(f"{SERVICES}/{SERVICE}/default/{b.address}")
    wait_until(lambda: {link.call("Visit").server for _ in range(30)} == {"a", "c"}, 2)
    etcd.delete(f"{SERVICES}/{SERVICE}/default/{c.address}")
    wait_until(lambda: {link.call("Visit").server for _ in range(10)} == {"a"}, 2)
    etcd.delete(f"{SERVICES}/{SERVICE}/default/{a.address}")
    wait_until(lambda: link.call("Visit").reason == "no_endpoint", 2)  # operators' word acts at once


def test_api_etcd(world, etcd):
    tside = on_etcd(world, etcd)
    etcd.put(CONFIG, {"timeout_ms": 5})
    synced(tside, etcd)
    shown = tside.json("/api/v1/etcd")
    assert etcd.url in json.dumps(shown)
    assert str(etcd.revision()) in json.dumps(shown)
    wait_until(lambda: tside.json("/api/v1/etcd")["disk"]["written_at"], 10)  # by this process, none loaded
    assert abs(tside.json("/api/v1/etcd")["disk"]["written_at"] / 1000 - time.time()) < 60
    shown = tside.json("/api/v1/etcd")
    etcd.kill()
    wait_until(lambda: tside.json("/api/v1/etcd") != shown, 12)
    assert tside.get("/readyz")[0] == 200


def test_snapshot_says_where_it_is_from(world, etcd):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    tside = on_etcd(world, etcd)
    shown = tside.explain(f"x/default/{SERVICE}/default/Visit")["snapshot"]
    assert shown["source"] == "etcd" and shown["revision"] == etcd.revision() and shown["age_s"] >= 0
    tside.stop()
    etcd.kill()
    tside.start()
    assert tside.explain(f"x/default/{SERVICE}/default/Visit")["snapshot"]["source"] == "disk"


def test_calls_wait_for_nothing_of_etcd(world, etcd):
    """etcd stops answering (SIGSTOP): calls take no longer than before."""
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    tside = on_etcd(world, etcd)
    link = world.link(tside)
    etcd.process.signal(signal.SIGSTOP)
    try:
        begun = time.monotonic()
        while time.monotonic() - begun < 2:
            one = time.monotonic()
            assert link.call("Visit").server == "a"
            assert time.monotonic() - one < 0.5 * PATIENCE
    finally:
        etcd.process.signal(signal.SIGCONT)
    etcd.put(CONFIG, {"access": "deny"})
    wait_until(lambda: link.call("Visit").reason == "denied", 15)
