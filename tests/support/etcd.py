"""A real etcd of the test's own, and etcdctl to talk to it."""

from __future__ import annotations

import base64
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Optional, Union

from .process import Process
from .wait import wait_until

RULES, SERVICES = "/tside/rules", "/tside/services"


def free_port() -> int:
    """etcd does not take port 0 (it advertises what it was given): a port that was just free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def text(value: Union[str, dict, int, list]) -> str:
    return value if isinstance(value, str) else json.dumps(value)


class Etcd:
    """One etcd, alone or (peers: name -> URL) a member of a cluster."""

    def __init__(self, name: str = "test", peers: Optional[dict[str, str]] = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="tside-etcd-"))
        self.process: Optional[Process] = None
        self.host = "127.0.0.1"  # where it listens
        self.port = 0
        self.name = name
        self.peers = peers

    def launch(self) -> None:
        self.port = self.port or free_port()
        peers = self.peers or {self.name: f"http://127.0.0.1:{free_port()}"}
        self.process = Process(
            ["etcd", "--name", self.name, "--data-dir", self.folder / "data",
             "--listen-client-urls", self.url, "--advertise-client-urls", self.url,
             "--listen-peer-urls", peers[self.name], "--initial-advertise-peer-urls", peers[self.name],
             "--initial-cluster", ",".join(f"{name}={url}" for name, url in peers.items()),
             "--logger", "zap", "--log-level", "error"],
            self.folder / "stderr", {"ETCDCTL_API": "3"})
        self.process.start()

    def start(self) -> "Etcd":
        """Starts it, or starts it again: same folder, same port."""
        for _ in range(5):  # the port may be taken between the look and the start
            self.launch()
            try:
                wait_until(lambda: self.healthy() or not self.process.alive, 20, "etcd's /health")
            except AssertionError:
                self.process.kill()
                raise
            if self.process.alive:
                return self
            if (self.folder / "data" / "member").exists():
                break  # a restart must have the old port
            self.port = 0
        raise AssertionError(f"etcd does not start: {self.process.tail()}")

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def healthy(self) -> bool:
        try:
            return json.loads(self._http("GET", "/health")).get("health") == "true"
        except (AssertionError, OSError, http.client.HTTPException, ValueError):
            return False

    def _http(self, method: str, path: str, body: Optional[dict] = None) -> str:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=10)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            said = answer.read().decode()
            assert answer.status == 200, f"{path}: {answer.status} {said}"
            return said
        finally:
            connection.close()

    def ctl(self, *args: str) -> str:
        done = subprocess.run(["etcdctl", "--endpoints", self.url, *args], capture_output=True, text=True,
                              env={**os.environ, "ETCDCTL_API": "3"}, timeout=20, check=False)
        assert done.returncode == 0, f"etcdctl {args}: {done.stderr}"
        return done.stdout

    def put(self, key: str, value: Union[str, dict, int], lease: str = "") -> None:
        self.ctl("put", key, text(value), *([f"--lease={lease}"] if lease else []))

    def delete(self, key: str) -> None:
        self.ctl("del", key)

    def lease(self, ttl_s: int) -> str:
        return self.ctl("lease", "grant", str(ttl_s)).split()[1]

    def rule(self, tuple_: str, kind: str, value: Union[str, dict, int]) -> None:
        self.put(f"{RULES}/{tuple_}/{kind}", value)

    def endpoint(self, service: str, cluster: str, address: str, value: Union[str, dict] = "",
                 lease: str = "") -> None:
        self.put(f"{SERVICES}/{service}/{cluster}/{address}", value, lease)

    def put_fast(self, key: str, value: Union[str, dict, int]) -> None:
        """A put without a process of its own, for measurements."""
        coded = [base64.b64encode(part.encode()).decode() for part in (key, text(value))]
        self._http("POST", "/v3/kv/put", {"key": coded[0], "value": coded[1]})

    def put_many(self, values: dict[str, Union[str, dict, int]]) -> None:
        """In transactions of 100."""
        puts = [{"request_put": {"key": base64.b64encode(key.encode()).decode(),
                                 "value": base64.b64encode(text(value).encode()).decode()}}
                for key, value in values.items()]
        for at in range(0, len(puts), 100):
            self._http("POST", "/v3/kv/txn", {"success": puts[at:at + 100]})

    def held(self, prefix: str) -> dict[str, tuple[str, int]]:
        """Everything below a prefix: key -> (value, mod_revision)."""
        kvs = json.loads(self.ctl("get", "--prefix", prefix, "-w", "json")).get("kvs", [])
        return {base64.b64decode(kv["key"]).decode():
                (base64.b64decode(kv.get("value", "")).decode(), kv["mod_revision"]) for kv in kvs}

    def map(self, prefix: str) -> dict[str, str]:
        return {key: value for key, (value, _) in self.held(prefix).items()}

    def lease_of(self, key: str) -> int:
        [kv] = json.loads(self.ctl("get", key, "-w", "json"))["kvs"]
        return kv["lease"]

    def revision(self) -> int:
        return json.loads(self.ctl("get", "/", "-w", "json"))["header"]["revision"]

    def clear(self) -> None:
        self.ctl("del", "--prefix", "/")

    def kill(self) -> None:
        self.process.signal(signal.SIGKILL)
        self.process.wait()

    def wipe(self) -> None:
        """Killed and without its data: started again it is empty, and the same cluster where peers are given."""
        self.kill()
        shutil.rmtree(self.folder / "data")

    def remove(self) -> None:
        if self.process is not None:
            self.process.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class EtcdCluster:
    """Three members; two of them are a quorum."""

    def __init__(self) -> None:
        peers = {f"m{i}": f"http://127.0.0.1:{free_port()}" for i in range(3)}
        self.members = [Etcd(name, peers) for name in peers]

    def start(self) -> "EtcdCluster":
        """Starts those that do not run; all are healthy then."""
        for member in self.members:
            if member.process is None or not member.process.alive:
                member.launch()
        wait_until(lambda: all(member.healthy() for member in self.members), 30, "three healthy members")
        return self

    @property
    def urls(self) -> list[str]:
        return [member.url for member in self.members]

    def member(self, url: str) -> Etcd:
        return next(member for member in self.members if member.url == url)

    def leader(self) -> Etcd:
        """By the word of any that has a quorum."""
        def found() -> Optional[Etcd]:
            for member in self.members:
                if member.process.alive and member.healthy():
                    status = json.loads(member.ctl("endpoint", "status", "-w", "json"))[0]["Status"]
                    if status["leader"] == status["header"]["member_id"]:
                        return member
            return None

        return wait_until(found, 20, "a leader")

    def others(self, member: Etcd) -> list[Etcd]:
        return [other for other in self.members if other is not member]

    def remove(self) -> None:
        for member in self.members:
            member.remove()
