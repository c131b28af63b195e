"""SIGHUP: the bootstrap file is read again; a bad one changes nothing, and nothing ends the process."""

import signal
import time

import yaml

from support import wire
from support.raw import silent
from support.tside import SERVICE, merged
from support.wait import PATIENCE, wait_until

KEY = f"*/*/{SERVICE}/*/*/config"
HOST = {"Host": "tside.internal"}


def write(tside, **changes) -> None:
    """The bootstrap file as it was at the start, with changes."""
    tside.config.write_text(yaml.safe_dump(merged(tside.bootstrap, changes)))


def reload(tside, **changes) -> list[dict]:
    """SIGHUP; the lines of the log from then on, up to `reloaded`."""
    write(tside, **changes)
    seen = len(tside.log())
    tside.signal(signal.SIGHUP)

    def lines():
        new = tside.log()[seen:]
        return new if any(line["event"] == "reloaded" for line in new) else None

    return wait_until(lines, 5, "reloaded in the log")


def rejected(tside) -> list[str]:
    """SIGHUP; what is said of a bad file."""
    seen = len(tside.events("reload_rejected"))
    tside.signal(signal.SIGHUP)
    wait_until(lambda: len(tside.events("reload_rejected")) > seen, 5, "reload_rejected in the log")
    tside.get("/livez")  # the loop has gone on: all lines are written
    lines = tside.events("reload_rejected")[seen:]
    assert all(line["level"] == "error" for line in lines)
    return [line["msg"].removeprefix(f"{tside.config}:") for line in lines]


def needs_restart(lines: list[dict]) -> list[str]:
    found = [line["options"] for line in lines if line["event"] == "reload_needs_restart"]
    assert len(found) <= 1
    return found[0].split(", ") if found else []


def changed(lines: list[dict]) -> str:
    [line] = [line for line in lines if line["event"] == "reloaded"]
    return line["options"]


def test_the_same_file_changes_nothing(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    assert link.call("Visit").server == "a"
    for _ in range(3):
        lines = reload(tside)
        assert changed(lines) == "" and needs_restart(lines) == []
    assert link.call("Visit").server == "a"


def test_defaults_that_the_host_lowered_are_no_difference(world):
    tside = world.tside(wrapper=["prlimit", "--nofile=4096:4096"])
    assert tside.json("/api/v1/info")["limits"]["connections"] < 4096
    assert needs_restart(reload(tside)) == []


def test_a_file_that_the_host_cannot_carry_is_rejected(world):
    tside = world.tside(wrapper=["prlimit", "--nofile=4096:4096"])
    write(tside, limits={"connections": 4000})
    [finding] = rejected(tside)
    assert "RLIMIT_NOFILE allows 4096" in finding


def test_every_finding_of_a_bad_file_is_told_and_nothing_changes(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    write(tside, log={"level": "error", "format": "text"}, admin={"hosts": ["tside.internal"]}, worker=2,
          limits={"calls": 0})
    findings = rejected(tside)
    assert len(findings) == 2
    assert any("limits.calls must be" in finding for finding in findings)
    assert any("unknown key worker, did you mean workers?" in finding for finding in findings)
    assert link.call("Visit").server == "a"
    assert tside.get("/livez", HOST)[0] == 403
    tside.config.unlink()
    assert rejected(tside) == ["1:1: cannot be read: No such file or directory"]
    assert link.call("Visit").server == "a"
    assert not tside.events("reloaded")
    assert changed(reload(tside)) == ""


def test_log_level(world):
    tside = world.tside()
    reload(tside, log={"level": "error"})  # and it is still logged
    bad = {KEY: {"timeout_ms": 0}}
    tside.rules.update(bad)
    tside.write_rules()
    wait_until(lambda: len(tside.errors()) == 1)
    assert not tside.events("key_rejected")
    assert changed(reload(tside, log={"level": "info"})) == "log.level"
    tside.rules[KEY] = {"timeout_ms": -1}
    tside.write_rules()
    tside.wait_event("key_rejected")


def test_log_format(world):
    tside = world.tside()
    write(tside, log={"format": "text"})
    tside.signal(signal.SIGHUP)
    wait_until(lambda: "info bootstrap: the bootstrap file was read again options=log.format\n" in tside.stderr())
    reload(tside, log={"format": "json"})
    assert tside.terminate() == 0
    tside.ended = True


def test_drain_timeout(world):
    callee = world.callee("a", silent)
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 60000}})
    assert changed(reload(tside, timeouts={"drain_timeout_ms": 700})) == "timeouts.drain_timeout_ms"
    link = world.link(tside, timeout=15)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    begun = time.monotonic()
    tside.signal(signal.SIGTERM)
    reply = link.message()
    assert reply.reason == "draining" and "drain_timeout_ms 700 passed" in reply.exception[1]
    assert tside.wait() == 0
    tside.ended = True
    assert 0.65 <= time.monotonic() - begun < 0.7 + 1.5 * PATIENCE


def test_admin_hosts(world):
    tside = world.tside()
    assert tside.get("/livez", HOST)[0] == 403
    for _ in range(2):
        reload(tside, admin={"hosts": ["other", "tside.internal"]})
        assert tside.get("/livez", HOST)[0] == 200
    reload(tside)
    assert tside.get("/livez", HOST)[0] == 403


def test_what_wants_a_restart_is_named(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    changes = {"workers": 5, "limits": {"calls": 7}, "rules_file": "other.yaml", "log": {"level": "debug"},
               "listeners": [{"listen": tside.bootstrap["listeners"][0]["listen"], "replies": "any_order"}]}
    wanted = ["workers", "listeners[0].replies", "rules_file", "limits.calls"]
    lines = reload(tside, **changes)
    assert needs_restart(lines) == wanted and changed(lines) == "log.level"
    lines = reload(tside, **changes)  # it is the process that differs, not the file before
    assert needs_restart(lines) == wanted and changed(lines) == ""
    assert tside.json("/api/v1/info")["limits"]["calls"] == 100000
    assert world.link(tside).call("Visit").server == "a"
    assert needs_restart(reload(tside)) == []


def test_rules_are_read_again(world):
    """Also where the watched file did not change, and beside a good bootstrap its errors are logged."""
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    tside.rules_path.write_text("rules: [\n")
    tside.wait_event("rules_file_rejected")
    events = [line["event"] for line in reload(tside)]
    assert events[events.index("reloaded") - 1] == "rules_file_rejected"
    assert world.link(tside).call("Visit").server == "a"
    tside.rules[KEY] = {"access": "deny"}
    tside.write_rules()
    reload(tside)
    wait_until(lambda: world.link(tside).call("Visit").reason == "denied")


def test_while_draining_nothing_is_read(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}})
    callee.gate.clear()
    link = world.link(tside, timeout=15)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    tside.signal(signal.SIGTERM)
    tside.wait_event("draining")
    tside.signal(signal.SIGHUP)
    tside.wait_event("reload_rejected", level="warn")
    callee.gate.set()
    assert link.message().server == "a"
    assert tside.wait() == 0
    tside.ended = True


def test_many_at_once(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    links = world.spread(tside)
    for i in range(200):
        if i % 10 == 0:
            write(tside, log={"level": ("info", "debug")[i % 20 // 10]}, admin={"hosts": [f"host-{i}"]})
        tside.signal(signal.SIGHUP)
        assert links[i % len(links)].call("Visit").server == "a"
    tside.wait_event("reloaded")


def test_sigusr2_is_not_yet(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    tside.signal(signal.SIGUSR2)
    assert "not yet" in tside.wait_event("handover_not_yet", level="warn")["msg"]
    assert link.call("Visit").server == "a"
