#!/usr/bin/python3
"""Draws docs/plots/*.svg from the file that `fleet hour FILE` writes. Needs nothing but Python."""

from __future__ import annotations

import csv
import math
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[3] / "docs" / "plots"
WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 760, 300, 64, 44, 34, 20
COLOURS = ("#1f77b4", "#d62728", "#2ca02c")


def ticks(high: float, wanted: int) -> list[float]:
    """Round numbers from 0 to high, at most so many."""
    power = 10.0 ** math.floor(math.log10(high / wanted))
    step = next(power * digit for digit in (1, 2, 5, 10) if high / (power * digit) <= wanted)
    return [i * step for i in range(int(high / step) + 1)]


def plot(name: str, title: str, x_name: str, y_name: str, series: dict[str, list[tuple[float, float]]]) -> None:
    points = [point for line in series.values() for point in line]
    x_high = max(x for x, _ in points)
    y_high = max(y for _, y in points) * 1.05 or 1

    def at(x: float, y: float) -> tuple[float, float]:
        return (LEFT + x / x_high * (WIDTH - LEFT - RIGHT),
                HEIGHT - BOTTOM - y / y_high * (HEIGHT - BOTTOM - TOP))

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
           f'font-size="11"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
           f'<text x="{LEFT}" y="18" font-size="13">{title}</text>']
    for x in ticks(x_high, 12):
        px, py = at(x, 0)
        out.append(f'<text x="{px:.0f}" y="{py + 15:.0f}" text-anchor="middle">{x:g}</text>')
    for y in ticks(y_high, 6):
        px, py = at(0, y)
        out.append(f'<path d="M{px:.0f} {py:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>'
                   f'<text x="{px - 6:.0f}" y="{py + 4:.0f}" text-anchor="end">{y:g}</text>')
    out.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{x_name}</text>')
    out.append(f'<text transform="translate(14 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">{y_name}</text>')
    for i, (label, line) in enumerate(series.items()):
        path = "L".join("%.1f %.1f" % at(x, y) for x, y in line)
        out.append(f'<path d="M{path}" fill="none" stroke="{COLOURS[i]}" stroke-width="1.5"/>')
        out.append(f'<text x="{WIDTH - RIGHT}" y="{18 + 13 * i}" text-anchor="end" fill="{COLOURS[i]}">{label}</text>')
    (DOCS / f"{name}.svg").write_text("\n".join(out) + "\n</svg>\n")


def read(path: str) -> tuple[list[dict], list[dict]]:
    """What happened in each second, and in each step behind a flip."""
    seconds, steps = Path(path).read_text().split("\n\n")
    return [[{key: float(value) for key, value in row.items()} for row in csv.DictReader(part.splitlines())]
            for part in (seconds, steps)]


def share(rows: list[dict], part: str, whole: str) -> float:
    return 100 * sum(row[part] for row in rows) / max(1, sum(row[whole] for row in rows))


def main() -> None:
    seconds, steps = read(sys.argv[1])
    DOCS.mkdir(exist_ok=True)
    tens = [seconds[i:i + 10] for i in range(0, len(seconds), 10)]

    def line(part: str, whole: str, factor: float = 1) -> list[tuple[float, float]]:
        return [(rows[0]["second"] / 60, share(rows, part, whole) * factor) for rows in tens]

    plot("fleet-attempts", "Attempts per call", "minute", "attempts per call", {"": line("attempts", "calls", 0.01)})
    plot("fleet-shares", "Where attempts go", "minute", "% of the attempts",
         {"the region that fails from minute 40 to 45": line("to_region", "attempts"),
          "the ten endpoints that drain from minute 15 to 20": line("to_drained", "attempts")})
    plot("fleet-errors", "Calls that fail", "minute", "% of the calls", {"": line("errors", "calls")})
    behind = [row for row in steps if row["step_ms"] < 400]
    plot("fleet-flip", "A flip: weights set to 0, and back to 10", "milliseconds behind the key's change",
         "% of the attempts",
         {"weight 0": [(row["step_ms"], share([row], "to_drained", "attempts")) for row in behind],
          "back": [(row["step_ms"], share([row], "to_drained_back", "attempts_back")) for row in behind]})


if __name__ == "__main__":
    main()
