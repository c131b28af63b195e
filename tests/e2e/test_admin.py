"""The admin port and socket: probes, metrics, info, errors; which requests are answered, and which change something."""

import json
import os
import re
import socket
import stat
import subprocess
import time

import pytest

from support import deftable, wire
from support.raw import Link
from support.tside import SERVICE, parse_metrics
from support.wait import wait_until


def test_livez_and_readyz(world):
    tside = world.tside(default=[world.callee("a")])
    assert tside.get("/livez")[0] == 200
    assert tside.get("/readyz")[0] == 200


def test_probes_answer_when_every_other_connection_is_taken(world):
    tside = world.tside()
    host, port = tside.admin_address.rsplit(":", 1)
    taken = []
    for _ in range(1200):
        sock = socket.create_connection((host, int(port)), 5)
        sock.sendall(b"GET /metrics HTTP/1.1\r\n")  # begun and never ended
        taken.append(sock)
    try:
        for _ in range(5):
            assert tside.get("/livez")[0] == 200
            assert tside.get("/readyz")[0] == 200
    finally:
        for sock in taken:
            sock.close()
    wait_until(lambda: tside.get("/metrics")[0] == 200, 10)


def test_info(world):
    tside = world.tside(default=[world.callee("a")], listeners=({}, {"listen": "unix:thrift.sock"}), node={"zone": "lf"})
    info = tside.json("/api/v1/info")
    assert info["zone"] == "lf"
    assert info["pid"] == tside.pid
    assert info["version"] and info["workers"] == world.workers
    text = json.dumps(info)
    for address in tside.addresses:
        assert address in text
    assert tside.admin_address in text
    assert "test-host" in text


def test_metrics_are_well_formed(world):
    """Every family has HELP and TYPE once, in front of its samples; counters end in _total."""
    tside = world.tside(default=[world.callee("a")])
    world.link(tside).call("Visit")
    status, body = tside.get("/metrics")
    assert status == 200
    types, helped, seen = {}, set(), []
    for line in body.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ", 3)
            assert name not in types, f"{name} twice"
            types[name] = kind
        elif line.startswith("# HELP "):
            helped.add(line.split(" ", 3)[2])
            assert len(line.split(" ", 3)[3]) > 5, line
    samples = parse_metrics(body)
    for name, labels, value in samples:
        family = name if name in types else re.sub(r"_(bucket|sum|count)$", "", name)
        assert family in types and family in helped, name
        assert family.startswith(("tside_", "process_")), name
        assert (types[family] == "counter") == name.endswith("_total"), name
        assert value >= 0 or types[family] == "gauge"
        assert (name, tuple(sorted(labels.items()))) not in seen, f"{name} {labels} twice"
        seen.append((name, tuple(sorted(labels.items()))))
    assert set(types) == helped


def test_every_metric_of_the_table_is_shown(world):
    tside = world.tside()
    shown = {(name, tuple(sorted(labels.items()))) for name, labels, _ in tside.metrics()}
    for id_, _, name, labels, _ in deftable.rows("sidecar/base/metric.def", "METRIC"):
        pairs = tuple(sorted(re.findall(r'(\w+)="?([^",]+)"?', labels.replace("\\", ""))))
        assert (name, pairs) in shown, id_


def test_histogram_buckets_add_up(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee])
    link = world.link(tside)
    for _ in range(50):
        link.call("Visit")
    tside.wait_calls(50, reason="ok")
    buckets = [(float(labels["le"]), value) for name, labels, value in tside.metrics()
               if name == "tside_call_duration_seconds_bucket" and labels["to"] == SERVICE]
    assert buckets == sorted(buckets) and buckets[-1] == (float("inf"), 50)
    assert [value for _, value in buckets] == sorted(value for _, value in buckets)


def test_routes_beyond_the_limit_are_other(world):
    tside = world.tside(limits={"metric_routes": 5})
    link = world.link(tside)
    for i in range(30):
        link.call(f"Method{i}")
    wait_until(lambda: tside.calls() == 30)
    rows = [labels for name, labels, value in tside.metrics() if name == "tside_calls_total" and value > 0]
    other = [labels for labels in rows if labels["method"] == "_other"]
    assert len(other) == 1 and len({labels["method"] for labels in rows}) <= 6
    assert {other[0][k] for k in ("from", "from_cluster", "to", "to_cluster")} == {"_other"}
    assert tside.calls(method="_other") >= 25


def test_hosts_that_may_ask(world):
    tside = world.tside(admin={"hosts": ["tside.example"]})
    port = tside.admin_address.rsplit(":", 1)[1]
    for host in ("127.0.0.1", f"127.0.0.1:{port}", "localhost", f"localhost:{port}", "tside.example",
                 f"tside.example:{port}", "[::1]", "10.1.2.3"):
        assert tside.get("/api/v1/info", {"Host": host})[0] == 200, host
        assert tside.get("/livez", {"Host": host})[0] == 200, host
    for host in ("evil.example", "tside.example.evil", f"evil.example:{port}", "localhost.evil", "127.0.0.1.evil", ""):
        for path in ("/api/v1/info", "/metrics", "/"):
            assert tside.get(path, {"Host": host})[0] in (400, 403), (host, path)
    assert tside.get("/metrics", {"Host": "evil.example"})[0] == 403


@pytest.mark.parametrize("path", ["/api/v1/drain", "/api/v1/log", "/api/v1/overrides"])
def test_the_port_only_reads(world, path):
    tside = world.tside(default=[world.callee("a")])
    for method in ("POST", "PUT", "DELETE"):
        assert tside.get(path, method=method)[0] in (403, 404, 405), method
    assert world.link(tside).call("Visit").server == "a"
    assert tside.get("/readyz")[0] == 200


def test_the_socket_is_its_owners(world):
    tside = world.tside()
    assert stat.S_IMODE(os.stat(tside.admin_socket).st_mode) & 0o007 == 0
    assert tside.post("/api/v1/info", method="GET")[0] == 200


def test_paths_that_are_not_there(world):
    tside = world.tside()
    assert tside.get("/nope")[0] == 404
    assert tside.get("/api/v1/nope")[0] == 404
    assert tside.get("/api/v1/../v1/info")[0] in (400, 404)


def test_errors_are_listed_with_limit_and_cursor(world):
    rules = {f"*/*/svc{i}/*/*/degrade": 101 for i in range(25)}
    tside = world.tside(rules=rules)
    seen, cursor = [], None
    while True:
        page = tside.json("/api/v1/config/errors?limit=10" + (f"&cursor={cursor}" if cursor else ""))
        assert len(page["items"]) <= 10
        seen += [item["key"] for item in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 25
    assert tside.metric("tside_rules_rejected") == 25
    for item in tside.errors():
        assert set(item) >= {"key", "field", "reason", "mod_revision", "since", "in_force"}
        assert "100" in item["reason"]


def test_admin_does_not_hold_up_calls(world):
    """Scraping all the time, with many tuples to show, while calls go on."""
    tside = world.tside(default=[world.callee("a")])
    link = world.link(tside)
    for i in range(300):
        link.call(f"Method{i}")
    host, port = tside.admin_address.rsplit(":", 1)
    scrape = Link.to(tside.admin_address)
    scrape.sock.sendall(f"GET /metrics HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode() * 20)
    begun = time.monotonic()
    for _ in range(100):
        assert link.call("Visit").server == "a"
    assert time.monotonic() - begun < 3
    scrape.close()


def test_lines_of_the_log_are_whole(world):
    tside = world.tside(default=[world.callee("a")])
    world.link(tside).call("Visit", to="x" * 256, caller=b"\xff\x00\n\"" * 64, log_id="l" * 5000)
    line = tside.wait_event("call")
    assert line["from"].startswith('\\xFF\\x00\\x0A"') and line["to"] == "x" * 256
    for line in tside.log(strict=True):
        assert {"ts", "event"} <= set(line), line


def test_every_failure_is_logged_or_counted(world):
    """Failures are always logged, up to a rate; how many are over it is logged."""
    tside = world.tside()
    link = world.link(tside, timeout=20)
    for _ in range(20):
        link.send(b"".join(wire.call("Visit", seqid=i) for i in range(100)))
        assert [link.message().seqid for _ in range(100)] == list(range(100))
    tside.wait_calls(2000, reason="no_endpoint")

    def told() -> int:
        return int(len(tside.events("call")) + tside.metric("tside_calls_unlogged_total")
                   + tside.metric("tside_log_dropped_total") + tside.metric("tside_log_lines_dropped_total"))

    wait_until(lambda: told() >= 2000, 5, "2000 lines, or told how many are missing")
    assert told() == 2000
    assert tside.metric("tside_calls_unlogged_total") > 0 and tside.events("call")


def test_a_full_log_pipe_delays_no_call(world):
    """Standard error is not read: lines are dropped and counted, calls go on."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={f"*/*/{SERVICE}/*/*/config": {"access_log": 1}})
    reader, writer = os.pipe()
    # The same process again, with a pipe that is never read in the place of its standard error.
    tside.stop()
    child = subprocess.Popen(tside.argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer,
                             cwd=tside.folder)
    os.close(writer)
    told = b""
    while b"admin_listening" not in told or b'"listening"' not in told:
        told += os.read(reader, 65536)
    tside.ended = True
    lines = [json.loads(line) for line in told.decode().splitlines()]
    address = next(line["address"] for line in lines if line.get("event") == "listening")
    tside.admin_address = next(line["address"] for line in lines if line.get("event") == "admin_listening"
                               and not line["address"].startswith(("/", "unix:")))
    wait_until(lambda: tside.get("/readyz")[0] == 200)
    link = Link.to(address)
    for i in range(3000):
        assert link.call("Visit", log_id=f"log-{i}").server == "a"
    assert tside.calls(reason="ok") >= 2999
    link.close()
    child.terminate()
    assert child.wait(10) == 0
    os.close(reader)


@pytest.mark.parametrize("path", ("config/errors", "config", "routes"))
def test_lists_go_on_behind_names_that_are_not_utf8(world, etcd, path):
    """Names may have any bytes; a page ended at the first that JSON could not take."""
    names = [b"a", b"b\xff", b"c", b"d\xfe\xff", b"e"]
    for name in names:
        etcd.put(b"/tside/rules/" + name + b"/*/x.service/*/*/config", {"timeout_ms": 700})
        etcd.put(b"/tside/rules/" + name + b"/*/x.service/*/*/degrade", {"no": 1})
    tside = world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None)
    link = world.link(tside)
    for name in names:
        link.call("Visit", caller=name, to="x.service")
    tside.wait_calls(len(names), to="x.service")
    items, cursor = [], ""
    for _ in range(20):
        page = tside.json(f"/api/v1/{path}?limit=1{cursor}")
        items += page["items"]
        if page["next"] is None:
            break
        cursor = f"&cursor={page['next']}"
    told = [item.get("key", item.get("from")) for item in items]
    assert len(told) == len(set(told)) == len(names) and sum(r"\xFF" in name for name in told) == 2, told


def test_names_that_look_alike_are_told_apart(world):
    """What stands for a byte that cannot be shown may be a name, too."""
    tside = world.tside(default=[world.callee("a")])
    names = [b"\xff", b"\\xFF", b"\\x5CxFF", b"\\", b"a\\b", b"\\x2D", b'"', b"\n", b"\\x0A"]
    link = world.link(tside)
    for name in names:
        assert link.call("Visit", caller=name).server == "a"
    for method in ("-", "", "\\x2D"):
        link.call(method)
    tside.wait_calls(len(names), reason="ok", method="Visit")
    told = {labels["from"] for name, labels, _ in tside.metrics()
            if name == "tside_calls_total" and labels["method"] == "Visit"}
    assert told == {r"\xFF", r"\x5CxFF", r"\x5Cx5CxFF", "\\", r"a\b", r"\x5Cx2D", '"', r"\x0A", r"\x5Cx0A"}


def test_foreign_bytes_at_the_admin_port(world):
    tside = world.tside()
    for junk in (b"\x80\x01\0\x01" * 100, wire.call(), b"GET /" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n", b"\0" * 10):
        link = Link.to(tside.admin_address)
        try:
            link.sock.sendall(junk)
            link.half_close()
            link.sock.settimeout(0.5)
            while link.sock.recv(65536):
                pass
        except OSError:
            pass
        link.close()
    assert tside.get("/livez")[0] == 200
