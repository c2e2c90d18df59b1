"""Times how long a table takes to load: this program and pandas.read_csv, in turns, each run in a process of its own.

    python benches/data_loading.py FILE.csv.gz [--runs 7]

Needs pandas. Builds examples/load_table.rs in release mode, and writes benches/results/data_loading.md. Made for covtype
(581,012 rows, 55 columns, as gzip CSV); any CSV will do.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benches" / "results" / "data_loading.md"

PANDAS = """
import json, resource, sys, time
import pandas
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
before = peak()
start = time.perf_counter()
frame = pandas.read_csv(sys.argv[1])
seconds = time.perf_counter() - start
print(json.dumps({"read_seconds": seconds, "table_bytes": int(frame.memory_usage(deep=True).sum()),
                  "peak_bytes": peak() - before, "rows": len(frame), "columns": frame.shape[1],
                  "version": pandas.__version__}))
"""


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def run(command):
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def table(file, ours, theirs):
    def row(name, runs):
        seconds = [run["read_seconds"] for run in runs]
        size, peak = runs[0]["table_bytes"], max(run["peak_bytes"] or 0 for run in runs)
        return (
            f"| {name} | {min(seconds):.2f} | {statistics.median(seconds):.2f} | {max(seconds):.2f} "
            f"| {size / 1e6:.0f} | {peak / 1e6:.0f} | {peak / size:.2f} |"
        )

    ratio = statistics.median(b["read_seconds"] / a["read_seconds"] for a, b in zip(ours, theirs))
    return "\n".join(
        [
            "# Loading a table",
            "",
            f"`{file.name}`, {ours[0]['rows']:,} rows x {ours[0]['columns']} columns, {len(ours)} runs of each in turns, on "
            f"{os.cpu_count()} cores of {processor()}, {platform.system()}.",
            "",
            "| reader | best s | median s | worst s | table MB | peak MB | peak / table |",
            "|---|---|---|---|---|---|---|",
            row("thousandfold", ours),
            row(f"pandas.read_csv {theirs[0]['version']}", theirs),
            "",
            f"pandas takes {ratio:.2f} times as long (median over pairs of neighbouring runs). The peak is what the "
            "process had at most, less what it had before it read.",
            "",
        ]
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "--quiet", "--example", "load_table"], check=True, cwd=ROOT)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    reader = target / "release" / "examples" / "load_table"
    ours, theirs = [], []
    for _ in range(arguments.runs):
        ours.append(run([reader, arguments.file]))
        theirs.append(run([sys.executable, "-c", PANDAS, arguments.file]))
    shape = [(runs[0]["rows"], runs[0]["columns"]) for runs in (ours, theirs)]
    assert shape[0] == shape[1], f"the readers disagree on the shape: {shape}"
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(table(arguments.file, ours, theirs))
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
