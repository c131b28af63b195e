#!/usr/bin/python3
"""CPU time per call of tside, of HAProxy in TCP mode, and of no proxy at all, side by side.

All systems are up together, one callee behind them; rounds alternate between them, and the median
of the rounds is shown. CPU time is the proxy process's own (schedstat of its threads) over exactly
the load generator's window, so that it repeats on a busy machine, which latencies do not. "direct"
has no proxy: its figure is the callee's. Nothing is asserted here but that every reply is right.

    tests/bench/bench.py [--rounds 5] [--ms 800] [--connections 64] [--payload 1024] [--depth 1] [--mode pool]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from support.callee import Echo  # noqa: E402
from support.etcd import free_port  # noqa: E402
from support.process import Process, helper, wait_listening  # noqa: E402
from support.tside import Tside  # noqa: E402

HAPROXY = """
global
    nbthread 1
    maxconn {connections}
defaults
    mode tcp
    timeout connect 5s
    timeout client 60s
    timeout server 60s
listen thrift
    bind 127.0.0.1:{port}
    server one {callee}
"""


def haproxy(folder: Path, callee: str, connections: int) -> tuple[Process, str]:
    address = f"127.0.0.1:{free_port()}"
    config = folder / "haproxy.cfg"
    config.write_text(HAPROXY.format(port=address.rsplit(":", 1)[1], callee=callee, connections=connections + 100))
    process = Process(["haproxy", "-db", "-f", config], folder / "haproxy.log").start()
    wait_listening(address, process)
    return process, address


def load(address: str, pid: int, options: argparse.Namespace, framing: str = "framed") -> dict:
    done = subprocess.run(
        [helper("bench_load"), address, f"pid={pid}", f"ms={options.ms}", f"depth={options.depth}",
         f"connections={options.connections}", f"payload={options.payload}", f"framing={framing}"],
        capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{address}: {done.stderr}")
    return json.loads(done.stdout)


def cpu_us(rounds: dict[str, list[dict]]) -> dict[str, float]:
    """CPU time of a call, the median of each system's rounds."""
    return {name: statistics.median(r["cpu_ns"] / r["replies"] / 1000 for r in results)
            for name, results in rounds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--ms", type=int, default=800)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--payload", type=int, default=1024)
    parser.add_argument("--depth", type=int, default=1)
    parser.add_argument("--mode", default="pool", help="pool.mode of tside")
    options = parser.parse_args()

    echo = Echo()
    with tempfile.TemporaryDirectory(prefix="tside-bench-") as folder:
        peer, peer_address = haproxy(Path(folder), echo.address, options.connections)
        rules = {"*/*/example.service/*/*/config": {"pool": {"mode": options.mode}}}
        tside = Tside(workers=1, services={f"example.service/default/{echo.address}": {}}, rules=rules).start()
        systems = {"tside": (tside.address, tside.pid), "haproxy": (peer_address, peer.pid),
                   "direct": (echo.address, echo.child.pid)}
        rounds: dict[str, list[dict]] = {name: [] for name in systems}
        try:
            for _ in range(options.rounds):
                for name, (address, pid) in systems.items():
                    rounds[name].append(load(address, pid, options))
            tside.stop()
        finally:
            tside.remove()
            peer.kill()
            echo.stop()

    cost = cpu_us(rounds)
    print(f"{options.connections} connections, depth {options.depth}, {options.payload} bytes, 1 worker, pool.mode {options.mode}; "
          f"medians of {options.rounds} rounds of {options.ms} ms")
    print(f"{'':10}{'CPU us/call':>12}{'/ haproxy':>11}{'calls/s':>10}{'p50 us':>9}{'p99 us':>9}")
    for name, results in rounds.items():
        ratio = f"{cost[name] / cost['haproxy']:.2f}" if name != "direct" else "(callee)"
        print(f"{name:10}{cost[name]:12.2f}{ratio:>11}"
              f"{statistics.median(r['rps'] for r in results):10.0f}"
              f"{statistics.median(r['p50_us'] for r in results):9.0f}"
              f"{statistics.median(r['p99_us'] for r in results):9.0f}")


if __name__ == "__main__":
    main()
