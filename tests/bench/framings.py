#!/usr/bin/python3
"""CPU time per call of tside in each framing, callers and callees alike, beside framed.

Three tsides and their callees are up together, rounds alternate between them, and the median of the rounds is
shown, as in bench.py. The message is the same bytes in all; a TTHeader stands in front of it and says the names, too.

    tests/bench/framings.py [--rounds 7] [--ms 800] [--connections 64] [--payload 1024] [--depth 1]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import cpu_us, load  # noqa: E402
from support.callee import Echo  # noqa: E402
from support.tside import SERVICE, Tside  # noqa: E402

FRAMINGS = ("framed", "unframed", "ttheader")


def start(framing: str, echo: Echo) -> Tside:
    rules = {f"*/*/{SERVICE}/*/*/config": {"pool": {"framing": framing}}}
    return Tside(workers=1, services={f"{SERVICE}/default/{echo.address}": {}}, rules=rules,
                 listeners=[{"accept": list(FRAMINGS)}]).start()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("rounds", 7), ("ms", 800), ("connections", 64), ("payload", 1024), ("depth", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    options = parser.parse_args()
    echoes = {framing: Echo(framing) for framing in FRAMINGS}
    tsides = {framing: start(framing, echo) for framing, echo in echoes.items()}
    rounds: dict[str, list[dict]] = {framing: [] for framing in FRAMINGS}
    try:
        for _ in range(options.rounds):
            for framing, tside in tsides.items():
                rounds[framing].append(load(tside.address, tside.pid, options, framing))
    finally:
        for tside in tsides.values():
            tside.stop()
            tside.remove()
        for echo in echoes.values():
            echo.stop()
    cost = cpu_us(rounds)
    print(f"{options.connections} connections, depth {options.depth}, {options.payload} bytes, 1 worker; "
          f"medians of {options.rounds} rounds of {options.ms} ms")
    print(f"{'':10}{'CPU us/call':>12}{'/ framed':>11}{'bytes':>8}")
    for framing, results in rounds.items():
        print(f"{framing:10}{cost[framing]:12.2f}{cost[framing] / cost['framed']:11.2f}{results[0]['frame_bytes']:8}")


if __name__ == "__main__":
    main()
