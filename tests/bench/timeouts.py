#!/usr/bin/python3
"""How long after its deadline a caller is told that there is no answer, while the same worker carries other calls.

A load generator keeps the worker busy; beside it one caller sends calls that are never answered, with budgets of 5 to
50 ms, and notes when tside's answer has come. What the caller's own process takes to wake up is in the figures. The
test of the product's part alone is timeout_lateness_test, in virtual time. Nothing is asserted here.

    tests/bench/timeouts.py [--calls 300]
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support import wire  # noqa: E402
from support.callee import Echo  # noqa: E402
from support.process import helper  # noqa: E402
from support.raw import RawCallee, silent  # noqa: E402
from support.tside import Tside  # noqa: E402


def lateness_ms(tside: Tside, calls: int) -> list[float]:
    link, late = tside.link(timeout=10), []
    for seqid in range(calls):
        budget = random.randrange(5, 50)
        data = wire.call("Silent", seqid=seqid, to="silent.service", extra={wire.REMAIN: str(budget)})
        sent = time.monotonic()
        link.send(data)
        assert link.message().reason == "timeout"
        late.append((time.monotonic() - sent) * 1000 - budget)
    link.close()
    return sorted(late)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=300)
    options = parser.parse_args()
    echo = Echo()
    mute = RawCallee("mute", silent)
    tside = Tside(workers=1, services={f"example.service/default/{echo.address}": {},
                                       f"silent.service/default/{mute.address}": {}},
                  rules={"*/*/silent.service/*/*/config": {"breaker": {"enable": False}, "eject": {"consecutive": 0}}})
    try:
        tside.start()
        load = subprocess.Popen([helper("bench_load"), tside.address, "connections=16", f"ms={options.calls * 40}"],
                                stdout=subprocess.PIPE, text=True)
        late = lateness_ms(tside, options.calls)
        load.terminate()
        load.communicate()
        carried = tside.calls() / (options.calls * 0.028)
        tside.stop()
    finally:
        tside.remove()
        mute.stop()
        echo.stop()
    print(f"timeouts of {options.calls} calls beside about {carried:.0f} others a second, ms late: "
          f"p50 {late[len(late) // 2]:.2f}, p99 {late[len(late) * 99 // 100]:.2f}, the last {late[-1]:.2f}")


if __name__ == "__main__":
    main()
