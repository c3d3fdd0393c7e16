"""Run every benchmark, each in a process of its own, and write ``benchmarks/RESULTS.md``."""

import datetime
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

CLAIMS = (
    "step_overhead",
    "training_speed",
    "testing_speed",
    "commands",
    "startup",
    "memory",
    "time_to_90",
    "data_growth",
    "shared_machine",
    "sweep",
    "serving",
)
HEADER = """\
# What Kindling costs beside plain PyTorch

`make bench` writes this file; [one file a claim](.) says what is compared and runs alone, e.g.
`python -m benchmarks.step_overhead`. Ours and plain ran in alternation: their medians, the median of the ratios
ours / plain, and the lowest and highest of what the target is of (the ratio, where there is none).
"""
COLUMNS = ("claim", "unit", "ours", "plain", "ratio", "spread", "target", "met")


def main() -> None:
    reports = {claim: report(claim) for claim in CLAIMS}
    file = Path(__file__).with_name("RESULTS.md")
    file.write_text(page(reports), encoding="utf-8")
    print(f"{sum(r['seconds'] for r in reports.values()):.0f} s of measuring -> {file}")


def report(claim: str) -> dict[str, Any]:
    """What one benchmark prints as its last line; all of it is shown.

    Raises:
        CalledProcessError: It failed.
    """
    print(f"\n== {claim}", flush=True)
    line = ""
    command = [sys.executable, "-m", f"benchmarks.{claim}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as running:
        assert running.stdout is not None
        for line in running.stdout:
            print(line, end="", flush=True)
    if running.returncode != 0:
        raise subprocess.CalledProcessError(running.returncode, command)
    return json.loads(line)


def page(reports: dict[str, dict[str, Any]]) -> str:
    """Markdown: the conditions, and a row a result."""
    conditions = next(iter(reports.values()))["conditions"]
    rows = [row for r in reports.values() for row in r["results"]]
    lines = [HEADER, f"{datetime.date.today()}: " + ", ".join(f"{k} {v}" for k, v in conditions.items()) + ".", ""]
    lines += [f"| {' | '.join(COLUMNS)} |", "|" + "---|" * len(COLUMNS), *map(table_row, rows), ""]
    lines += ["Seconds each took: " + ", ".join(f"{k} {r['seconds']:.0f}" for k, r in reports.items()) + "."]
    return "\n".join(lines) + "\n"


def table_row(row: dict[str, Any]) -> str:
    note = f" ({row['note']})" if row["note"] else ""
    spread = f"{row['low']:.3g} to {row['high']:.3g}"
    met = {None: "", True: "yes", False: "no"}[row["met"]]
    figures = [figure(row["ours"]), figure(row["plain"]), f"{row['ratio']:.2f}"]
    return f"| {' | '.join([row['claim'] + note, row['unit'], *figures, spread, row['target'], met])} |"


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
