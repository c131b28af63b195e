"""What /metrics says is so: each number beside what made it, and every metric named in some test."""

import fcntl
import http.client
import os
import re
import resource
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from support import wire
from support.etcd import RULES, SERVICES, Etcd, free_port
from support.raw import StuckListener, closed_port
from support.tside import SERVICE, Tside, parse_metrics
from support.wait import PATIENCE, wait_until

ANY = f"*/*/{SERVICE}/*/*"
KEY = f"{ANY}/config"
REPO = Path(__file__).resolve().parents[2]


class Since:
    """How much metrics grew since it was made."""

    def __init__(self, tside: Tside):
        self.tside = tside
        self.before = self.sums()

    def sums(self) -> dict[str, float]:
        sums: dict[str, float] = {}
        for name, _, value in self.tside.metrics():
            sums[name] = sums.get(name, 0) + value
        return sums

    def __call__(self, name: str) -> float:
        return self.sums()[name] - self.before[name]


def test_every_metric_is_named_in_a_test():
    """So that none can come without one. By name: what its test asserts is for people to judge."""
    documented = re.findall(r"^\| `(\w+)`", (REPO / "docs" / "metrics.md").read_text(), flags=re.M)
    assert len(documented) > 50
    tests = [path for kind in ("*_test.c", "test_*.py") for path in (REPO / "tests").rglob(kind)
             if path.name != "test_docs.py"]  # which shows that the page is whole, not that it is right
    named = set(re.findall(r"\b(?:tside|process)_\w+", "".join(path.read_text() for path in tests)))
    named |= {re.sub("_(bucket|sum|count)$", "", name) for name in named}
    assert [name for name in documented if name not in named] == []


# ---- the process ---------------------------------------------------------------------------------


def open_fds_beyond(tside: Tside, proc: Path) -> float:
    """How many descriptors are counted beyond those that are open, in a moment when none comes or goes."""
    host, port = tside.admin_address.rsplit(":", 1)
    connection = http.client.HTTPConnection(host, int(port), timeout=10 * PATIENCE)
    try:
        while True:
            connection.request("GET", "/metrics")  # on one connection, which is open all the time
            text = connection.getresponse().read().decode()
            is_open = [len(list((proc / "fd").iterdir()))]
            connection.request("GET", "/metrics")
            again = connection.getresponse().read().decode()
            is_open.append(len(list((proc / "fd").iterdir())))
            told = [value for body in (text, again) for name, _, value in parse_metrics(body)
                    if name == "process_open_fds"]
            if is_open[0] == is_open[1] and told[0] == told[1]:
                return told[0] - is_open[0]
    finally:
        connection.close()


def test_the_process(world):
    before = time.time()
    tside = world.tside(default=[world.callee("a")])
    proc = Path(f"/proc/{tside.pid}")
    assert tside.metric("tside_workers") == world.workers
    assert before - 1 <= tside.metric("process_start_time_seconds") <= time.time() + 1
    pages = [int(n) * resource.getpagesize() for n in (proc / "statm").read_text().split()[:2]]
    for name, size in zip(("process_virtual_memory_bytes", "process_resident_memory_bytes"), pages):
        assert abs(tside.metric(name) - size) < 0.1 * size + (16 << 20), name
    limit = next(line for line in (proc / "limits").read_text().splitlines() if line.startswith("Max open files"))
    assert tside.metric("process_max_fds") == int(limit.split()[3])

    assert open_fds_beyond(tside, proc) == 0
    world.spread(tside, 10)
    wait_until(lambda: tside.metric("tside_downstream_connections") == 10)
    assert tside.metric("tside_downstream_connections_total") == 10
    assert open_fds_beyond(tside, proc) == 0

    def cpu() -> float:
        return sum(map(int, (proc / "stat").read_text().rsplit(")", 1)[1].split()[11:13])) / os.sysconf("SC_CLK_TCK")

    link = world.link(tside)
    tick = 2 / os.sysconf("SC_CLK_TCK")
    used = cpu()
    while cpu() < used + 5 * tick:
        link.call("Visit")
    least, told, most = cpu(), tside.metric("process_cpu_seconds_total"), cpu()
    assert least - tick <= told <= most + tick


def test_draining(world):
    callee = world.callee("a")
    tside = world.tside(default=[callee], rules={KEY: {"timeout_ms": 15000}})
    assert tside.metric("tside_draining") == 0
    callee.gate.clear()
    link = world.link(tside)
    link.send(wire.call("Visit"))
    wait_until(lambda: callee.count == 1)
    tside.signal(signal.SIGTERM)
    wait_until(lambda: tside.get("/readyz")[0] == 503)
    assert tside.metric("tside_draining") == 1
    callee.gate.set()
    assert link.message().server == "a"
    assert tside.wait() == 0
    tside.ended = True


# ---- the log --------------------------------------------------------------------------------------


class Tap:
    """Standard error behind a short pipe that can be closed."""

    WRAPPER = ("sh", "-c", 'exec "$@" 2>tap', "sh")

    def __init__(self, tside: Tside):
        self.path, self.out = tside.folder / "tap", tside.folder / "stderr"
        self.open = threading.Event()
        self.open.set()
        os.mkfifo(self.path)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        with open(self.path, "rb", buffering=0) as pipe, open(self.out, "ab", buffering=0) as out:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 16384)
            while True:
                self.open.wait()
                data = pipe.read(4096)
                if not data:
                    return
                out.write(data)


def test_lines_that_standard_error_does_not_take(world):
    """Every call's line is there or counted as dropped, and the next line carries how many were."""
    tside = world.tside(default=[world.callee("a")], rules={KEY: {"access_log": 1}}, start=False, wrapper=Tap.WRAPPER)
    tap = Tap(tside)
    tside.start()
    link = world.link(tside)
    assert tside.metric("tside_log_lines_dropped_total") == 0
    tap.open.clear()
    for _ in range(200):
        assert link.call("Visit").server == "a"
    wait_until(lambda: tside.metric("tside_log_lines_dropped_total") > 100)
    tap.open.set()

    def is_taken_again() -> bool:
        return link.call("Visit", log_id="again").server == "a" and bool(tside.events("call", log_id="again"))

    wait_until(is_taken_again)
    dropped = tside.metric("tside_log_lines_dropped_total")
    wait_until(lambda: len(tside.events("call")) + dropped == tside.calls())
    assert sum(line.get("log_dropped", 0) for line in tside.log()) == dropped


def test_lines_that_the_ring_does_not_take(world):
    """The thread that writes them hangs in a write: what its ring has no room for is counted."""
    tside = world.tside(default=[world.callee("a")], rules={KEY: {"access_log": 1}})
    link = world.link(tside)
    name = b"n" * 250
    hang = subprocess.Popen(["strace", "-qq", "-p", str(tside.pid), "-e", "trace=write,writev", "-e",
                             "inject=write,writev:delay_enter=60000000", "-o", "/dev/null"])
    try:
        wait_until(lambda: "TracerPid:\t0" not in Path(f"/proc/{tside.pid}/status").read_text())
        calls = 2000
        for at in range(0, calls, 100):
            link.send(b"".join(wire.call("Visit", caller=name, log_id=name) for _ in range(100)))
            assert [link.message().server for _ in range(100)] == ["a"] * 100
    finally:
        hang.send_signal(signal.SIGTERM)
        hang.wait()
    tside.wait_calls(calls, reason="ok")
    dropped = tside.metric("tside_log_dropped_total")
    assert 0 < dropped < calls
    wait_until(lambda: len(tside.events("call")) == calls - dropped)


# ---- calls ----------------------------------------------------------------------------------------


def test_durations_count_every_call_of_a_callee(world):
    tside = world.tside(default=[world.callee("a")], services={"other/default/" + closed_port(): {}})
    link = world.link(tside)
    begun = time.monotonic()
    for i in range(6):
        link.call(f"m{i % 3}")
    link.call("Visit", to="other")
    took = time.monotonic() - begun
    tside.wait_calls(6, to=SERVICE)
    assert tside.metric("tside_call_duration_seconds_count", to=SERVICE) == 6
    assert tside.metric("tside_call_duration_seconds_count", to="other") == 1
    assert tside.metric("tside_call_duration_seconds_bucket", to=SERVICE, le="+Inf") == 6
    assert 0 < tside.metric("tside_call_duration_seconds_sum") <= took


def test_tuples_over_the_limit_are_counted_as_other(world):
    tside = world.tside(default=[world.callee("a")], limits={"metric_routes": 3})
    link = world.link(tside)
    for i in range(3):
        link.call(f"m{i}")
    assert (tside.metric("tside_tuples"), tside.metric("tside_tuples_overflow_total")) == (3, 0)
    for i in range(5):
        link.call(f"m{i}")
    tside.wait_calls(2, method="_other")
    assert (tside.metric("tside_tuples"), tside.metric("tside_tuples_overflow_total")) == (3, 2)


def test_routes_over_the_limit_are_resolved_each_time(world):
    """limits.tuples, shared out among the workers: these calls are all on one."""
    tside = world.tside(default=[world.callee("a")], limits={"tuples": 2 * world.workers})
    link = world.link(tside)
    for _ in range(3):
        for i in range(5):
            assert link.call(f"m{i}").server == "a"
    assert tside.metric("tside_routes_cached") == 2
    assert tside.metric("tside_routes_uncached_total") == 3 * 3
    assert tside.metric("tside_route_misses_total") == 2 + 3 * 3


def test_routes_are_resolved_anew_where_their_callee_changed(world):
    tside = world.tside(default=[world.callee("a")], services={"other/default/" + closed_port(): {}})
    link = world.link(tside)
    for _ in range(2):
        link.call("Visit")
        link.call("Visit", to="other")
    since = Since(tside)
    tside.change(rules={KEY: {"timeout_ms": 900}})
    for _ in range(3):
        link.call("Visit")
        link.call("Visit", to="other")
    assert since("tside_route_misses_total") == 1
    assert tside.metric("tside_routes_cached") == 2


@pytest.mark.parametrize("how", ["refused", "at once", "too slow"])
def test_connections_that_cannot_be_made(world, how):
    stuck = StuckListener()
    try:
        # To a link-local address without its link connect() fails before it has begun.
        address = {"refused": closed_port(), "at once": "[fe80::1]:9", "too slow": stuck.address}[how]
        tside = world.tside(default=[address], rules={KEY: {"retry": {"attempts": 0}}})
        link = world.link(tside)
        for n in range(1, 4):
            assert link.call("Visit").reason == ("connect_timeout" if how == "too slow" else "connect_failed")
            assert tside.metric("tside_upstream_connect_failures_total") == n
    finally:
        stuck.stop()


# ---- rules ----------------------------------------------------------------------------------------


def test_views_are_built_for_what_changed(world):
    tside = world.tside(default=[world.callee("a")], services={"other/default/" + closed_port(): {}})
    since = Since(tside)
    tside.change(rules={KEY: {"timeout_ms": 900}})
    assert (since("tside_snapshots_total"), since("tside_views_built_total")) == (1, 1)
    tside.change(rules={KEY: {"timeout_ms": 901}, "*/*/other/*/*/config": {"timeout_ms": 901}})
    assert (since("tside_snapshots_total"), since("tside_views_built_total")) == (2, 3)
    assert since("tside_snapshots_taken_total") == 2 * world.workers


def test_rejected_and_foreign_keys(world):
    tside = world.tside(default=[world.callee("a")])
    names = ("tside_rules_rejected", "tside_rules_rejections_total", "tside_keys_foreign")

    def shown() -> list[float]:
        return [tside.metric(name) for name in names]

    assert shown() == [0, 0, 0]
    tside.change(rules={KEY: {"timeout_ms": -1}, f"{ANY}/traffic": {"default": 0}})
    assert shown() == [2, 2, 0]
    tside.change(rules={KEY: {"timeout_ms": -2}, f"{ANY}/other": 1, "x": 5})
    assert shown() == [2, 3, 2]
    tside.change(rules={KEY: {"timeout_ms": 900}}, drop=["x"])
    assert shown() == [1, 3, 1]


# ---- etcd -----------------------------------------------------------------------------------------


def on_etcd(world, etcd, **kwargs) -> Tside:
    return world.tside(etcd={"endpoints": [etcd.url]}, rules_file=None, **kwargs)


def test_events_lists_and_revisions(world, etcd):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    tside = on_etcd(world, etcd)
    wait_until(lambda: tside.metric("tside_etcd_watching") == 1)
    assert tside.metric("tside_etcd_lists_total") == 1
    assert tside.metric("tside_config_source", source="etcd") == 1
    assert tside.metric("tside_etcd_endpoint_up", endpoint=etcd.url) == 1
    since = Since(tside)
    for timeout_ms in range(1, 6):
        etcd.rule(ANY, "config", {"timeout_ms": 500 + timeout_ms})
    etcd.delete(f"{RULES}/{KEY}")
    wait_until(lambda: since("tside_etcd_events_total") == 6)
    revision = etcd.revision()
    assert tside.metric("tside_etcd_revision") == revision
    wait_until(lambda: tside.metric("tside_config_revision") == revision)
    assert since("tside_etcd_revision") == 6
    assert 0 <= tside.metric("tside_etcd_sync_age_seconds") < 10 * PATIENCE
    for name in ("tside_etcd_lists_total", "tside_etcd_reconnects_total", "tside_etcd_empty_lists_total"):
        assert since(name) == 0, name


def test_reconnects_and_an_etcd_that_forgot_everything(world):
    """The same cluster without its data: its list has none of the keys that are held: counted, not taken over."""
    etcd = Etcd("alone", {"alone": f"http://127.0.0.1:{free_port()}"}).start()
    try:
        etcd.endpoint(SERVICE, "default", world.callee("a").address)
        tside = on_etcd(world, etcd)
        wait_until(lambda: tside.metric("tside_etcd_watching") == 1)
        assert tside.metric("tside_etcd_reconnects_total") == 0
        etcd.kill()
        wait_until(lambda: tside.metric("tside_etcd_watching") == 0)
        etcd.start()
        wait_until(lambda: tside.metric("tside_etcd_watching") == 1, 10)
        assert tside.metric("tside_etcd_reconnects_total") == 1
        assert tside.metric("tside_etcd_empty_lists_total") == 0
        lists = tside.metric("tside_etcd_lists_total")
        etcd.wipe()
        etcd.start()
        wait_until(lambda: tside.metric("tside_etcd_empty_lists_total") > 0, 10)
        wait_until(lambda: tside.metric("tside_etcd_lists_total") > lists, 10)
        assert tside.metric("tside_keys", source="etcd", kind="services") == 1
        assert tside.metric("tside_etcd_cluster_changes_total") == 0
        assert world.link(tside).call("Visit").server == "a"
    finally:
        etcd.remove()


def test_lookups_of_etcds_name(world):
    """A name that nobody has: each failure is counted."""
    tside = world.tside(ready=False, rules_file=None, etcd={"endpoints": ["http://nobody.tside.invalid:2379"]})
    wait_until(lambda: tside.metric("tside_etcd_lookup_failures_total") > 0, 10)


def test_states_written(world, etcd):
    etcd.endpoint(SERVICE, "default", world.callee("a").address)
    tside = on_etcd(world, etcd)
    wait_until(lambda: tside.metric("tside_state_writes_total") == 1)
    assert any((tside.folder / "state").iterdir())
    assert tside.metric("tside_state_write_failures_total") == 0


def test_states_that_could_not_be_written(world, etcd):
    """The folder went away between the start and the first list."""
    etcd.kill()
    try:
        tside = on_etcd(world, etcd, ready=False)
        (tside.folder / "state").rename(tside.folder / "elsewhere")
    finally:
        etcd.start()
    etcd.put(f"{SERVICES}/{SERVICE}/default/{world.callee('a').address}", {})
    wait_until(lambda: tside.metric("tside_state_write_failures_total") > 0, 10)
    assert tside.metric("tside_state_writes_total") == 0
    wait_until(lambda: world.link(tside).call("Visit").server == "a")
    (tside.folder / "elsewhere").rename(tside.folder / "state")
