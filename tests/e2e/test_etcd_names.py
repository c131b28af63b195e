"""etcd by one name, as a Kubernetes service is: every address of the name counts."""

import socket
import time
from pathlib import Path

import pytest

from support.etcd import RULES, Etcd, free_port
from support.tside import SERVICE, Tside
from support.wait import PATIENCE, wait_until

CONFIG = f"{RULES}/*/*/{SERVICE}/*/*/config"
NAME = "etcd.tside.test"


class Names:
    """The addresses of NAME, for one process: its own /etc/hosts, which the C library reads at each lookup."""

    def __init__(self, folder: Path):
        self.path = folder / "hosts"
        self.path.touch()
        # "unchanged", then private: in a chroot / is no mount, and unshare's own way of saying private fails.
        self.wrapper = ("unshare", "--mount", "--propagation", "unchanged", "sh", "-c",
                        'mount --make-rprivate / 2>/dev/null; mount --bind "$0" /etc/hosts && exec "$@"', str(self.path))

    def are(self, *addresses: str) -> None:
        """In place: what is mounted is this file, not this path."""
        self.path.write_text("127.0.0.1 localhost\n" + "".join(f"{address} {NAME}\n" for address in addresses))


class Silence:
    """Accepts connections and never answers."""

    def __init__(self, host: str, port: int):
        self.socket = socket.create_server((host, port))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture
def names(tmp_path):
    return Names(tmp_path)


@pytest.fixture
def moving():
    """An etcd that can be started again at another address, as the same cluster."""
    made = Etcd("moving", {"moving": f"http://127.0.0.1:{free_port()}"}).start()
    yield made
    made.remove()


def by_name(world, names: Names, etcd: Etcd) -> Tside:
    return world.tside(etcd={"endpoints": [f"http://{NAME}:{etcd.port}"]}, rules_file=None, wrapper=names.wrapper)


def addresses(tside: Tside) -> dict[str, dict]:
    return {at.get("address", ""): at for at in tside.json("/api/v1/etcd")["endpoints"]}


def test_the_first_address_hangs(world, names, moving):
    """Two of three accept and never answer: the third is found, and each is shown by itself."""
    moving.endpoint(SERVICE, "default", world.callee("a").address)
    names.are("127.0.0.2", "127.0.0.3", "127.0.0.1")
    with Silence("127.0.0.2", moving.port), Silence("127.0.0.3", moving.port):
        tside = by_name(world, names, moving)
        link = world.link(tside)
        wait_until(lambda: link.call("Visit").server == "a", 20)
        shown = addresses(tside)
        assert set(shown) == {"127.0.0.1", "127.0.0.2", "127.0.0.3"}
        assert [at for at, it in shown.items() if it["current"]] == ["127.0.0.1"]
        up = {labels["address"]: value for name, labels, value in tside.metrics() if name == "tside_etcd_endpoint_up"}
        assert up == {"127.0.0.1": 1, "127.0.0.2": 0, "127.0.0.3": 0}


@pytest.mark.parametrize("old", ["is refused", "hangs"])
def test_the_name_moves(world, names, moving, old):
    """etcd is moved and the name follows: a change acts within ten seconds, whatever is left at the old address."""
    moving.endpoint(SERVICE, "default", world.callee("a").address)
    names.are("127.0.0.1")
    tside = by_name(world, names, moving)
    link = world.link(tside)
    wait_until(lambda: link.call("Visit").server == "a", 10)
    moving.kill()
    with Silence("127.0.0.1", moving.port if old == "hangs" else free_port()):
        wait_until(lambda: tside.metric("tside_etcd_watching") == 0, 10)
        moving.host = "127.0.0.7"
        moving.start()
        moving.put(CONFIG, {"access": "deny"})
        names.are("127.0.0.7")
        begun = time.monotonic()
        wait_until(lambda: link.call("Visit").reason == "denied", 30)
        assert time.monotonic() - begun < 10 * PATIENCE
        assert set(addresses(tside)) == {"127.0.0.7"}
    assert tside.calls(reason="no_endpoint") == 0
