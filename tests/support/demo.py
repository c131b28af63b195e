#!/usr/bin/python3
"""./dev demo: rules that flip under a real Thrift client.

Starts four callees of a demo service (three in cluster `default`, one in `canary`), a tside on an
embedded rules file, and python3-thrift clients that call through it. Then it edits the file, like an
operator would, and shows what the next calls do. Ends by itself: 0 where everything was as it says.
"""

from __future__ import annotations

import collections
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from thrift.Thrift import TApplicationException  # noqa: E402

from support.callee import Callee  # noqa: E402
from support.caller import Caller  # noqa: E402
from support.process import binary  # noqa: E402
from support.tside import SERVICE, Tside, endpoints  # noqa: E402

TRAFFIC = f"*/*/{SERVICE}/*/*/traffic"
DEGRADE = f"*/*/{SERVICE}/*/*/degrade"
SLEEP = f"*/*/{SERVICE}/*/Sleep/config"
BAR = 40


class Demo:
    def __init__(self, tside: Tside):
        self.tside = tside
        self.callers = [Caller(tside.address, "app.feed") for _ in range(4)]
        self.calls = 0

    def one(self, method: str = "Visit", number: int = 0) -> str:
        """Which callee answered, or why none did."""
        self.calls += 1
        caller = self.callers[self.calls % len(self.callers)]
        try:
            answer = caller.call(method, "hello", number, f"log-{self.calls}")
        except TApplicationException as error:
            return error.message.split("]")[0].strip("[")
        if answer.baseResp is not None and answer.baseResp.StatusCode:
            return f"BaseResp {answer.baseResp.StatusCode}"
        return answer.server

    def many(self, n: int = 400) -> collections.Counter:
        return collections.Counter(self.one() for _ in range(n))

    def edit(self, said: str, **changes) -> None:
        """Writes the rules file and waits, by calling, until it is in force."""
        print(f"\n$ edit {self.tside.rules_path.name}: {said}")
        begun = time.monotonic()
        self.tside.change(**changes)
        print(f"  in force after {(time.monotonic() - begun) * 1000:.0f} ms, no restart, no connection closed")

    def show(self, what: str, told: collections.Counter) -> None:
        total = sum(told.values())
        print(f"  {what}: {total} calls")
        for who, n in sorted(told.items()):
            print(f"    {who:18} {n * 100 / total:5.1f} %  {'#' * round(n * BAR / total)}")


def expect(holds: bool, said: str) -> None:
    if not holds:
        sys.exit(f"demo: NOT as it should be: {said}")
    print(f"  ok: {said}")


def share(told: collections.Counter, *names: str) -> float:
    return sum(told[name] for name in names) * 100 / sum(told.values())


DEFAULT = ("default-1", "default-2", "default-3")


def run(demo: Demo) -> None:
    told = demo.many()
    demo.show("app.feed calls example.service/Visit, traffic {default: 90, canary: 10}", told)
    expect(5 <= share(told, "canary-1") <= 15.5 and share(told, *DEFAULT) > 84, "about one in ten goes to canary")

    demo.edit("traffic {default: 0, canary: 100}", rules={TRAFFIC: {"default": 0, "canary": 100}})
    told = demo.many(200)
    demo.show("the next calls", told)
    expect(share(told, "canary-1") == 100, "weight 0 is none at all")

    demo.edit("traffic {default: 100, canary: 0}", rules={TRAFFIC: {"default": 100, "canary": 0}})
    told = demo.many(200)
    demo.show("the next calls", told)
    expect(share(told, *DEFAULT) == 100 and len(told) > 1, "back, spread over default")

    demo.edit("degrade 30 %, answered with BaseResp 1003",
              rules={DEGRADE: {"percent": 30, "reply": {"base_resp": {"code": 1003, "message": "degraded"}}}})
    told = demo.many()
    demo.show("the next calls", told)
    expect(18 <= share(told, "BaseResp 1003") <= 42, "about three in ten are answered by tside itself")

    demo.edit("degrade gone; Sleep has 50 ms", rules={SLEEP: {"timeout_ms": 50}}, drop=[DEGRADE])
    slept = demo.one("Sleep", 500)
    print(f"  a Sleep of 500 ms is answered: {slept}")
    expect(slept == "tside timeout", "the callee's slowness is not the caller's")
    expect(demo.one("Sleep", 1) in DEFAULT, "and a short one gets through, on the same connection")

    demo.edit("traffic {default: -1}: a mistake", rules={TRAFFIC: {"default": -1}})
    told = demo.many(100)
    [error] = demo.tside.errors()
    print(f"  listed: {error['key']}: {error['field']} {error['reason']}")
    expect(share(told, *DEFAULT) == 100, "the last good value stays in force")

    print("\n$ tside explain app.feed/example.service/Visit")
    outcome = demo.tside.explain(f"app.feed/{SERVICE}/Visit")
    for field in ("timeout_ms", "lb"):
        told = outcome["effective"][field]
        print(f"  {field} = {told['value']} (from {told['from']})")
    print(f"  outcome: {outcome['outcome']['action']}")
    wrong = {labels["reason"] for name, labels, value in demo.tside.metrics()
             if name == "tside_calls_total" and value > 0} - {"ok", "degraded", "timeout"}
    expect(not wrong, f"of {demo.calls} calls none failed that no rule failed")


def main() -> None:
    begun = time.monotonic()
    print(f"demo: {binary().name} between a Thrift client and four callees of {SERVICE}")
    callees = [Callee(name) for name in (*DEFAULT, "canary-1")]
    tside = Tside(workers=2, rules={TRAFFIC: {"default": 90, "canary": 10}},
                  services=endpoints(SERVICE, default=callees[:3], canary=callees[3:]))
    try:
        tside.start()
        print(f"demo: listening on {tside.address}, rules in {tside.rules_path}\n")
        run(Demo(tside))
        tside.stop()
        print(f"\ndemo: tside drained and ended with 0; {time.monotonic() - begun:.1f} s")
    except AssertionError as error:
        sys.exit(f"demo: NOT as it should be: {error}")
    finally:
        tside.remove()
        for callee in callees:
            callee.stop()


if __name__ == "__main__":
    main()
