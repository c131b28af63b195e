"""The handbook: its examples are run as they stand, its references are the product's own, its links lead somewhere."""

import os
import re
import shutil
import subprocess
import threading

import pytest
import yaml

from support import deftable, wire
from support.process import REPO
from support.raw import answer, answer_with
from support.thriftgen import IDL
from support.tside import cli

DOCS = REPO / "docs"
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", flags=re.M | re.S)


def blocks(page: str, section: str) -> list[tuple[str, str]]:
    """(language, text) of the code blocks below one heading."""
    text = (DOCS / page).read_text()
    part = re.split(rf"^## {section}$", text, flags=re.M)[1].split("\n## ")[0]
    return BLOCK.findall(part)


@pytest.mark.parametrize("section, program", [("In Python", "caller.py"), ("In C", "caller.c")])
def test_the_examples_do_what_they_show(world, tmp_path, section, program):
    (_, source), (shell, commands), (_, shown) = blocks("attach.md", section)
    assert shell == "sh"
    shutil.copy(IDL, tmp_path / "demo.thrift")
    (tmp_path / program).write_text(source)
    tside = world.tside(default=[world.thrift_callee("alpha")])
    done = subprocess.run(["bash", "-euc", commands], cwd=tmp_path, capture_output=True, text=True, check=False,
                          env={**os.environ, "TSIDE_ADDRESS": tside.address, "PATH": "/usr/bin:/bin"})
    assert (done.returncode, done.stdout) == (0, shown), done.stderr


def test_the_idl_shown_is_the_one_used():
    (_, shown), = [block for block in BLOCK.findall((DOCS / "attach.md").read_text()) if block[0] == "thrift"]
    assert shown in IDL.read_text()


def rules_of(section: str) -> list[dict]:
    return [yaml.safe_load(text)["rules"] for language, text in blocks("attach.md", section) if language == "yaml"]


def test_a_oneway_sent_as_a_call_by_the_manual(world):
    """A callee that answers no Log: the next call on that connection does not wait for it."""
    [rules] = rules_of("Oneway methods")
    callee = world.callee("a", answer_with(lambda request: b"" if request.name == b"Log" else wire.reply(
        request, wire.response("a"))))
    link = world.link(world.tside(rules, default=[callee]))
    link.send(wire.call("Log", seqid=1))
    assert link.call("Visit", seqid=2).seqid == 2


@pytest.mark.parametrize("hosts", (1, 2))
def test_a_server_of_one_connection_by_the_manual(world, hosts):
    """One host and several workers, or several hosts, and none keeps the others out."""
    one_at_a_time = threading.Lock()

    def script(link) -> None:
        with one_at_a_time:
            answer(link)

    callee = world.callee("a", script)
    rules = rules_of("Servers that serve one connection at a time")[hosts - 1]
    tsides = [world.tside(rules, default=[callee]) for _ in range(hosts)]
    links = [link for tside in tsides for link in world.spread(tside)]
    for link in links * 3:
        assert link.call("Visit").server == "a"


@pytest.mark.parametrize("page", ["keys", "bootstrap", "reasons", "metrics"])
def test_references_are_what_the_binary_says(page):
    done = cli("docs", page)
    assert done.returncode == 0, done.stderr
    assert (DOCS / f"{page}.md").read_text() == done.stdout, f"run: tside docs {page} > docs/{page}.md"


def test_references_are_whole():
    keys, reasons, metrics = ((DOCS / f"{page}.md").read_text() for page in ("keys", "reasons", "metrics"))
    for field in deftable.fields():
        assert f"`{field.path}`" in keys, field.path
    for reason in deftable.reasons():
        assert f"`{reason.text}`" in reasons, reason.text
    for row in deftable.rows("sidecar/base/metric.def", "METRIC"):
        assert row[2] in metrics, row[2]


def test_every_metric_that_is_shown_is_told(world):
    page = (DOCS / "metrics.md").read_text()
    tside = world.tside(etcd={"endpoints": ["http://127.0.0.1:1"]})
    text = tside.get("/metrics")[1]
    helps = dict(re.findall(r"^# HELP (\S+) (.+)$", text, flags=re.M))
    kinds = dict(re.findall(r"^# TYPE (\S+) (.+)$", text, flags=re.M))
    told = {name: (kind, meaning) for name, kind, meaning in
            re.findall(r"^\| `(\w+)` \| (\w+) \| .*\| (.+) \|$", page, flags=re.M)}
    assert {name: (kinds[name], helps[name]) for name in helps}.items() <= told.items()
    assert set(told) - set(helps) <= {"tside_etcd_sync_age_seconds"}  # known only after the first list


def test_json_examples_are_good_rules(tmp_path):
    """The values shown under each heading of the keys' page are taken for what it says they are."""
    page = (DOCS / "keys.md").read_text()
    lines = []
    for kind, key in (("traffic", "a/b/c/d/{}/traffic"), ("degrade", "a/b/c/d/{}/degrade"), ("Endpoints", "s/c/127.0.0.1:{}")):
        [(language, text)] = BLOCK.findall(re.split(rf"^## {kind}$", page, flags=re.M)[1].split("\n## ")[0])
        assert language == "json"
        lines += ["services:" if kind == "Endpoints" else "rules:"] if kind != "degrade" else []
        lines += [f'  "{key.format(n)}": {value}' for n, value in enumerate(text.splitlines(), 1)]
    (tmp_path / "rules.yaml").write_text("\n".join(lines))
    done = cli("check", "--rules", tmp_path / "rules.yaml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_not_yet_lists_what_the_table_says():
    page = (DOCS / "not-yet.md").read_text()
    listed = set(re.findall(r"^\| `([a-z_.]+)` \|", page.split("## Keys of")[0], flags=re.M))
    assert listed == {field.path for field in deftable.fields() if field.state == "NOT_YET"}
    for enum in deftable.enums():
        assert (f"`{enum.text}`" in page) == (enum.state == "NOT_YET"), enum.text


def test_not_yet_lists_what_the_bootstrap_refuses():
    page = (DOCS / "not-yet.md").read_text().split("## Keys of")[1].split("\n## ")[0]
    told = set()
    for cell in re.findall(r"^\| (`.+?) \|", page, flags=re.M):
        first, *others = re.findall(r"`([^`]+)`", cell.split(" other than ")[0])
        told |= {first.split(":")[0]} | {other if "." in other else f"etcd.{other}" for other in others}
    later = {path for path, _ in deftable.rows("sidecar/base/options.def", "LATER")}
    words = {row[0] for kind in ("OPTION", "LISTENER") for row in deftable.rows("sidecar/base/options.def", kind) if "!" in row[4]}
    assert told - {"etcd.https://"} == later | words


def test_commands_that_are_not_there_yet_say_so():
    page = (DOCS / "not-yet.md").read_text().split("## Commands")[1].split("Until then")[0]
    verbs = re.findall(r"`(\w+)`", page)
    assert len(verbs) == 17
    for verb in verbs:
        done = cli(verb)
        assert done.returncode == 64 and " yet" in done.stderr, (verb, done.stderr)


def test_the_options_of_each_command():
    page = (DOCS / "not-yet.md").read_text().split("## Commands")[1].split("\n## ")[0]
    told = {verb: set(re.findall(r"`(-[\w-]+)`", taken)) for verb, taken in
            re.findall(r"^\| `(\w+)` \| (.*) \|$", page, flags=re.M)}
    verbs = re.findall(r"^  (\w+) ", cli("--help").stdout.split("Commands:")[1].split("Not built yet:")[0], flags=re.M)
    assert set(told) == set(verbs)
    for verb in verbs:
        shown = cli(verb, "--help").stdout
        takes = re.findall(r"^  (-\w), --([\w-]+)", shown, flags=re.M)
        short = {"-c", "-o"}  # those of the specification that have a letter
        assert told[verb] == {letter if letter in short else f"--{name}" for letter, name in takes} - {"--help"}, verb


@pytest.mark.parametrize("page", sorted(path.name for path in [*DOCS.glob("*.md"), REPO / "README.md"]))
def test_links_lead_somewhere(page):
    path = DOCS / page if page != "README.md" else REPO / page
    pages = [path] + ([DOCS / page] if page == "README.md" else [])
    for here in pages:
        for target in re.findall(r"\]\(([^)#]+)\)", here.read_text()):
            assert target.startswith("https://") or (here.parent / target).exists(), f"{here}: {target}"


def test_yaml_blocks_are_good(tmp_path):
    """Each is a bootstrap file, or a rules file where it begins as one."""
    found = {"-c": 0, "--rules": 0}
    (tmp_path / "rules.yaml").write_text("rules: {}\n")
    for path in DOCS.glob("*.md"):
        for language, text in BLOCK.findall(path.read_text()):
            if language == "yaml":
                kind = "--rules" if text.startswith("rules:") else "-c"
                (tmp_path / "shown.yaml").write_text(text)
                done = cli("check", kind, tmp_path / "shown.yaml")
                assert done.returncode == 0, (path.name, done.stdout + done.stderr)
                found[kind] += 1
    assert all(found.values()), found
