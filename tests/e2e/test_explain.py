"""explain: by the admin port, by the verb against a running tside, and offline on a rules file.

The same code decides real calls, so every case asks both.
"""

import collections
import json

import pytest

from support import deftable
from support.tside import SERVICE, cli, endpoints

TUPLE = f"app.feed/default/{SERVICE}/default/Visit"
ANY = f"*/*/{SERVICE}/*/*"


def test_what_it_shows(world):
    callee = world.callee("a")
    tside = world.tside(rules={f"{ANY}/traffic": {"default": 90, "canary": 10}, f"{ANY}/config": {"timeout_ms": 300},
                               "*/*/*/*/*/config": {"timeout_ms": 700, "pool": {"max_idle": 5}}},
                        default=[callee], canary=[world.callee("c")])
    shown = tside.explain(TUPLE)
    assert shown["tuple"] == TUPLE or [shown["tuple"][k] for k in shown["tuple"]] == TUPLE.split("/")
    assert set(shown["snapshot"]) >= {"revision", "source", "age_s"} and shown["snapshot"]["revision"] == 0
    assert set(shown["steps"]) == {"traffic", "degrade", "config"}
    [traffic] = shown["steps"]["traffic"]["candidates"]
    assert traffic["key"] == f"/tside/rules/{ANY}/traffic"
    assert (traffic["status"], traffic["mod_revision"]) == ("matched", 0)
    assert traffic["value"] == {"default": 90, "canary": 10}
    assert shown["steps"]["degrade"]["candidates"] == []
    first, second = shown["steps"]["config"]["candidates"]
    assert (first["key"], second["key"]) == (f"/tside/rules/{ANY}/config", "/tside/rules/*/*/*/*/*/config")
    assert shown["effective"]["timeout_ms"] == {"value": 300, "from": f"/tside/rules/{ANY}/config", "order": "caller"}
    assert shown["effective"]["pool.max_idle"] == {"value": 5, "from": "/tside/rules/*/*/*/*/*/config", "order": "callee"}
    assert shown["effective"]["connect_timeout_ms"] == {"value": 50, "from": "default", "order": "caller"}
    assert callee.address in json.dumps(shown["targets"])
    assert shown["outcome"]["action"] == "forward"


def test_every_field_is_shown(world):
    shown = world.tside().explain(TUPLE)["effective"]
    for field in deftable.fields():
        mine = [path for path in shown if path == field.path or path.startswith(field.path + ".")]
        assert mine, field.path
        if field.state == "BUILT":
            assert shown[field.path]["from"] == "default"
        else:
            assert "not yet" in json.dumps([shown[path] for path in mine]), field.path


def test_shadowed_and_rejected_candidates(world):
    tside = world.tside(rules={f"{ANY}/degrade": 5, "*/*/*/*/*/degrade": 6, f"app.feed/*/{SERVICE}/*/*/degrade": 101})
    shown = {c["key"].removeprefix("/tside/rules/"): c for c in tside.explain(TUPLE)["steps"]["degrade"]["candidates"]}
    assert shown[f"{ANY}/degrade"]["status"] == "matched"
    assert shown["*/*/*/*/*/degrade"]["status"] == "shadowed"
    rejected = shown[f"app.feed/*/{SERVICE}/*/*/degrade"]
    assert rejected["status"] == "rejected" and "100" in json.dumps(rejected)
    # Beside a last good value that is in force, `rejected` shows the newer one.
    tside.change({f"{ANY}/degrade": -1})
    beside = {c["key"]: c for c in tside.explain(TUPLE)["steps"]["degrade"]["candidates"]}[f"/tside/rules/{ANY}/degrade"]
    assert beside["status"] == "matched" and beside["value"] == 5
    assert set(beside["rejected"]) >= {"mod_revision", "reason"}


OUTCOMES = {
    "forward": ({}, TUPLE, ("forward", "ok")),
    "denied": ({f"{ANY}/config": {"access": "deny"}}, TUPLE, ("deny", "denied")),
    "degraded": ({f"{ANY}/degrade": 100}, TUPLE, ("degrade", "degraded")),
    "no endpoint": ({f"{ANY}/traffic": {"empty": 1}}, TUPLE, ("fail", "no_endpoint")),
    "unknown callee": ({}, "app.feed/default/nobody/default/Visit", ("fail", "no_endpoint")),
    "no route": ({}, "app.feed/default/-/default/Visit", ("fail", "no_route")),
    "deny before degrade": ({f"{ANY}/config": {"access": "deny"}, f"{ANY}/degrade": 100}, TUPLE, ("deny", "denied")),
    "degrade before no endpoint": ({f"{ANY}/traffic": {"empty": 1}, f"{ANY}/degrade": 100}, TUPLE,
                                   ("degrade", "degraded")),
}


@pytest.mark.parametrize("case", OUTCOMES, ids=lambda c: c.replace(" ", "_"))
def test_outcomes_are_those_of_real_calls(world, case):
    rules, tuple_, (action, reason) = OUTCOMES[case]
    tside = world.tside(rules=rules, default=[world.callee("a")])
    outcome = tside.explain(tuple_)["outcome"]
    to = tuple_.split("/")[2]
    reply = world.link(tside).call("Visit", to=None if to == "-" else to)
    assert (reply.reason or "ok") == reason
    assert outcome["action"] == action
    if action != "forward":
        assert outcome["reason"] == reason


@pytest.mark.parametrize("by", ["log_id", "caller"])
def test_with_a_log_id_it_tells_where_that_call_goes(world, by):
    tside = world.tside(rules={f"{ANY}/traffic": {"clusters": {"default": 50, "canary": 50}, "by": by},
                               f"{ANY}/degrade": {"percent": 30, "by": "log_id"}},
                        default=[world.callee("d")], canary=[world.callee("c")])
    link = world.link(tside)
    told: collections.Counter = collections.Counter()
    for i in range(60):
        shown = tside.explain(TUPLE, log_id=f"log-{i}")["outcome"]
        reply = link.call("Visit", log_id=f"log-{i}")
        if reply.reason == "degraded":
            assert shown["action"] == "degrade"
        else:
            assert shown["action"] == "forward"
            if "cluster" in shown:
                assert shown["cluster"][0] == reply.server
        told[reply.reason or reply.server] += 1
    assert told["degraded"] > 0


def test_short_tuples_and_bad_ones(world):
    tside = world.tside(default=[world.callee("a")])
    long, short = tside.explain(TUPLE), tside.explain(f"app.feed/{SERVICE}/Visit")
    assert long["effective"] == short["effective"] and long["tuple"] == short["tuple"]
    for bad in ("", "a", "a/b", "a/b/c/d", "a/b/c/d/e/f", "a//c", "*/b/c/d/e", "a/b/c/d/%2g"):
        status, body = tside.get(f"/api/v1/explain?tuple={bad.replace('%', '%25')}")
        assert status == 400, (bad, body)
    assert tside.get("/api/v1/explain")[0] == 400


# ---- the verb -----------------------------------------------------------------------------------


def test_the_verb_asks_the_running_tside(world):
    tside = world.tside(rules={f"{ANY}/config": {"timeout_ms": 300}}, default=[world.callee("a")])
    asked = cli("explain", TUPLE, "-c", tside.config, "-o", "json")
    assert asked.returncode == 0, asked.stderr
    told, direct = json.loads(asked.stdout), tside.explain(TUPLE)
    for part in ("tuple", "steps", "effective"):
        assert told[part] == direct[part]
    table = cli("explain", "-c", tside.config, TUPLE)
    assert table.returncode == 0 and "timeout_ms" in table.stdout and "300" in table.stdout


def test_offline_it_says_the_same_of_the_file(world):
    tside = world.tside(rules={f"{ANY}/config": {"timeout_ms": 300}, f"{ANY}/degrade": 12.5,
                               "*/*/*/*/*/config": {"pool": {"wait_ms": 9}}, f"a/*/{SERVICE}/*/*/config": {"lb": "no"}},
                        default=[world.callee("a")])
    for tuple_ in (TUPLE, f"a/x/{SERVICE}/default/Visit", "a/b/c/d/e"):
        offline = cli("explain", tuple_, "--rules", tside.rules_path, "-o", "json")
        assert offline.returncode == 0, offline.stderr
        told, direct = json.loads(offline.stdout), tside.explain(tuple_)
        for part in ("tuple", "steps", "effective", "outcome"):
            assert told[part] == direct[part], part


def test_exit_codes(world, tmp_path):
    assert cli("explain").returncode == 64
    assert cli("explain", "a/b", "--rules", "/dev/null").returncode == 64
    missing = cli("explain", TUPLE, "--rules", tmp_path / "missing.yaml")
    assert missing.returncode in (65, 66) and "missing.yaml" in missing.stderr
    tside = world.tside()
    config = tside.folder / "copy.yaml"
    config.write_text(tside.config.read_text().replace("admin.sock", "nobody.sock"))
    assert cli("explain", TUPLE, "-c", config).returncode == 69


def test_services_named_like_reserved_bytes(world):
    callee = world.callee("a")
    tside = world.tside(rules={"*/*/a%2Fb/*/*/config": {"timeout_ms": 9999}}, services=endpoints("a%2Fb", default=[callee]))
    shown = tside.explain("app.feed/default/a%2Fb/default/Visit")
    assert shown["effective"]["timeout_ms"]["value"] == 9999
    assert callee.address in json.dumps(shown["targets"])
    assert world.link(tside).call("Visit", to="a/b").server == "a"
