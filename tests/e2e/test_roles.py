"""roles: what it prints is run against a real etcd, and a user of the role does what it may and no more."""

import json
import os
import subprocess

import pytest

from support.tside import cli

BOOTSTRAP = """\
listeners:
  - listen: 127.0.0.1:0
etcd: {{endpoints: ["{url}"], rules_prefix: /r, services_prefix: "/it's/s"}}
state_dir: state
"""
MAY = ("/r/pay/default/user/default/Get/config", "/r/*/*/pay/default/*/config", "/it's/s/pay/default/10.0.0.1:80",
       "/tside/audit/1-a")
MAY_NOT = ("/r/pay2/default/user/default/Get/config", "/r/feed/default/pay/default/*/config",
           "/r/*/*/user/default/*/config", "/it's/s/user/default/10.0.0.1:80", "/tside/services/pay/default/10.0.0.1:80")


@pytest.fixture
def config(tmp_path):
    def write(url: str = "http://127.0.0.1:1"):
        (tmp_path / "tside.yaml").write_text(BOOTSTRAP.format(url=url))
        return tmp_path / "tside.yaml"

    return write


def test_a_team_has_its_keys_and_no_others(own_etcd, config):
    etcd = own_etcd
    commands = cli("roles", "pay", "-c", config(etcd.url))
    assert commands.returncode == 0, commands.stderr
    subprocess.run(["sh", "-euc", commands.stdout], check=True, timeout=20,
                   env={**os.environ, "ETCDCTL_ENDPOINTS": etcd.url, "ETCDCTL_API": "3"})
    etcd.ctl("user", "add", "root:r")
    etcd.ctl("user", "add", "anna:a")
    etcd.ctl("user", "grant-role", "root", "root")
    etcd.ctl("user", "grant-role", "anna", "tside-pay")
    etcd.ctl("auth", "enable")
    for key in MAY:
        etcd.ctl("--user", "anna:a", "put", key, "{}")
        assert key in etcd.ctl("--user", "anna:a", "get", "--prefix", key)
    for key in MAY_NOT:
        with pytest.raises(AssertionError, match="permission denied"):
            etcd.ctl("--user", "anna:a", "put", key, "{}")


def test_as_json(config):
    shown = json.loads(cli("roles", "pay", "-c", config(), "-o", "json").stdout)
    assert shown == {"role": "tside-pay", "permission": "readwrite",
                     "prefixes": ["/r/pay/", "/r/*/*/pay/", "/it's/s/pay/", "/tside/audit/"]}


def test_names_as_in_keys(config):
    """Nothing in a name ends the word of a shell."""
    for name in ("a%2Fb", "o'hara", "$(id) `id`;", "\u00e4"):
        shown = json.loads(cli("roles", name, "-c", config(), "-o", "json").stdout)
        assert shown["prefixes"][0] == f"/r/{name}/"
        words = subprocess.run(["sh", "-euc", "etcdctl() { printf '%s\\n' \"$@\"; }\n"
                                + cli("roles", name, "-c", config()).stdout],
                               capture_output=True, text=True, check=True, timeout=20).stdout.splitlines()
        assert words[2] == f"tside-{name}" and shown["prefixes"][0] in words


@pytest.mark.parametrize("wrong, said", [("a/b", "%2F"), ("-", "absent"), ("", "empty"), ("*", "%2A"), ("a%zz", "%"), ("%70ay", "%"),
                                         ("x" * 5000, "long")])
def test_names_that_are_none(config, wrong, said):
    done = cli("roles", "-c", config(), "--", wrong)
    assert done.returncode == 64 and done.stdout == ""
    assert said in done.stderr


def test_without_a_bootstrap_file(tmp_path):
    assert cli("roles", "pay", "-c", tmp_path / "none.yaml").returncode == 65
    assert cli("roles").returncode == 64
