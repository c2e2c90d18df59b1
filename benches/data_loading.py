"""Times how long a table takes to load: this program and pandas.read_csv, in turns, each run in a process of its own.

    python benches/data_loading.py FILE.csv.gz [--runs 7]

Needs benches/requirements.txt. Builds examples/load_table.rs in release mode, and writes benches/results/data_loading.md
and data_loading.svg. Made for covtype (581,012 rows, 55 columns, as gzip CSV); any CSV will do.
"""

import argparse
import statistics
import sys
from pathlib import Path

import common

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


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--runs", type=int, default=7)
    arguments = parser.parse_args()
    file, reader = arguments.file, common.build("load_table")
    programs = {
        "thousandfold": lambda: common.run([reader, file]),
        "pandas.read_csv": lambda: common.run([sys.executable, "-c", PANDAS, file]),
    }
    # The rows are not known before: rates count files, and are scaled below.
    turns = common.Turns(programs, dict.fromkeys(programs, 1), arguments.runs, lambda result: result["read_seconds"])
    shapes = {name: (results[0]["rows"], results[0]["columns"]) for name, results in turns.results.items()}
    assert len(set(shapes.values())) == 1, f"the readers disagree on the shape: {shapes}"
    report(turns, file)


def report(turns, file):
    rows = []
    for name, results in turns.results.items():
        size, peak = results[0]["table_bytes"], max(result["peak_bytes"] or 0 for result in results)
        best, median, worst = (f(turns.seconds[name]) for f in (min, statistics.median, max))
        rows.append(
            [
                " ".join([name, results[0].get("version", "")]).strip(),
                *(f"{seconds:.2f}" for seconds in (best, median, worst)),
                *(f"{size / 1e6:.0f}", f"{peak / 1e6:.0f}", f"{peak / size:.2f}"),
            ]
        )
    ours = turns.results["thousandfold"][0]
    parts = [
        f"`{file.name}`, {ours['rows']:,} rows x {ours['columns']} columns. {turns.where()}",
        common.table(["seconds:", "best", "median", "worst", "table MB", "peak MB", "peak / table"], rows),
        f"pandas takes **{turns.times_as_fast('thousandfold', 'pandas.read_csv'):.2f}** times as long (median over pairs of "
        "neighbouring runs). The peak is what the process had at most, less what it had before it read.",
    ]
    bars = [
        (row[0], [ours["rows"] * rate for rate in turns.rates(name)], name == "thousandfold")
        for name, row in zip(turns.results, rows)
    ]
    plot = common.plot(f"Loading {file.name}", f"rows a second, {common.machine()}", bars)
    common.write("data_loading", "Loading a table", parts, plot)


if __name__ == "__main__":
    main()
