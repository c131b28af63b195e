"""Addresses that lead nowhere, or to the caller's own host, by mistake of whoever registered them."""

import json

from support.etcd import RULES, SERVICES
from support.tside import SERVICE, Tside, cli
from support.wait import wait_until

NOWHERE = ["0.0.0.0:{}", "[::]:{}", "[::ffff:0.0.0.0]:{}", "10.0.0.1:0", "224.0.0.1:{}", "255.255.255.255:{}"]


def synced(tside: Tside, etcd) -> None:
    revision = etcd.revision()
    wait_until(lambda: tside.explain(f"x/default/{SERVICE}/default/m")["snapshot"]["revision"] >= revision, 10)


def test_an_address_that_listens_everywhere_is_no_endpoint(world, etcd):
    """A callee that registers what it listens on: its callers would find themselves, and whatever has that
    port on their host. Refused and listed; every call goes to the endpoint that is one."""
    good, stranger = world.callee("good"), world.callee("stranger")
    port = stranger.address.rsplit(":", 1)[1]
    refused = [address.format(port) for address in NOWHERE]
    etcd.endpoint(SERVICE, "default", good.address)
    for address in refused:
        etcd.endpoint(SERVICE, "default", address)
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None)
    synced(tside, etcd)
    link = world.link(tside)
    assert {link.call("Visit").server for _ in range(60)} == {"good"}
    assert {error["key"] for error in tside.errors()} == {f"{SERVICES}/{SERVICE}/default/{a}" for a in refused}
    assert len(tside.events("key_rejected")) == len(refused)
    etcd.delete(f"{SERVICES}/{SERVICE}/default/{refused[0]}")
    wait_until(lambda: len(tside.errors()) == len(refused) - 1, 5)


def test_a_loopback_address_in_etcd_is_warned_about(world, etcd):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    etcd.endpoint(SERVICE, "default", "10.255.255.1:80", {"weight": 0})
    etcd.endpoint(SERVICE, "default", "0.0.0.0:80")
    key = f"{SERVICES}/{SERVICE}/default/{world.callees[0].address}"
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None)
    synced(tside, etcd)
    assert [line["key"] for line in tside.events("loopback_endpoint", level="warn")] == [key]
    assert tside.metric("tside_etcd_loopback_endpoints") == 1
    etcd.put(key, {"weight": 5})  # known already
    etcd.put(f"{RULES}/*/*/{SERVICE}/*/*/config", {"timeout_ms": 900})
    etcd.put(f"{RULES}/a/*/{SERVICE}/*/*/config", {"pool": {"max_connections": 4}})
    synced(tside, etcd)
    assert len(tside.events("loopback_endpoint")) == 1
    assert world.link(tside).call("Visit").server == "a"

    # What was written to disk can be checked without a running process.
    tside.stop()
    tside.ended = True
    checked = cli("check", "-c", tside.config)
    assert checked.returncode == 0, checked.stdout
    rest = key.removeprefix(SERVICES + "/")
    assert f"warning: {rest}: a loopback address in etcd: each host would call itself\n" in checked.stdout
    assert f"warning: {SERVICE}/default/0.0.0.0:80: 0.0.0.0 is no host's address" in checked.stdout
    assert f"warning: {SERVICE}/default: its calls disagree on pool.max_connections: " in checked.stdout
    told = json.loads(cli("check", "-c", tside.config, "-o", "json").stdout)
    assert told["ok"] and rest in [warning["key"] for warning in told["warnings"]]


def test_many_loopback_addresses_are_not_logged_one_by_one(world, etcd):
    etcd.put_many({f"{SERVICES}/{SERVICE}/default/127.0.0.1:{port}": "" for port in range(1000, 1100)})
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None)
    synced(tside, etcd)
    wait_until(lambda: tside.metric("tside_etcd_loopback_endpoints") == 100, 5)
    assert len(tside.events("loopback_endpoint")) == 21
    assert "no further one" in json.dumps(tside.events("loopback_endpoint")[-1])


def test_check_finds_such_addresses_in_a_rules_file(tmp_path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("services:\n" + "".join(f'  "a/b/{address.format(80)}": {{}}\n' for address in NOWHERE))
    checked = cli("check", "--rules", rules)
    assert checked.returncode == 65
    assert checked.stdout.count("\n") == len(NOWHERE)
    assert f"{rules}:2:3: a/b/0.0.0.0:80: 0.0.0.0 is no host's address" in checked.stdout
