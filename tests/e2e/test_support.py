"""The support package itself, without a tside in between: what the other tests rest on."""

import os
import subprocess
import sys

import pytest
from thrift.Thrift import TApplicationException

from support import deftable, wire
from support.caller import Caller
from support.process import Allocations, helper
from support.raw import Closed, Link, RawCallee, StuckListener, closed_port
from support.tside import parse_metrics
from support.wait import wait_until


@pytest.fixture
def alpha(stock):
    return stock.take("alpha", "")


def test_thrift_caller_and_callee_speak(alpha):
    with Caller(alpha.address, "app.feed") as caller:
        answer = caller.visit("hello", cluster="blue")
        assert (answer.server, answer.text) == ("alpha", "hello")
        assert answer.extra == {"dest_service": "example.service", "cluster": "blue"}
        with pytest.raises(caller.types.Sorry) as sorry:
            caller.call("Fail", "so sorry")
        assert sorry.value.why == "so sorry"
        with pytest.raises(TApplicationException) as raised:
            caller.call("Raise", "went wrong")
        assert raised.value.message == "went wrong"
        assert caller.call("Code", number=503).baseResp.StatusCode == 503
        assert len(caller.call("Large", number=100_000).blob) == 100_000
        assert caller.call("Touch") is None
        caller.call("Tell", "one way")
        assert caller.client.Direct("x", caller.base()).text == "x"
    assert [call["method"] for call in alpha.calls] == [
        "Visit", "Fail", "Raise", "Code", "Large", "Touch", "Tell", "Direct"]
    alpha.forget()
    assert alpha.calls == []


def test_wire_is_what_the_library_says(alpha):
    link = Link.to(alpha.address)
    answer = link.call("Visit", seqid=-7, extra={"k": "v"})
    assert (answer.type, answer.name, answer.seqid, answer.server) == (wire.REPLY, b"Visit", -7, "alpha")
    link.send(wire.call("Nope"))
    assert link.message().exception[0] == TApplicationException.UNKNOWN_METHOD
    assert link.call("Direct", direct=True, base_fields=wire.base()).server is not None
    link.close()
    assert alpha.calls[0]["extra"] == {"dest_service": "example.service", "k": "v"}


def test_raw_callee_records_holds_and_closes():
    callee = RawCallee("raw")
    link = Link.to(callee.address)
    callee.gate.clear()
    frame = wire.call("Visit", seqid=3)
    link.send(frame)
    wait_until(lambda: callee.count == 1)
    with pytest.raises(TimeoutError):
        link.frame(0.05)
    callee.gate.set()
    assert link.message().server == "raw"
    assert callee.bodies == [frame[4:]]
    callee.close_all()
    assert link.ended()
    callee.stop()


def test_a_cut_frame_is_told_from_a_clean_end():
    callee = RawCallee("raw", lambda link: (link.frame(), link.send(b"\0\0\0\x09cut")))
    link = Link.to(callee.address)
    link.send(wire.call())
    with pytest.raises(Closed):
        link.message()
    callee.stop()


def test_broken_scripts_are_told():
    def script(link):
        link.frame()
        raise ValueError("broken")

    callee = RawCallee("raw", script)
    link = Link.to(callee.address)
    link.send(wire.call())
    link.ended()
    with pytest.raises(AssertionError):
        callee.stop()


def test_addresses_that_fail():
    with pytest.raises(ConnectionRefusedError):
        Link.to(closed_port())
    stuck = StuckListener()
    with pytest.raises(TimeoutError):
        Link.to(stuck.address, timeout=0.3)
    stuck.stop()


def test_etcd_starts_puts_and_comes_back(etcd):
    etcd.rule("*/*/b/*/*", "degrade", 30)
    etcd.put_fast("/tside/services/b/default/127.0.0.1:1", {"weight": 1})
    assert etcd.map("/tside") == {"/tside/rules/*/*/b/*/*/degrade": "30",
                                  "/tside/services/b/default/127.0.0.1:1": '{"weight": 1}'}
    etcd.kill()
    assert not etcd.healthy()
    etcd.start()
    assert len(etcd.map("/tside")) == 2


def test_metrics_are_read_strictly():
    body = '# HELP a b\n# TYPE a counter\na{x="1\\"2",y=""} 3\nb 1.5\n'
    assert parse_metrics(body) == [("a", {"x": '1"2', "y": ""}, 3.0), ("b", {}, 1.5)]
    with pytest.raises(AssertionError):
        parse_metrics("no sample at all\n")


def test_the_tables_are_read_whole():
    fields = deftable.fields()
    assert len({field.id for field in fields}) == len(fields) >= 36
    assert {field.state for field in fields} == {"BUILT", "NOT_YET"}
    assert "ok" in {reason.text for reason in deftable.reasons()}


def run_client(address: str, *options: str) -> list[str]:
    done = subprocess.run([helper("demo_client"), address, *options], capture_output=True, text=True,
                          timeout=20, check=True)
    return done.stdout.splitlines()


def test_c_glib_client_and_server_speak(alpha):
    assert run_client(alpha.address, "text=hi", "count=3", "caller=c.app", "cluster=blue") == ["reply alpha hi"] * 3
    assert run_client(alpha.address, "method=Fail", "text=no") == ["sorry no"]
    assert run_client(alpha.address, "method=Raise", "text=boom") == ["exception 6 application error: boom"]
    assert run_client(alpha.address, "method=Code", "number=503") == ["code 503"]
    assert run_client(alpha.address, "method=Touch") == run_client(alpha.address, "method=Tell") == ["void"]
    assert alpha.calls[0]["caller"] == "c.app"
    assert alpha.calls[0]["extra"] == {"dest_service": "example.service", "dest_cluster": "blue"}

    server = subprocess.Popen([helper("demo_server"), "gamma"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True)
    address = server.stdout.readline().strip()
    assert run_client(address, "text=hi") == ["reply gamma hi"]
    with Caller(address) as one, Caller(address) as two:
        assert [one.visit("x").server, two.visit("y").text] == ["gamma", "y"]
        with pytest.raises(one.types.Sorry):
            one.call("Fail", "x")
        assert two.call("Code", number=7).baseResp.StatusCode == 7
    server.communicate("", timeout=10)
    assert server.returncode == 0


def test_allocations_are_counted():
    told = []
    for times in (1, 5):
        allocations = Allocations()
        # An isolated interpreter allocates about the same in every run, but for what is asked here.
        subprocess.run([sys.executable, "-I", "-S", "-c",
                        f"import ctypes; c = ctypes.CDLL(None); [c.malloc(99999) for _ in range({times * 1000})]"],
                       env={**os.environ, **allocations.env}, check=True)
        told.append(sum(allocations.by_thread().values()))
        allocations.remove()
    assert 3_900 < told[1] - told[0] < 12_100


def test_allocations_are_refused():
    allocations = Allocations()
    allocations.refuse(90_000, 91_000)
    code = "import ctypes; m = ctypes.CDLL(None).malloc; m.restype = ctypes.c_void_p; print(m(90500), bool(m(92000)))"
    done = subprocess.run([sys.executable, "-I", "-S", "-c", code], env={**os.environ, **allocations.env},
                          capture_output=True, text=True, check=True)
    allocations.remove()
    assert done.stdout == "None True\n"
