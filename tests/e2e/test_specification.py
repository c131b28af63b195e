"""docs/specification.md says what there is and marks what is not: held against the tables and the binary."""

import re

import yaml

from support import deftable
from support.process import REPO
from support.tside import cli

PAGE = (REPO / "docs" / "specification.md").read_text()
NOT_YET = (REPO / "docs" / "not-yet.md").read_text()
MARK = "*(not yet)*"


def section(heading: str) -> str:
    """The text below one heading, up to the next of its rank or above."""
    rank = heading.split(" ")[0]
    return re.split(rf"^#{{1,{len(rank)}}} ", PAGE.split(f"\n{heading}\n")[1], flags=re.M)[0]


def first_cells(heading: str) -> list[str]:
    """The first cell of each row of the section's first table."""
    rows = [line for line in section(heading).split("| --- |")[1].split("\n\n")[0].splitlines()[1:]]
    return [re.split(r"(?<!\\)\|", row)[1].strip() for row in rows]


def config_rows() -> dict[str, str]:
    """Field's path -> its first cell."""
    return {re.match(r"`([a-z_.]+)`", cell)[1]: cell for cell in first_cells("### config")}


FIELDS = {field.path: field for field in deftable.fields()}


def test_every_field_of_the_table_is_specified():
    assert set(FIELDS) <= {name for path in config_rows() for name in (path, path.split(".")[0])}


def test_fields_that_are_not_there_are_marked():
    for path, cell in config_rows().items():
        field = FIELDS.get(path) or FIELDS.get(path.split(".")[0])
        built = field is not None and field.state == "BUILT"
        assert (MARK in cell) == (not built), path


def test_defaults_are_the_tables():
    rows = config_rows()
    for field in FIELDS.values():
        if field.path in rows and field.type in ("INT", "SHARE", "BOOL"):
            shown = re.search(r"\[([\w.]+)", rows[field.path])[1]
            assert {"true": "1", "false": "0"}.get(shown, shown) == field.default, field.path


def test_the_page_about_choosing_has_each_field_once():
    """With the default and the mark that stand in the specification."""
    page = (REPO / "docs" / "choosing.md").read_text()
    cells = re.findall(r"^\| (`[a-z_.]+`[^|]*?) \|", page, flags=re.M)
    assert sorted(cells) == sorted(config_rows().values())


def test_values_that_are_not_there_are_marked():
    text = section("### config")
    for enum in deftable.enums():
        assert re.search(rf"`{enum.text}`(?! {re.escape(MARK)})", text) or enum.state == "NOT_YET", enum.text
        assert (f"`{enum.text}` {MARK}" in text) == (enum.state == "NOT_YET"), enum.text


def test_reasons():
    listed = section("## 3. The way of a call").split("**Reasons.**")[1].split("\n\n")[1]
    told = dict(re.findall(r"`(\w+)`( \*\(not yet\)\*)?", listed))
    assert {text: bool(mark) for text, mark in told.items()} == {
        reason.text: not reason.test for reason in deftable.reasons()}


def flattened(value, path: str = "") -> dict[str, object]:
    """{"etcd.watch": "all", "listeners[].listen": ...}"""
    if isinstance(value, dict) and path != "listeners[].uids":  # whose keys are the user's
        pairs = [(f"{path}.{key}" if path else key, below) for key, below in value.items()]
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        pairs = [(f"{path}[]", below) for below in value]
    else:
        return {path: value}
    return {name: leaf for at, below in pairs for name, leaf in flattened(below, at).items()}


def bootstrap_blocks() -> list[str]:
    """The keys that there are, then those that are not there yet."""
    return re.findall(r"^```\w+\n(.*?)^```$", section("### The bootstrap file"), flags=re.M | re.S)


OPTIONS = {row[0]: row for kind in ("OPTION", "LIVE", "LISTENER")
           for row in deftable.rows("sidecar/base/options.def", kind)}


def test_keys_of_the_bootstrap_file():
    there, later = (flattened(yaml.safe_load(block)) for block in bootstrap_blocks())
    assert set(there) == set(OPTIONS)
    assert not set(later) & set(OPTIONS)
    for (path, _) in deftable.rows("sidecar/base/options.def", "LATER"):
        assert any(key == path or key.startswith((path + ".", path + "[")) for key in later), path


def test_defaults_of_the_bootstrap_file():
    there = flattened(yaml.safe_load(bootstrap_blocks()[0]))
    for path, row in OPTIONS.items():
        default, value = row[5], there[path]
        if default not in ("NULL", ""):
            shown = str(value).lower() if isinstance(value, bool) else str(value)
            assert shown in (default, f"['{default}']"), path


def test_words_of_the_bootstrap_file_that_are_not_there_are_marked():
    for path, row in OPTIONS.items():
        for word in re.findall(r"!(\w+)", row[4]):
            assert f"{word} (not yet)" in bootstrap_blocks()[0], (path, word)


def test_paths_of_the_admin_port(world):
    specified = {}
    for cell in first_cells("## 7. Looking inside"):
        method, path = re.match(r"`(GET|POST) (\S+)`", cell).groups()
        specified[method, path] = MARK in cell
    index = world.tside().get("/")[1]
    shown = re.findall(r"^(GET|POST) +(/\S*)(  \(not yet\))?$", index, flags=re.M)
    assert {(method, path): bool(mark) for method, path, mark in shown} == specified


def test_commands():
    built, later = (set(re.findall(r"^  (\w+) ", part, flags=re.M))
                    for part in cli("--help").stdout.split("Commands:")[1].split("Not built yet:"))
    specified = {re.match(r"`tside (\w+)", cell)[1]: MARK in cell for cell in first_cells("### Commands")}
    assert {verb for verb, is_later in specified.items() if not is_later} == built
    assert {verb for verb, is_later in specified.items() if is_later} >= later


def test_protocols_of_foreign_connections():
    rows = deftable.rows("sidecar/base/metric.def", "METRIC")
    counted = {re.search(r'protocol=\\?"(\w+)', row[3])[1] for row in rows if row[2] == "tside_foreign_connections_total"}
    listed = PAGE.split("label `protocol` is one of")[1].split(".")[0]
    told = {value for value, mark in re.findall(r"`(\w+)`(\s\*\(not\s+yet\)\*)?", listed) if not mark}
    assert told == counted


def test_what_is_marked_is_on_the_page_of_what_is_not_yet():
    later = flattened(yaml.safe_load(bootstrap_blocks()[1]))
    marked = {path for path, cell in config_rows().items() if MARK in cell} | set(later)
    words = set(re.findall(r"`([\w.\[\]]+)", NOT_YET)) | {f"etcd.{name}" for name in re.findall(r"`(\w+)`", NOT_YET)}
    for path in marked:
        parts = path.split(".")
        above = {".".join(parts[:n + 1]).removesuffix("[]") for n in range(len(parts))}
        assert above & words, path
    for cell in first_cells("### Commands"):
        assert MARK not in cell or re.match(r"`tside (\w+)", cell)[1] in words, cell
