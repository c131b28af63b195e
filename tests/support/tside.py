"""The real tside: its files written, started, asked, changed, and held to a clean end."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import urllib.parse
from pathlib import Path
from typing import Any, Iterable, Optional, Sequence, Union

import yaml

from . import wire
from .process import Process, binary
from .raw import Link
from .wait import PATIENCE, wait_until

SERVICE = wire.TO


def endpoints(service: str = SERVICE, **clusters: Iterable) -> dict[str, dict]:
    """The `services` section: endpoints(default=[callee, "127.0.0.1:1"], canary=[...])."""
    section = {}
    for cluster, members in clusters.items():
        for member in members:
            address = member if isinstance(member, str) else member.address
            section[f"{service}/{cluster}/{address}"] = {"weight": 10}
    return section


def merged(below: dict, above: dict) -> dict:
    out = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if both else value
    return out


class Tside(Process):
    """One tside in a folder of its own. The folder stays for tside's life, restarts included."""

    def __init__(self, workers: int = 1, rules: Optional[dict] = None, services: Optional[dict] = None,
                 listeners: Sequence[dict] = ({},), env: Optional[dict] = None,
                 wrapper: Sequence[str] = (), pass_fds: Sequence[int] = (), **bootstrap: Any):
        # Short, because a unix socket's path has to fit into 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="tside-"))
        self.workers = workers
        self.rules = dict(rules or {})
        self.services = dict(services or {})
        self.bootstrap = merged({
            "node": {"name": "test-host"},
            "workers": workers,
            "listeners": [{"listen": "127.0.0.1:0", **listener} for listener in listeners],
            "rules_file": "rules.yaml",
            "state_dir": "state",
            "admin": {"listen": "127.0.0.1:0", "socket": "admin.sock"},
            "log": {"level": "info", "format": "json"},
        }, bootstrap)
        self.bootstrap = {k: v for k, v in self.bootstrap.items() if v is not None}
        self.config = self.folder / "tside.yaml"
        self.config.write_text(yaml.safe_dump(self.bootstrap))
        (self.folder / "state").mkdir()
        super().__init__([*wrapper, binary(), "run", "-c", self.config], self.folder / "stderr",
                         {"ASAN_OPTIONS": "detect_leaks=1", **(env or {})}, self.folder, pass_fds)
        self.write_rules()
        self.addresses: list[str] = []
        self.admin_address = ""

    # ---- life --------------------------------------------------------------------------------

    def start(self, ready: bool = True) -> "Tside":
        seen = len(self.log())
        super().start()
        wanted = len(self.bootstrap["listeners"])

        def bound() -> bool:
            assert self.alive, f"tside ended with {self.child.returncode} at start: {self.tail()}"
            new = self.log()[seen:]
            self.addresses = [line["address"] for line in new if line.get("event") == "listening"]
            admin = [line["address"] for line in new if line.get("event") == "admin_listening"]
            self.admin_address = next((a for a in admin if not a.startswith(("/", "unix:"))), "")
            return len(self.addresses) >= wanted and bool(self.admin_address)

        wait_until(bound, 10, "listening and admin_listening in the log")
        if ready:
            wait_until(lambda: self.get("/readyz")[0] == 200, 10, "/readyz")
        return self

    @property
    def address(self) -> str:
        return self.addresses[0]

    def stop(self, timeout: float = 10.0) -> None:
        """SIGTERM; what must hold at the end of every test."""
        assert self.alive, f"tside ended by itself with {self.child.returncode}: {self.tail()}"
        code = self.terminate(timeout)
        self.assert_clean()
        assert code == 0, f"exit code {code} after SIGTERM: {self.tail()}"
        self.log(strict=True)

    def remove(self) -> None:
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    # ---- rules file --------------------------------------------------------------------------

    @property
    def rules_path(self) -> Path:
        return self.folder / "rules.yaml"

    def rules_text(self) -> str:
        return yaml.safe_dump({"rules": self.rules, "services": self.services})

    def write_rules(self) -> None:
        """Replaces the file as editors and ConfigMaps do: by renaming over it."""
        aside = self.folder / "rules.yaml.new"
        aside.write_text(self.rules_text())
        os.rename(aside, self.rules_path)

    def change(self, rules: Optional[dict] = None, services: Optional[dict] = None,
               drop: Iterable[str] = ()) -> None:
        """Edits the rules file and waits until every worker has the result."""
        for key in drop:
            self.rules.pop(key, None)
            self.services.pop(key, None)
        self.rules.update(rules or {})
        self.services.update(services or {})
        taken = self.metric("tside_snapshots_taken_total")
        before = self.rules_path.read_text()
        self.write_rules()
        if self.rules_path.read_text() == before:
            return  # no news, no snapshot
        wait_until(lambda: self.metric("tside_snapshots_taken_total") >= taken + self.workers, 3,
                   "every worker took the edited rules up")

    # ---- asking ------------------------------------------------------------------------------

    def get(self, path: str, headers: Optional[dict] = None, method: str = "GET") -> tuple[int, str]:
        """(status, body) of the admin port."""
        host, port = self.admin_address.rsplit(":", 1)
        connection = http.client.HTTPConnection(host.strip("[]"), int(port), timeout=10 * PATIENCE)
        try:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def json(self, path: str) -> Any:
        status, body = self.get(path)
        assert status == 200, f"GET {path}: {status} {body}"
        return json.loads(body)

    @property
    def admin_socket(self) -> Path:
        return self.folder / "admin.sock"

    def post(self, path: str, body: Optional[dict] = None, method: str = "POST") -> tuple[int, str]:
        """(status, body) of the admin socket."""
        connection = http.client.HTTPConnection("localhost", timeout=10 * PATIENCE)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10 * PATIENCE)
        connection.sock.connect(str(self.admin_socket))
        try:
            connection.request(method, path, body=None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def explain(self, tuple_: str, log_id: Optional[str] = None) -> dict:
        query = {"tuple": tuple_, **({"log_id": log_id} if log_id is not None else {})}
        return self.json("/api/v1/explain?" + urllib.parse.urlencode(query))

    def errors(self) -> list[dict]:
        return self.json("/api/v1/config/errors")["items"]

    def link(self, listener: int = 0, timeout: float = 5.0, framing: str = "framed") -> Link:
        """A caller's raw connection."""
        return Link.to(self.addresses[listener], timeout, framing)

    # ---- metrics -----------------------------------------------------------------------------

    def metrics(self) -> list[tuple[str, dict[str, str], float]]:
        status, body = self.get("/metrics")
        assert status == 200, body
        return parse_metrics(body)

    def metric(self, name: str, **labels: str) -> float:
        """The sum over the samples with these labels."""
        return sum(value for found, has, value in self.metrics()
                   if found == name and all(has.get(k) == v for k, v in labels.items()))

    def calls(self, **labels: str) -> int:
        return int(self.metric("tside_calls_total", **labels))

    def wait_calls(self, count: int, **labels: str) -> None:
        """Accounting follows the reply: waits for it, and tolerates not one too many."""
        wait_until(lambda: self.calls(**labels) >= count, 5, f"{count} calls counted for {labels}")
        assert self.calls(**labels) == count, f"{labels}: {self.calls(**labels)} instead of {count}"

    # ---- log ---------------------------------------------------------------------------------

    def log(self, strict: bool = False) -> list[dict]:
        """The JSON lines so far; strict: there is nothing else on standard error."""
        lines = []
        for line in text_lines(self.stderr()):
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                assert not strict, f"on standard error: {line!r}"
        return lines

    def events(self, event: str, **fields: Any) -> list[dict]:
        return [line for line in self.log() if line.get("event") == event
                and all(line.get(k) == v for k, v in fields.items())]

    def wait_event(self, event: str, timeout: float = 5.0, **fields: Any) -> dict:
        return wait_until(lambda: self.events(event, **fields), timeout, f"log event {event} {fields}")[0]


def text_lines(text: str) -> list[str]:
    """Ended by "\\n" alone: splitlines() splits at eight more line ends, which a name may have in it."""
    return text.removesuffix("\n").split("\n") if text else []


SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"(?:,|$)')
ESCAPES = {"\\\\": "\\", '\\"': '"', "\\n": "\n"}


def parse_metrics(body: str) -> list[tuple[str, dict[str, str], float]]:
    """Prometheus' text format, strictly: a line that is not understood is an error, and so is a series that
    stands twice (a scrape with one is refused whole)."""
    samples = []
    series = set()
    for line in text_lines(body):
        if not line or line.startswith("#"):
            continue
        found = SAMPLE.match(line)
        assert found, f"no sample: {line!r}"
        name, labels, value = found.groups()
        assert (name, labels) not in series, f"twice: {line!r}"
        series.add((name, labels))
        pairs = LABEL.findall(labels or "")
        assert "".join(f'{k}="{v}",' for k, v in pairs).rstrip(",") == (labels or "").rstrip(","), line
        samples.append((name, {k: re.sub(r'\\\\|\\"|\\n', lambda m: ESCAPES[m[0]], v)
                               for k, v in pairs}, float(value)))
    return samples


def cli(*args: Union[str, Path], cwd: Optional[Path] = None, timeout: float = 20.0,
        env: Optional[dict] = None) -> subprocess.CompletedProcess:
    """Runs tside's command line to its end."""
    return subprocess.run([str(binary()), *map(str, args)], capture_output=True, text=True, cwd=cwd,
                          timeout=timeout * PATIENCE, env={**os.environ, **(env or {})}, check=False)


__all__ = ["Tside", "cli", "endpoints", "parse_metrics", "SERVICE"]
