"""What a process finds when it starts: ports and sockets of others, and what a service manager hands over."""

import json
import os
import socket
import subprocess
import sys

import pytest

from support import wire
from support.process import Process, binary
from support.raw import Link
from support.tside import Tside, cli
from support.wait import wait_until


def second(tside: Tside, listen: str) -> subprocess.CompletedProcess:
    """Another tside that wants the same listener, and nothing else of the first."""
    folder = tside.folder / "second"
    folder.mkdir()
    config = folder / "tside.yaml"
    config.write_text(f"listeners: [{{listen: \"{listen}\"}}]\nrules_file: ../rules.yaml\nstate_dir: state\n"
                      "admin: {listen: 127.0.0.1:0, socket: admin.sock}\n")
    return cli("run", "-c", config)


@pytest.mark.parametrize("kind", ("tcp", "unix"))
def test_a_listener_is_one_process_s(world, kind):
    """SO_REUSEPORT would let both have the port, and each a part of the calls."""
    callee = world.callee("a")
    tside = world.tside(default=[callee], listeners=({"listen": "unix:thrift.sock"} if kind == "unix" else {},))
    done = second(tside, f"unix:{tside.folder}/thrift.sock" if kind == "unix" else tside.address)
    assert done.returncode == 69
    assert "cannot listen: Address already in use" in done.stderr
    for _ in range(8):
        assert world.link(tside).call("Visit").server == "a"


def started_by_a_manager(world, sock: socket.socket, env: dict, **options) -> Tside:
    """As systemd does: the socket is descriptor 3, LISTEN_PID the process itself."""
    code = (f"import os, sys; os.dup2({sock.fileno()}, 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
            "os.execv(sys.argv[1], sys.argv[1:])")
    return world.tside(wrapper=(sys.executable, "-c", code), env=env, pass_fds=(sock.fileno(),), **options)


def test_a_socket_that_the_manager_holds(world):
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    held.listen(16)
    address = "%s:%d" % held.getsockname()
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind("\0tside-notify-%d" % os.getpid())
    ear.settimeout(10)
    env = {"LISTEN_FDS": "1", "NOTIFY_SOCKET": "@tside-notify-%d" % os.getpid()}
    tside = started_by_a_manager(world, held, env, default=[world.callee("a")], listeners=({"listen": address},))
    assert ear.recv(100) == b"READY=1"
    assert tside.address == address
    links = [Link.to(address) for _ in range(6)]
    assert {link.call("Visit").server for link in links} == {"a"}
    for link in links:
        link.close()
    tside.stop()
    tside.ended = True
    assert ear.recv(100) == b"STOPPING=1"
    socket.create_connection(held.getsockname()).close()  # it is still the manager's
    held.close()
    ear.close()


def test_descriptors_for_another_process_are_none_of_ours(world):
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    held.listen(16)
    address = "%s:%d" % held.getsockname()
    tside = world.tside(start=False, default=[world.callee("a")], listeners=({"listen": address},),
                        env={"LISTEN_FDS": "2000000000", "LISTEN_PID": "1"})
    tside.ended = True  # it never begins
    done = subprocess.run([binary(), "run", "-c", tside.config], cwd=tside.folder, capture_output=True, text=True,
                          env={**os.environ, **tside.env}, timeout=30)
    assert done.returncode == 69 and "Address already in use" in done.stderr
    held.close()


def test_an_absurd_number_of_descriptors(world):
    held = socket.socket()
    held.bind(("127.0.0.1", 0))
    held.listen(16)
    tside = started_by_a_manager(world, held, {"LISTEN_FDS": "2000000000"}, default=[world.callee("a")])
    assert world.link(tside).call("Visit").server == "a"
    held.close()


@pytest.mark.parametrize("state_dir, socket_path, told", (
    ("locked/state", "admin.sock", "state_dir {}/locked/state: Permission denied"),
    ("state", "locked/admin.sock", "admin.socket {}/locked/admin.sock: Permission denied"),
))
def test_permission_is_an_exit_code_of_its_own(tmp_path, state_dir, socket_path, told):
    """Exit code 77. Root passes every mode: it is run without its capabilities."""
    (tmp_path / "locked").mkdir(mode=0)
    config = tmp_path / "tside.yaml"
    config.write_text(f"listeners: [{{listen: 127.0.0.1:0}}]\nrules_file: rules.yaml\nstate_dir: {state_dir}\n"
                      f"admin: {{listen: 127.0.0.1:0, socket: {socket_path}}}\n")
    drop = ["setpriv", "--inh-caps=-all", "--bounding-set=-all"] if os.geteuid() == 0 else []
    done = subprocess.run([*drop, binary(), "run", "-c", config], cwd=tmp_path, capture_output=True, text=True,
                          timeout=30)
    assert done.returncode == 77 and told.format(tmp_path) in done.stderr, done.stderr


@pytest.mark.parametrize("option", ("listen", "socket"))
def test_which_door_of_admin_is_taken(world, tmp_path, option):
    tside = world.tside(workers=1)
    admin = {"listen": "127.0.0.1:0", "socket": "admin.sock",
             option: tside.admin_address if option == "listen" else str(tside.admin_socket)}
    config = tmp_path / "tside.yaml"
    (tmp_path / "rules.yaml").write_text("rules: {}\n")
    config.write_text(json.dumps({"listeners": [{"listen": "127.0.0.1:0"}], "rules_file": "rules.yaml",
                                  "state_dir": "state", "admin": admin}))
    done = cli("run", "-c", config)
    assert done.returncode == 69 and f"admin.{option} {admin[option]}: Address already in use" in done.stderr
    assert done.stderr.count('"level":"error"') == 1, done.stderr


def test_the_socket_s_folder_is_made(world):
    tside = world.tside(default=[world.callee("a")], admin={"socket": "run/admin.sock"},
                        listeners=({"listen": "unix:run/thrift.sock"},))
    assert world.link(tside).call("Visit").server == "a"
    assert (tside.folder / "run" / "admin.sock").is_socket()


def test_a_stopping_tside_leaves_another_s_socket_alone(world):
    tside = world.tside(default=[world.callee("a")], listeners=({"listen": "unix:thrift.sock"},))
    path = tside.folder / "thrift.sock"
    path.rename(tside.folder / "aside")
    other = socket.socket(socket.AF_UNIX)
    other.bind(str(path))
    tside.stop()
    tside.ended = True
    assert path.is_socket()
    other.close()


@pytest.mark.parametrize("closed", ("0<&-", "2>&-", "0<&- 1>&- 2>&-"))
def test_started_with_closed_descriptors(world, closed):
    """What opens first would be standard error otherwise: libuv's epoll, a state file, a caller's connection."""
    tside = world.tside(start=False, default=[world.callee("a")],
                        wrapper=("sh", "-c", f'exec "$@" {closed}', "sh"))
    Process.start(tside)  # there may be no log to wait for
    wait_until(lambda: cli("healthcheck", "--ready", "-c", tside.config).returncode == 0, 10, "ready")
    for fd in (int(word[0]) for word in closed.split()):
        assert os.readlink(f"/proc/{tside.pid}/fd/{fd}") == "/dev/null"
    tside.stop()
    tside.ended = True
