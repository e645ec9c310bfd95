#!/usr/bin/env python3
"""What each phase of an ask takes in the router by itself, by criterion.

Runs `router/benches/phases.rs` and prints the medians, with what half of the measured times lay within of
them (their median absolute deviation). Reading and writing are of one event.

    bench/run router-phases [FILTER]
"""

import json
import subprocess
import sys

from models import ROOT
from routers import TARGET


def main():
    found = TARGET / "criterion"
    command = ["cargo", "bench", "-p", "weir-router", "--bench", "phases", "--", *sys.argv[1:]]
    begun = max((path.stat().st_mtime for path in found.glob("**/new/estimates.json")), default=0.0)
    subprocess.run(command, cwd=ROOT, check=True, stdout=sys.stderr)
    rows = []
    for path in found.glob("**/new/benchmark.json"):
        estimates = path.with_name("estimates.json")
        if estimates.stat().st_mtime <= begun:
            continue
        about, figures = json.loads(path.read_text()), json.loads(estimates.read_text())
        events = (about.get("throughput") or {}).get("Elements", 1)
        median, deviation = (figures[name]["point_estimate"] / events / 1e3 for name in ("median", "median_abs_dev"))
        rows.append((about["group_id"], about["function_id"], about["value_str"], median, deviation))
    print("| phase | of | | median | ± |\n| --- | --- | --- | --- | --- |")
    for group, function, value, median, deviation in sorted(rows):
        print(f"| {group} | {function} | {value} | {median:.2f} µs | {deviation:.2f} |")


if __name__ == "__main__":
    main()
