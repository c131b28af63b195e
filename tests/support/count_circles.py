#!/usr/bin/env python3
"""Finds functions that call each other in a circle: count_circles.py FOLDER [MOST].

A function in a circle may find an object changed under its feet by a function that it called. The C
sources below FOLDER are read, not compiled: the graph has an arrow where a function's body has the name
of another one and a parenthesis. A static function is that of its own file; what goes through a pointer
or a macro is not seen. Prints the largest circle, one function a line, and fails where it has more than
MOST functions.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Iterator, NamedTuple

TEXT = re.compile(r"""/\*.*?\*/ | //[^\n]* | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*'""", re.S | re.X)
PREPROCESSOR = re.compile(r"^[ \t]*#(?:\\\n|[^\n])*", re.M)
TOKEN = re.compile(r"\w+|->|[^\s\w]")


class Function(NamedTuple):
    file: str
    name: str


class Definition(NamedTuple):
    function: Function
    static: bool
    calls: set[str]


def opening(tokens: list[str], at: int) -> int:
    """The parenthesis that the one at `at` closes."""
    depth = 0
    while True:
        depth += {")": 1, "(": -1}.get(tokens[at], 0)
        if depth == 0:
            return at
        at -= 1


def closing(tokens: list[str], at: int) -> int:
    """The brace that closes the one at `at`."""
    depth = 0
    while at < len(tokens):
        depth += {"{": 1, "}": -1}.get(tokens[at], 0)
        if depth == 0:
            return at
        at += 1
    raise ValueError("a brace is not closed")


def called(body: list[str]) -> set[str]:
    """Names that are called, but for members: those are pointers."""
    return {name for before, name, behind in zip([""] + body, body, body[1:])
            if behind == "(" and before not in (".", "->") and re.match(r"[A-Za-z_]", name)}


def definitions(file: str, source: str) -> Iterator[Definition]:
    """The functions that a file defines: a parenthesis and a body, outside of all braces."""
    tokens = TOKEN.findall(PREPROCESSOR.sub("", TEXT.sub(" ", source)))
    at = begin = 0
    while at < len(tokens):
        if tokens[at] == "{":
            end = closing(tokens, at)
            if tokens[at - 1] == ")":
                name = tokens[opening(tokens, at - 1) - 1]
                yield Definition(Function(file, name), "static" in tokens[begin:at], called(tokens[at:end]))
            at = begin = end
        elif tokens[at] == ";":
            begin = at
        at += 1


def call_graph(sources: dict[str, str]) -> dict[Function, set[Function]]:
    """Which function calls which; a name is that of the file, else one that all files see."""
    found = [definition for file, source in sources.items() for definition in definitions(file, source)]
    local: dict[Function, Function] = {}
    shared: dict[str, set[Function]] = {}
    for function, static, _ in found:
        local[function] = function
        if not static or function.file.endswith(".h"):
            shared.setdefault(function.name, set()).add(function)
    graph: dict[Function, set[Function]] = {}
    for function, _, calls in found:
        arrows = graph.setdefault(function, set())
        for name in calls:
            own = local.get(Function(function.file, name))
            arrows |= {own} if own else shared.get(name, set())
    return graph


class Tarjan:
    """Strongly connected components; without recursion, since call chains are long."""

    def __init__(self, graph: dict[Function, set[Function]]):
        self.graph = graph
        self.index: dict[Function, int] = {}
        self.low: dict[Function, int] = {}
        self.stack: list[Function] = []
        self.on_stack: set[Function] = set()
        self.components: list[list[Function]] = []
        for function in graph:
            if function not in self.index:
                self.visit(function)

    def enter(self, function: Function) -> tuple[Function, Iterator[Function]]:
        self.index[function] = self.low[function] = len(self.index)
        self.stack.append(function)
        self.on_stack.add(function)
        return function, iter(self.graph[function])

    def leave(self, function: Function) -> None:
        if self.low[function] == self.index[function]:
            at = self.stack.index(function)
            self.components.append(self.stack[at:])
            self.on_stack -= set(self.stack[at:])
            del self.stack[at:]

    def visit(self, root: Function) -> None:
        path = [self.enter(root)]
        while path:
            function, others = path[-1]
            for other in others:
                if other not in self.index:
                    path.append(self.enter(other))
                    break
                if other in self.on_stack:
                    self.low[function] = min(self.low[function], self.index[other])
            else:
                path.pop()
                self.leave(function)
                if path:
                    above = path[-1][0]
                    self.low[above] = min(self.low[above], self.low[function])


def largest_circle(sources: dict[str, str]) -> list[Function]:
    """The functions of the largest circle, in order; none where no function calls itself by others."""
    graph = call_graph(sources)
    circles = [component for component in Tarjan(graph).components
               if len(component) > 1 or component[0] in graph[component[0]]]
    return sorted(max(circles, key=len, default=[]))


def main(folder: str, most: str = "") -> int:
    paths = sorted(Path(folder).rglob("*.[ch]"))
    circle = largest_circle({str(path): path.read_text() for path in paths})
    for function in circle:
        print(f"{function.file}: {function.name}")
    print(f"circles: the largest has {len(circle)} functions, in {len(paths)} files of {folder}")
    return 1 if most and len(circle) > int(most) else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) in (2, 3) else __doc__)
