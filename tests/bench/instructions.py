#!/usr/bin/python3
"""User instructions per call, counted by valgrind: the same on every machine for the same build.

    tests/bench/instructions.py [--payload 1024] [--connections 64] [--depth 1] [--calls 4000] [--top 25]
                                [--framing framed]

Prints one JSON line, then the functions that take most of it.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.callee import Echo  # noqa: E402
from support.process import helper  # noqa: E402
from support.tside import SERVICE, Tside  # noqa: E402

KEY = f"*/*/{SERVICE}/*/*/config"
QUIET = {"access_log": 0, "timeout_ms": 60000}


def load(address: str, options: argparse.Namespace, calls: int) -> None:
    subprocess.run([helper("bench_load"), address, f"calls={calls}", f"depth={options.depth}", "warm_ms=0",
                    f"connections={options.connections}", f"payload={options.payload}", f"framing={options.framing}"],
                   check=True, stdout=subprocess.DEVNULL)


def control(pid: int, *args: str) -> None:
    subprocess.run(["callgrind_control", *args, str(pid)], check=True, stdout=subprocess.DEVNULL)


def measure(options: argparse.Namespace) -> tuple[float, str]:
    """Instructions per call, and callgrind_annotate's list of functions."""
    echo = Echo(options.framing)
    rules = {KEY: {**QUIET, "pool": {"wait_ms": 60000, "framing": options.framing}}}
    tside = Tside(workers=1, services={f"{SERVICE}/default/{echo.address}": {}}, rules=rules,
                  listeners=[{"accept": [options.framing]}], wrapper=[
        "valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=counts"]).start()
    try:
        load(tside.address, options, options.calls)
        before = tside.calls()
        control(tside.pid, "-i", "on")
        load(tside.address, options, options.calls)
        control(tside.pid, "-i", "off")
        calls = tside.calls() - before
        control(tside.pid, "-d")
        counts = max(tside.folder.glob("counts*"), key=lambda p: p.stat().st_size)
        listing = subprocess.run(["callgrind_annotate", "--threshold=97", counts], check=True,
                                 capture_output=True, text=True).stdout
    finally:
        tside.kill()
        tside.remove()
        echo.stop()
    total = int(re.search(r"^\s*([\d,]+) .*PROGRAM TOTALS", listing, re.M)[1].replace(",", ""))
    return total / calls, listing


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("payload", 1024), ("connections", 64), ("depth", 1), ("calls", 4000), ("top", 25)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--framing", default="framed", help="of callers and callees")
    options = parser.parse_args()
    per_call, listing = measure(options)
    print(json.dumps({"instructions_per_call": round(per_call), "payload": options.payload,
                      "connections": options.connections, "depth": options.depth}))
    rows = re.findall(r"^\s*([\d,]+) \(\s*([\d.]+)%\)\s+\S*?([\w.?]+:\S+)", listing, re.M)
    for count, percent, where in rows[: options.top]:
        print(f"{int(count.replace(',', '')) / options.calls:8.0f} {float(percent):5.1f} %  {where}")


if __name__ == "__main__":
    main()
