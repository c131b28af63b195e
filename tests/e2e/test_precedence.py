"""Which rule wins: the cases of data/precedence.yaml, through real calls and through explain."""

import itertools
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml

from support import deftable, wire
from support.tside import endpoints
from support.wait import PATIENCE

CASES = yaml.safe_load((Path(__file__).parent / "data" / "precedence.yaml").read_text())
CALL = "a/b/c/d/e"
ORDERS = {field.path: field.order.lower() for field in deftable.fields()}
# Where the names of a tuple stand in the order of comparison.
CALLER_FIRST, CALLEE_FIRST = (0, 1, 2, 3, 4), (2, 3, 4, 0, 1)


def rules_of(case: dict) -> dict:
    """pattern -> value as the rules file has it."""
    if case.get("every_pattern"):
        patterns = ["/".join(names) for names in itertools.product(*[(name, "*") for name in CALL.split("/")])]
        return {pattern: {"timeout_ms": 20000 + i * 100} for i, pattern in enumerate(patterns)}
    values = {
        "traffic": lambda label: {f"cluster-{label}": 1},
        "degrade": lambda label: {"percent": 100, "reply": {"exception": label}},
        "config": lambda value: value,
    }
    return {pattern: values[case["kind"]](value) for pattern, value in case["rules"].items()}


def make_call(link, call: str) -> wire.Message:
    from_, from_cluster, to, to_cluster, method = map(unquote, call.split("/"))
    return link.call(method, caller=from_, from_cluster=from_cluster, to=to, to_cluster=to_cluster)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "_"))
def test_precedence(world, case):
    call, kind, rules = case.get("call", CALL), case["kind"], rules_of(case)
    own = call.split("/")[3]
    labels = sorted({str(label) for label in case.get("rules", {}).values()}) if kind == "traffic" else []
    clusters = {own: world.callee("-")}
    clusters.update({f"cluster-{label}": world.callee(label) for label in labels})
    tside = world.tside(
        rules={f"{pattern}/{kind}": value for pattern, value in rules.items()},
        services=endpoints(call.split("/")[2], **{name: [callee] for name, callee in clusters.items()}))

    reply = make_call(world.link(tside), call)
    shown = tside.explain(call)
    steps = {candidate["key"]: candidate for candidate in shown["steps"][kind]["candidates"]}
    matched = [key for key, candidate in steps.items() if candidate["status"] == "matched"]

    if kind == "config":
        check_config(case, reply, clusters[own], shown)
        assert set(matched) == {row["from"] for row in shown["effective"].values()} - {"default", "not yet"}
        if "logged" in case:
            assert tside.wait_event("call")["rule_config"].endswith(f"/{case['logged']}/config")
        return
    winner = [pattern for pattern, label in case["rules"].items() if str(label) == case["expect"]]
    assert len(matched) == len(winner) and all(key.endswith(f"/{p}/{kind}") for key, p in zip(matched, winner))
    if kind == "traffic":
        assert reply.server == case["expect"]
        assert shown["outcome"]["action"] == "forward"
    elif case["expect"] == "-":
        assert reply.server == "-"
    else:
        assert reply.exception == (6, f"[tside degraded] {case['expect']}")
        assert shown["outcome"] == {**shown["outcome"], "action": "degrade", "reason": "degraded"}


def check_config(case: dict, reply: wire.Message, callee, shown: dict) -> None:
    """The timeout as the callee is sent it, or no call where access is deny; every field as explain shows it, and
    from which key."""
    for path, (value, pattern) in case["expect"].items():
        told = shown["effective"][path]
        assert told["value"] == value, path
        assert told["from"] == "default" if pattern == "default" else told["from"].endswith(f"/{pattern}/config"), path
    assert {path: row["order"] for path, row in shown["effective"].items()} == ORDERS
    if case["expect"].get("access", ["allow"])[0] == "deny":
        assert reply.reason == "denied" and callee.count == 0
        return
    assert reply.server == "-"
    left = int(callee.requests[0].extra[wire.REMAIN])
    timeout = case["expect"].get("timeout_ms", [shown["effective"]["timeout_ms"]["value"]])[0]
    assert timeout - 900 * PATIENCE < left <= timeout


def test_there_are_at_least_50_cases():
    assert len(CASES) >= 50 and len({case["name"] for case in CASES}) == len(CASES)
    assert {case["kind"] for case in CASES} == {"traffic", "degrade", "config"}


def test_an_edit_moves_the_winner_and_a_delete_restores_what_lies_beneath(world):
    clusters = {name: world.callee(name) for name in ("x", "y", "z")}
    tside = world.tside(rules={"*/*/*/*/*/traffic": {"x": 1}},
                        services=endpoints("c", **{name: [callee] for name, callee in clusters.items()}))
    link = world.link(tside)
    assert make_call(link, CALL).server == "x"
    tside.change({"*/*/c/*/*/traffic": {"y": 1}})
    assert make_call(link, CALL).server == "y"
    tside.change({"a/b/c/d/e/traffic": {"z": 1}})
    assert make_call(link, CALL).server == "z"
    assert make_call(link, "q/b/c/d/e").server == "y"
    tside.change(drop=["a/b/c/d/e/traffic"])
    assert make_call(link, CALL).server == "y"
    tside.change(drop=["*/*/c/*/*/traffic"])
    assert make_call(link, CALL).server == "x"


def test_every_pattern_in_order(world):
    """The 32 keys that can match one call, taken away from the most specific one on."""
    patterns = ["/".join(names) for names in itertools.product(*[(name, "*") for name in CALL.split("/")])]
    rules = {f"{pattern}/config": {"timeout_ms": 20000 + i * 1000} for i, pattern in enumerate(patterns)}
    callee = world.callee("-")
    tside = world.tside(rules=rules, services=endpoints("c", d=[callee]))
    link = world.link(tside)
    for i, pattern in enumerate(patterns):
        candidates = tside.explain(CALL)["steps"]["config"]["candidates"]
        assert [c["key"].split("/rules/")[-1].removeprefix("/") for c in candidates] == [
            f"{p}/config" for p in patterns[i:]]
        make_call(link, CALL)
        left = int(callee.requests[-1].extra[wire.REMAIN])
        assert 20000 + i * 1000 - 900 < left <= 20000 + i * 1000
        tside.change(drop=[f"{pattern}/config"])
    make_call(link, CALL)
    assert int(callee.requests[-1].extra[wire.REMAIN]) <= 1000


def ranked(order: tuple) -> list[str]:
    """The 32 patterns of CALL, the one that wins first."""
    names = [[(name, "*") for name in CALL.split("/")][place] for place in order]
    in_order = (dict(zip(order, chosen)) for chosen in itertools.product(*names))
    return ["/".join(chosen[place] for place in CALLER_FIRST) for chosen in in_order]


def test_every_pattern_in_the_callee_s_order(world):
    """As above, for a field that protects the callee: each key says the contrary of the one beneath."""
    patterns = ranked(CALLEE_FIRST)
    assert ranked(CALLER_FIRST) != patterns and sorted(ranked(CALLER_FIRST)) == sorted(patterns)
    rules = {f"{pattern}/config": {"access": ("deny", "allow")[i % 2]} for i, pattern in enumerate(patterns)}
    tside = world.tside(rules=rules, services=endpoints("c", d=[world.callee("-")]))
    link = world.link(tside)
    for i, pattern in enumerate(patterns):
        assert tside.explain(CALL)["effective"]["access"]["from"].endswith(f"/{pattern}/config")
        reply = make_call(link, CALL)
        assert (reply.reason or reply.server) == ("denied", "-")[i % 2], pattern
        tside.change(drop=[f"{pattern}/config"])
    assert make_call(link, CALL).server == "-"
