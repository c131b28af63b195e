"""What etcd lost without an operator's word is held, key by key, until there is one."""

import json

from support.etcd import RULES, SERVICES, Etcd
from support.tside import SERVICE, Tside, cli
from support.wait import wait_until

OTHER = "other.service"
CONFIG = f"{RULES}/*/*/{SERVICE}/*/*/config"
OTHER_CONFIG = f"{RULES}/*/*/{OTHER}/*/*/config"


def held(tside: Tside) -> tuple[int, int]:
    told = tside.json("/api/v1/etcd")["held"]
    return told["rules"], told["services"]


def followed(tside: Tside, etcd: Etcd) -> None:
    """tside watches etcd as it is now."""
    revision = etcd.revision()

    def is_there() -> bool:
        watch = tside.json("/api/v1/etcd")["watch"]
        return watch["watching"] and watch["revision"] >= revision

    wait_until(is_there, 20, f"the watch at revision {revision}")


def filled(world, etcd: Etcd) -> Tside:
    """Two services of two endpoints each, and a rule for each."""
    for service in (SERVICE, OTHER):
        for n in (1, 2):
            etcd.endpoint(service, "default", world.callee(f"{service}-{n}").address)
    etcd.put(CONFIG, {"timeout_ms": 700})
    etcd.put(OTHER_CONFIG, {"timeout_ms": 800})
    for i in range(20):  # so that an empty etcd is behind, also when it has been filled again a little
        etcd.put_fast("/elsewhere", str(i))
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None)
    followed(tside, etcd)
    return tside


def servers(link, service: str, n: int = 40) -> set[str]:
    told = [link.call("Visit", to=service) for _ in range(n)]
    return {reply.server or reply.reason for reply in told}


def timeout_of(tside: Tside, service: str) -> int:
    return tside.explain(f"x/default/{service}/default/m")["effective"]["timeout_ms"]["value"]


def test_a_wiped_etcd_that_is_filled_again_key_by_key(world, own_etcd):
    """One instance of one service registers again: the others, and the other service, stay in force."""
    etcd = own_etcd
    tside = filled(world, etcd)
    link = world.link(tside)
    etcd.wipe()
    etcd.start()
    etcd.endpoint(SERVICE, "default", world.callees[0].address)
    followed(tside, etcd)
    wait_until(lambda: held(tside) == (2, 3), 10, "one endpoint of four is etcd's own")
    assert servers(link, SERVICE) == {f"{SERVICE}-1", f"{SERVICE}-2"}
    assert servers(link, OTHER) == {f"{OTHER}-1", f"{OTHER}-2"}
    assert (timeout_of(tside, SERVICE), timeout_of(tside, OTHER)) == (700, 800)
    assert tside.metric("tside_etcd_held_keys", kind="services") == 3
    wait_until(lambda: any("without a delete" in line["msg"] for line in tside.events("etcd_trouble")), 5)

    # A rule's own put, and an endpoint's own put and delete, are words about these keys alone.
    etcd.put(CONFIG, {"timeout_ms": 701})
    etcd.endpoint(OTHER, "default", world.callees[2].address)
    etcd.delete(f"{SERVICES}/{OTHER}/default/{world.callees[2].address}")
    followed(tside, etcd)
    wait_until(lambda: held(tside) == (1, 2), 5)
    assert (timeout_of(tside, SERVICE), timeout_of(tside, OTHER)) == (701, 800)
    assert servers(link, OTHER) == {f"{OTHER}-2"}
    assert tside.calls(reason="no_endpoint") == 0


def test_held_keys_outlive_the_process_and_a_list(world, own_etcd):
    etcd = own_etcd
    tside = filled(world, etcd)
    etcd.wipe()
    etcd.start()
    etcd.put(CONFIG, {"timeout_ms": 701})
    followed(tside, etcd)
    wait_until(lambda: held(tside) == (1, 4), 10)
    tside.stop()
    # While it is away, etcd moves on past what it could resume at: a list follows.
    etcd.put(f"{RULES}/*/*/third.service/*/*/config", {"timeout_ms": 900})
    etcd.put_fast("/elsewhere", "x")
    etcd.ctl("compact", str(etcd.revision()))
    tside.start()
    followed(tside, etcd)
    wait_until(lambda: timeout_of(tside, "third.service") == 900, 5)
    assert held(tside) == (1, 4)
    assert timeout_of(tside, OTHER) == 800
    assert servers(world.link(tside), OTHER) == {f"{OTHER}-1", f"{OTHER}-2"}


def test_an_empty_space_is_held_and_released(world, etcd):
    """The only rule is deleted and compacted away while tside is stopped: an empty list clears nothing, and
    only somebody's word does."""
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    etcd.put(CONFIG, {"access": "deny"})
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None)
    followed(tside, etcd)
    assert held(tside) == (0, 0)
    assert cli("held", "-c", tside.config).stdout == ""
    tside.stop()
    etcd.delete(CONFIG)
    etcd.put("/elsewhere", "x")  # else the delete is of the revision that is compacted, and may still be told
    etcd.ctl("compact", str(etcd.revision()))
    tside.start()
    wait_until(lambda: held(tside) == (1, 0), 10)
    link = world.link(tside)
    assert link.call("Visit").reason == "denied"
    etcd.put(OTHER_CONFIG, {"timeout_ms": 77})  # another key's word
    wait_until(lambda: timeout_of(tside, OTHER) == 77, 5)
    assert link.call("Visit").reason == "denied"

    listed = cli("held", "-c", tside.config)
    assert (listed.returncode, listed.stdout) == (0, CONFIG + "\n")
    assert json.loads(cli("held", "-c", tside.config, "-o", "json").stdout) == [{"key": CONFIG}]
    assert tside.json("/api/v1/held") == {"items": [{"key": CONFIG}], "next": None}
    assert tside.get("/api/v1/held/release?key=x", method="POST")[0] in (403, 405)  # it changes something
    unknown = cli("held", "release", OTHER_CONFIG, "-c", tside.config)
    assert unknown.returncode == 1 and "no such key is held" in unknown.stderr
    assert cli("held", "release", CONFIG, "-c", tside.config).returncode == 0
    wait_until(lambda: link.call("Visit").server == "a", 3)
    wait_until(lambda: held(tside) == (0, 0), 3)
    assert tside.events("held_released")
    assert cli("held", "release", CONFIG, "-c", tside.config).returncode == 1


def test_the_release_asks_for_a_key(world, etcd):
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None)
    assert tside.post("/api/v1/held/release")[0] == 400
    assert tside.post("/api/v1/held/release?key=x")[0] == 404
    assert cli("held", "release", "-c", tside.config).returncode == 64
    assert cli("held", "nonsense", "-c", tside.config).returncode == 64
    assert cli("held", "release", "x", "--admin", tside.admin_address).returncode == 64
