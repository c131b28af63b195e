"""The product's X-macro tables, read from the source: what they promise is what is tested."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .process import REPO

LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"')


def rows(path: str, macro: str) -> list[list[str]]:
    """Arguments of each row MACRO(...) of a .def file; adjacent strings are joined."""
    source = (REPO / path).read_text()
    source = re.sub(r"/\*.*?\*/", "", source, flags=re.S)
    source = re.sub(r"^#.*$", "", source, flags=re.M)
    found = []
    for match in re.finditer(rf"^{macro}\(", source, flags=re.M):
        args, depth, quoted, start, at = [], 1, False, match.end(), match.end()
        while depth:
            char = source[at]
            if quoted:
                if char == "\\":
                    at += 1
                elif char == '"':
                    quoted = False
            elif char == '"':
                quoted = True
            elif char in "({[":
                depth += 1
            elif char in ")}]":
                depth -= 1
            if not quoted and (depth == 0 or (char == "," and depth == 1)):
                args.append(_argument(source[start:at]))
                start = at + 1
            at += 1
        found.append(args)
    return found


def _argument(text: str) -> str:
    text = text.strip()
    return "".join(LITERAL.findall(text)) if text.startswith('"') else text


@dataclass(frozen=True)
class Field:
    id: str
    path: str
    type: str
    min: str
    max: str
    default: str
    order: str
    state: str
    test: str
    meaning: str


@dataclass(frozen=True)
class Enum:
    table: str
    id: str
    text: str
    state: str


@dataclass(frozen=True)
class Reason:
    id: str
    text: str
    own: str
    test: str
    meaning: str


def fields() -> list[Field]:
    return [Field(*row) for row in rows("discovery/rules/rule.def", "FIELD")]


def enums() -> list[Enum]:
    return [Enum(*row) for row in rows("discovery/rules/rule.def", "ENUM")]


def reasons() -> list[Reason]:
    return [Reason(*row) for row in rows("sidecar/base/reason.def", "REASON")]
