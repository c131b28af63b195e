"""The embedded rules file: splits, degrade, deny, zones, fallback, and all of it changed while calls go on."""

import base64
import collections
import os
import time

import pytest
from thrift.Thrift import TApplicationException

from support import wire
from support.callee import Echo
from support.tside import SERVICE, endpoints
from support.wait import PATIENCE, wait_until

TRAFFIC = f"*/*/{SERVICE}/*/*/traffic"
DEGRADE = f"*/*/{SERVICE}/*/*/degrade"
CONFIG = f"*/*/{SERVICE}/*/*/config"


def served(links: list, n: int, **kwargs) -> collections.Counter:
    """Which callees served n calls, made in turns over these connections; reasons of those not served."""
    count: collections.Counter = collections.Counter()
    for i in range(n):
        reply = links[i % len(links)].call("Visit", **{"log_id": f"log-{i}", **kwargs})
        count[reply.server or reply.reason] += 1
    return count


def two_clusters(world, traffic, **kwargs):
    """default: a1, a2, a3; canary: c1; clusters of callees by their first letter."""
    defaults = [world.callee(name) for name in ("a1", "a2", "a3")]
    canary = world.callee("c1")
    rules = {TRAFFIC: traffic} if traffic is not None else {}
    rules.update(kwargs.pop("rules", {}))
    return world.tside(rules=rules, default=defaults, canary=[canary], **kwargs)


def clusters(count: collections.Counter) -> tuple[int, int]:
    return sum(n for name, n in count.items() if name[0] == "a"), count["c1"]


def test_without_a_rule_calls_go_to_their_own_cluster(world):
    tside = two_clusters(world, None)
    links = world.spread(tside)
    assert clusters(served(links, 60)) == (60, 0)
    assert clusters(served(links, 20, to_cluster="canary")) == (0, 20)


def test_an_edit_acts_within_a_second_and_for_every_caller(world):
    tside = two_clusters(world, {"default": 100, "canary": 0})
    links = world.spread(tside)
    assert clusters(served(links, 80)) == (80, 0)
    for weights, expected in (({"default": 0, "canary": 100}, "c1"), ({"default": 100, "canary": 0}, "a")):
        tside.rules[TRAFFIC] = weights
        tside.write_rules()
        edited = time.monotonic()
        for link in links:
            wait_until(lambda: link.call("Visit").server.startswith(expected), 3)
        assert time.monotonic() - edited < 1.0 * PATIENCE
        assert clusters(served(links, 80)) == ((0, 80) if expected == "c1" else (80, 0))


def test_a_file_written_in_place_is_seen_too(world):
    tside = two_clusters(world, {"default": 1, "canary": 0})
    link = world.link(tside)
    assert link.call("Visit").server[0] == "a"
    tside.rules[TRAFFIC] = {"canary": 1}
    with open(tside.rules_path, "r+") as file:
        file.truncate()
        file.write(tside.rules_text())
    wait_until(lambda: link.call("Visit").server == "c1", 3)


def test_a_file_behind_a_switched_symlink_is_seen_too(world):
    """As Kubernetes updates a ConfigMap: the directory behind a link is exchanged."""
    tside = two_clusters(world, {"default": 1, "canary": 0})
    link = world.link(tside)
    for turn, (weights, expected) in enumerate([({"canary": 1}, "c"), ({"default": 1}, "a")]):
        tside.rules[TRAFFIC] = weights
        folder = tside.folder / f"data-{turn}"
        folder.mkdir()
        (folder / "rules.yaml").write_text(tside.rules_text())
        aside = tside.folder / "rules.link"
        aside.symlink_to(folder / "rules.yaml")
        os.rename(aside, tside.rules_path)
        wait_until(lambda: link.call("Visit").server[0] == expected, 3)


def test_split_by_weight(world):
    tside = two_clusters(world, {"default": 90, "canary": 10})
    to_default, to_canary = clusters(served(world.spread(tside), 1000))
    # 1,000 draws at 10 %: six standard deviations are 57.
    assert 43 <= to_canary <= 157 and to_default + to_canary == 1000


def test_weight_0_is_none_at_all(world):
    tside = two_clusters(world, {"default": 1_000_000, "canary": 0})
    assert clusters(served(world.spread(tside), 400)) == (400, 0)


def test_an_endpoint_of_weight_0_gets_no_call(world):
    callees = [world.callee(name) for name in ("a1", "a2", "a3")]
    tside = world.tside(rules={CONFIG: {"lb": "round_robin"}}, default=callees)
    links = world.spread(tside)
    assert set(served(links, 90)) == {"a1", "a2", "a3"}
    tside.change(services={f"{SERVICE}/default/{callees[1].address}": {"weight": 0}})
    assert set(served(links, 90)) == {"a1", "a3"}
    tside.change(services={f"{SERVICE}/default/{c.address}": {"weight": 0} for c in callees})
    assert set(served(links, 9)) == {"no_endpoint"}
    tside.change(services={f"{SERVICE}/default/{callees[1].address}": {"weight": 1}})
    assert set(served(links, 30)) == {"a2"}


def test_endpoint_weights_are_kept_by_round_robin(world):
    callees = [world.callee(name) for name in ("heavy", "light")]
    tside = world.tside(rules={CONFIG: {"lb": "round_robin"}}, services={
        f"{SERVICE}/default/{callees[0].address}": {"weight": 9},
        f"{SERVICE}/default/{callees[1].address}": {"weight": 1}})
    assert served([world.link(tside)], 100) == {"heavy": 90, "light": 10}


def test_endpoint_weights_are_kept_by_p2c(world):
    """Of two that are equally fast; the access log names the one that served."""
    heavy, light = Echo(), Echo()
    try:
        tside = world.tside(rules={CONFIG: {"lb": "p2c", "access_log": 1}}, services={
            f"{SERVICE}/default/{heavy.address}": {"weight": 9}, f"{SERVICE}/default/{light.address}": {"weight": 1}})
        links = world.spread(tside)
        for i in range(1000):
            assert links[i % len(links)].call("Visit").type == wire.REPLY
        wait_until(lambda: len(tside.events("call", reason="ok")) == 1000)
        count = collections.Counter(line["upstream"] for line in tside.events("call", reason="ok"))
        # The host's hiccups weigh, too: exact shares are held by lb's simulation.
        assert 1 <= count[light.address] <= 500, count
    finally:
        heavy.stop()
        light.stop()


def test_deny_and_allow(world):
    callee = world.callee("a")
    tside = world.tside(rules={f"bad.app/*/{SERVICE}/*/*/config": {"access": "deny"}}, default=[callee])
    link = world.link(tside)
    reply = link.call("Visit", caller="bad.app", seqid=8)
    assert (reply.reason, reply.seqid) == ("denied", 8)
    assert link.call("Visit", caller="good.app").server == "a"
    tside.change(drop=[f"bad.app/*/{SERVICE}/*/*/config"])
    assert link.call("Visit", caller="bad.app").server == "a"


# ---- degrade -----------------------------------------------------------------------------------


def test_degrade_0_100_and_30(world):
    tside = world.tside(rules={DEGRADE: 0}, default=[world.callee("a")])
    links = world.spread(tside)
    assert served(links, 100) == {"a": 100}
    tside.change({DEGRADE: 100})
    assert served(links, 100) == {"degraded": 100}
    tside.change({DEGRADE: 30})
    count = served(links, 1000)
    # 30 % of 1,000: six standard deviations are 87.
    assert 213 <= count["degraded"] <= 387 and count["a"] == 1000 - count["degraded"]
    tside.change(drop=[DEGRADE])
    assert served(links, 50) == {"a": 50}


def test_degrade_steps_of_a_hundredth_of_a_percent(world):
    tside = world.tside(rules={DEGRADE: 0.01}, default=[world.callee("a")])
    assert tside.errors() == []
    link = world.link(tside)
    assert sum(link.call("Visit").reason == "degraded" for _ in range(300)) < 10
    tside.change({DEGRADE: 99.99})
    assert sum(link.call("Visit").reason == "degraded" for _ in range(300)) > 290


def degraded(percent=100, **reply) -> dict:
    return {"percent": percent, "reply": reply}


def test_degrade_reply_default_exception(world):
    callee = world.callee("a")
    tside = world.tside(rules={DEGRADE: {"percent": 100}}, default=[callee])
    with pytest.raises(TApplicationException) as raised:
        world.caller(tside).visit()
    assert raised.value.type == TApplicationException.INTERNAL_ERROR
    assert raised.value.message.startswith("[tside degraded] ")
    assert raised.value.message.endswith(f" tside explain app.feed/default/{SERVICE}/default/Visit")
    assert callee.count == 0


def test_degrade_reply_exception(world):
    tside = world.tside(rules={DEGRADE: degraded(exception="come back höher")}, default=[world.callee("a")])
    with pytest.raises(TApplicationException) as raised:
        world.caller(tside).visit()
    assert (raised.value.type, raised.value.message) == (6, "[tside degraded] come back höher")


def test_degrade_reply_base_resp(world):
    tside = world.tside(rules={DEGRADE: degraded(base_resp={"code": 1003, "message": "degraded"})},
                        default=[world.callee("a")])
    answer = world.caller(tside).visit()
    assert (answer.baseResp.StatusCode, answer.baseResp.StatusMessage) == (1003, "degraded")
    raw = world.link(tside).call("Visit", seqid=6)
    assert (raw.type, raw.seqid, raw.name) == (wire.REPLY, 6, b"Visit")
    assert raw.args == [(0, wire.STRUCT, [(255, wire.STRUCT, [(1, wire.STRING, b"degraded"),
                                                              (2, wire.I32, 1003)])])]


def test_degrade_reply_void(world):
    tside = world.tside(rules={DEGRADE: degraded(void=True)}, default=[world.callee("a")])
    assert world.caller(tside).call("Touch") is None
    assert world.link(tside).call("Touch").args == []


def test_degrade_reply_result(world):
    result = wire.encode(wire.STRUCT, wire.response("canned", "from the rule", code=0))
    tside = world.tside(rules={DEGRADE: degraded(result=base64.b64encode(result).decode())},
                        default=[world.callee("a")])
    answer = world.caller(tside).visit()
    assert (answer.server, answer.text, answer.baseResp.StatusCode) == ("canned", "from the rule", 0)
    raw = world.link(tside).call("Visit")
    assert raw.body[-len(result):] == result


@pytest.mark.parametrize("reply", [
    {"result": "!!"}, {"result": ""}, {"result": base64.b64encode(b"\0\0").decode()},
    {"result": base64.b64encode(b"\x0b\0\0").decode()}, {"void": False}, {"void": 1}, {},
    {"void": True, "exception": "x"}, {"base_resp": {}}, {"base_resp": {"code": "x"}}, {"text": "x"},
    {"base_resp": {"code": 2 ** 31}}, {"exception": 5}, "text",
], ids=str)
def test_degrade_replies_that_are_refused(world, reply):
    callee = world.callee("a")
    tside = world.tside(rules={DEGRADE: {"percent": 100, "reply": reply}}, default=[callee])
    [error] = tside.errors()
    assert error["key"].endswith(DEGRADE) and error["in_force"] is None
    assert "reply" in error["field"]
    assert world.link(tside).call("Visit").server == "a"


def test_degrade_is_sticky_by_log_id(world):
    tside = world.tside(rules={DEGRADE: {"percent": 50, "by": "log_id"}}, default=[world.callee("a")])
    links = world.spread(tside)
    fate = {f"log-{i}": links[0].call("Visit", log_id=f"log-{i}").reason for i in range(200)}
    assert 60 <= sum(reason == "degraded" for reason in fate.values()) <= 140
    for i, (log_id, reason) in enumerate(fate.items()):
        assert links[1 + i % 7].call("Visit", log_id=log_id).reason == reason


def test_degrade_and_traffic_draw_from_different_seeds(world):
    """Who is degraded says nothing about where the others go: half of 50 % still splits in half."""
    tside = two_clusters(world, {"clusters": {"default": 50, "canary": 50}, "by": "log_id"},
                         rules={DEGRADE: {"percent": 50, "by": "log_id"}})
    count = served(world.spread(tside), 800)
    to_default, to_canary = clusters(count)
    assert 300 <= count["degraded"] <= 500
    assert to_default > 120 and to_canary > 120, count


# ---- by ----------------------------------------------------------------------------------------


def split_by(world, by: str):
    return two_clusters(world, {"clusters": {"default": 50, "canary": 50}, "by": by})


@pytest.mark.parametrize("by, given", [
    ("log_id", lambda i: {"log_id": f"value-{i}"}),
    ("caller", lambda i: {"caller": f"value-{i}"}),
    ("extra:user", lambda i: {"extra": {"user": f"value-{i}"}}),
])
def test_one_value_goes_one_way(world, by, given):
    tside = split_by(world, by)
    links = world.spread(tside)
    ways = [links[0].call("Visit", **given(i)).server == "c1" for i in range(200)]
    assert 60 <= sum(ways) <= 140
    for turn in range(1, 4):
        assert [links[turn].call("Visit", **given(i)).server == "c1" for i in range(100)] == ways[:100]


def test_the_value_alone_decides_for_every_callee_and_method(world):
    """One LogID goes one way along a whole chain."""
    tside = split_by(world, "log_id")
    other = world.callee("o1")
    second = world.callee("o2")
    tside.change(rules={"*/*/other.service/*/*/traffic": {"clusters": {"default": 50, "canary": 50},
                                                          "by": "log_id"}},
                 services=endpoints("other.service", default=[other], canary=[second]))
    link = world.link(tside)
    for i in range(100):
        canary = link.call("Visit", log_id=f"log-{i}").server == "c1"
        assert (link.call("Other", to="other.service", log_id=f"log-{i}", caller="x").server == "o2") == canary


@pytest.mark.parametrize("by, given", [
    ("extra:user", {}), ("caller", {"caller": None}),
])
def test_where_the_value_is_absent_the_draw_is_random(world, by, given):
    tside = split_by(world, by)
    link = world.link(tside)
    ways = sum(link.call("Visit", log_id="same", **given).server == "c1" for _ in range(200))
    assert 60 <= ways <= 140


# ---- zones, fallback -----------------------------------------------------------------------------


def test_zones_and_their_spilling(world):
    lf, hl, none = (world.callee(name) for name in ("lf", "hl", "none"))
    services = {f"{SERVICE}/default/{lf.address}": {"zone": "lf"}, f"{SERVICE}/default/{hl.address}": {"zone": "hl"},
                f"{SERVICE}/default/{none.address}": {}}
    tside = world.tside(rules={TRAFFIC: {"default@lf": 70, "default@hl": 30}, CONFIG: {"lb": "round_robin"}},
                        services=services)
    links = world.spread(tside)
    count = served(links, 500)
    assert set(count) == {"lf", "hl"} and 280 <= count["lf"] <= 420, count
    tside.change({TRAFFIC: {"default@lf": 1}})
    assert set(served(links, 100)) == {"lf"}
    tside.change(services={f"{SERVICE}/default/{lf.address}": {"zone": "lf", "weight": 0}})
    assert set(served(links, 100)) == {"hl", "none"}
    tside.change({TRAFFIC: {"default@nowhere": 1}})
    assert set(served(links, 100)) == {"hl", "none"}


def test_a_cluster_without_endpoints_falls_back_where_that_is_configured(world):
    tside = two_clusters(world, {"empty": 1})
    links = world.spread(tside)
    assert served(links, 8) == {"no_endpoint": 8}
    tside.change({CONFIG: {"fallback_cluster": "canary"}})
    assert served(links, 8) == {"c1": 8}
    tside.change({TRAFFIC: {"default": 1}})
    assert clusters(served(links, 8)) == (8, 0)


def test_traffic_to_a_cluster_without_a_rule_is_as_to_default(world):
    """ToCluster says where without a rule; a rule for that ToCluster says otherwise."""
    tside = two_clusters(world, None, rules={f"*/*/{SERVICE}/canary/*/traffic": {"default": 1}})
    links = world.spread(tside)
    assert clusters(served(links, 8, to_cluster="canary")) == (8, 0)
    assert clusters(served(links, 8)) == (8, 0)


# ---- what is wrong with a file -------------------------------------------------------------------


def test_a_bad_value_leaves_the_last_good_one_in_force(world):
    tside = two_clusters(world, {"default": 0, "canary": 1}, rules={CONFIG: {"access": "allow"}})
    links = world.spread(tside)
    tside.change({TRAFFIC: {"default": -1}, CONFIG: {"access": "deny"}})
    assert served(links, 8) == {"denied": 8}
    tside.change({CONFIG: {"access": "allow"}})
    assert served(links, 8) == {"c1": 8}
    [error] = tside.errors()
    assert error["key"].endswith(TRAFFIC) and error["field"] == "default"
    assert "1000000" in error["reason"].replace(",", "") and error["mod_revision"] == 0
    assert error["in_force"] == {"default": 0, "canary": 1} or '"canary": 1' in str(error["in_force"])
    assert abs(error["since"] / 1000 - time.time()) < 60
    assert tside.metric("tside_rules_rejected") == 1
    tside.change({TRAFFIC: {"default": 1}})
    assert (tside.errors(), tside.metric("tside_rules_rejected")) == ([], 0)
    assert clusters(served(links, 8)) == (8, 0)


def test_a_file_that_is_no_yaml_changes_nothing(world):
    tside = two_clusters(world, {"canary": 1})
    link = world.link(tside)
    tside.rules_path.write_text("rules: {unclosed: [\n")
    wait_until(lambda: [line for line in tside.log() if line.get("level") in ("warn", "error")], 3,
               "a complaint about the file")
    assert link.call("Visit").server == "c1"
    tside.rules[TRAFFIC] = {"default": 1}
    tside.write_rules()
    wait_until(lambda: link.call("Visit").server[0] == "a", 3)


def test_a_file_that_goes_away_changes_nothing(world):
    tside = two_clusters(world, {"canary": 1})
    link = world.link(tside)
    tside.rules_path.unlink()
    wait_until(lambda: [line for line in tside.log() if line.get("level") in ("warn", "error")], 3,
               "a complaint about the missing file")
    assert link.call("Visit").server == "c1"
    tside.rules[TRAFFIC] = {"default": 1}
    tside.write_rules()
    wait_until(lambda: link.call("Visit").server[0] == "a", 3)


BAD_KEYS = {
    "empty name": f"/*/{SERVICE}/*/*/traffic", "dash": f"-/*/{SERVICE}/*/*/traffic",
    "lower-case hex": f"a%2f/*/{SERVICE}/*/*/traffic", "needless encoding": f"%61/*/{SERVICE}/*/*/traffic",
}


@pytest.mark.parametrize("case", BAD_KEYS, ids=lambda c: c.replace(" ", "_"))
def test_names_in_keys_that_are_refused_and_listed(world, case):
    tside = two_clusters(world, None, rules={BAD_KEYS[case]: {"canary": 1}})
    assert [error["key"].endswith(BAD_KEYS[case]) for error in tside.errors()] == [True]
    assert world.link(tside).call("Visit", caller="a").server[0] == "a"


def test_keys_that_are_not_ours_are_left_alone(world):
    tside = two_clusters(world, None, rules={f"a/b/{SERVICE}/traffic": {"canary": 1}, "x": 5,
                                             f"*/*/{SERVICE}/*/*/other": {"canary": 1}})
    assert tside.errors() == []
    assert world.link(tside).call("Visit").server[0] == "a"


BAD_VALUES = {
    "all 0": (TRAFFIC, {"default": 0}), "negative": (TRAFFIC, {"default": -1}), "too heavy": (TRAFFIC, {"x": 1_000_001}),
    "empty": (TRAFFIC, {}), "a list": (TRAFFIC, [1]), "fractional": (TRAFFIC, {"default": 0.5}),
    "unknown by": (TRAFFIC, {"clusters": {"default": 1}, "by": "moon"}),
    "unknown field": (TRAFFIC, {"clusters": {"default": 1}, "weight": "x"}),
    "over 100": (DEGRADE, 101), "under 0": (DEGRADE, -1), "finer than 0.01": (DEGRADE, 0.001), "a string": (DEGRADE, "30"),
    "a misspelt field": (CONFIG, {"timeuot_ms": 5}), "a wrong type": (CONFIG, {"timeout_ms": "5"}),
    "out of range": (CONFIG, {"timeout_ms": 0}), "an unknown enum": (CONFIG, {"lb": "fastest"}),
    "out of range, nested": (CONFIG, {"pool": {"max_connections": 0}}), "unknown, nested": (CONFIG, {"pool": {"size": 1}}),
    "no object": (CONFIG, 5), "ranges upside down": (CONFIG, {"failures": {"base_resp": [[5, 1]]}}),
    "a cluster that is no name": (CONFIG, {"fallback_cluster": "n" * 257}),
}


@pytest.mark.parametrize("case", BAD_VALUES, ids=lambda c: c.replace(" ", "_"))
def test_values_that_are_refused_one_key_only(world, case):
    key, value = BAD_VALUES[case]
    tside = two_clusters(world, None, rules={key: value, "*/*/denied.service/*/*/config": {"access": "deny"}})
    [error] = tside.errors()
    assert error["key"].endswith(key) and error["reason"] and error["in_force"] is None
    link = world.link(tside)
    assert link.call("Visit").server[0] == "a"
    assert link.call("Visit", to="denied.service").reason == "denied"
