"""Times every model on the CPU as candidates, rows and features grow, and on covtype_full, into docs/growth.md.

    python benches/growth.py [--only ridge,knn] [--limit 8] [--covtype covtype_full.csv.gz]

Needs benches/requirements.txt. From 100 candidates of the model's default space (10 where one takes long), 2,000 rows
and 20 features one of the three grows at a time; rows are drawn, four fifths of them train and the others are scored.
Candidates are drawn as random search draws them, budgets are those below, and a time has everything in it that lanes share. A
point that would take much longer than --limit seconds, by the points before it, is left out. With --covtype each model also runs as a study on that table
(581,012 rows, 54 columns and `target`; what predicts numbers alone predicts Elevation): 4 candidates, one hold-out fold, a locked
test. Writes the tables between the marks of docs/growth.md, and docs/pictures/growth_NAME.svg. Builds the program
and examples/fit_lanes.rs in release mode.
"""

import argparse
import html
import json
import math
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path

import common
import numpy as np

PAGE = common.ROOT / "docs" / "growth.md"
PICTURES = common.ROOT / "docs" / "pictures"
BASE = {"lanes": 100, "rows": 2_000, "features": 20}
# Where a candidate takes long, fewer of them while rows and features grow.
FEW_LANES = 10
SLOW = ["kernel_ridge", "svm", "forest", "gbdt", "mlp"]
AXES = {
    "lanes": [10, 30, 100, 300, 1_000, 3_000, 10_000],
    "rows": [1_000, 3_000, 10_000, 30_000, 100_000, 500_000],
    "features": [10, 30, 100, 300, 1_000],
}
# The budget of a lane, where the model's own would take too long.
BUDGETS = {"forest": 50, "gbdt": 50, "mlp": 10}
SPACES = re.compile(r"\s+")


def models(program):
    """The registry: names in its order, and whether a model predicts classes."""
    lines = subprocess.check_output([program, "list", "models"], text=True).splitlines()[1:]
    return {line.split()[0]: "classes" in line.split()[1] for line in lines if line.strip()}


def draw(rows, features, has_classes):
    """Rows whose target leans on the first features, with noise."""
    random = np.random.default_rng(1)
    x = random.standard_normal((rows, features)).astype("f4")
    signal = x[:, : min(10, features)] @ np.linspace(1, 0.1, min(10, features)) + np.sin(2 * x[:, 0]) * x[:, 1]
    y = signal + random.standard_normal(rows)
    y = np.digitize(y, np.quantile(y, [1 / 3, 2 / 3])).astype("u4") if has_classes else y.astype("f4")
    cut = rows * 4 // 5
    return [[(x[:cut], y[:cut]), (x[cut:], y[cut:])]]


def fit(program, model, has_classes, folder, size, most):
    """Seconds, or why there are none."""
    file = Path(folder) / f"{size['rows']}_{size['features']}_{has_classes}.bin"
    if not file.exists():
        common.write_folds(draw(size["rows"], size["features"], has_classes), file, is_scaled=not has_classes)
    command = [program, model, file, size["lanes"], common.CORES]
    command += ["--budget", BUDGETS[model]] if model in BUDGETS else []
    seconds = []
    try:
        # Short runs are repeated, and the median counts.
        while len(seconds) < 3 and sum(seconds) < 2:
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=most)
            if done.returncode:
                return SPACES.sub(" ", done.stderr.strip()).removeprefix("Error: ")
            seconds.append(json.loads(done.stdout)["seconds"])
    except subprocess.TimeoutExpired:
        return f"more than {most:.0f} s"
    return sorted(seconds)[len(seconds) // 2]


def grow(program, model, has_classes, folder, limit):
    """Seconds by axis and value; a text where a point was refused or left out."""
    found = {}
    for axis, values in AXES.items():
        points = found[axis] = {}
        for value in values:
            if expected(points, value) > limit:
                points[value] = f"over {limit:.0f} s by the points before"
                break
            base = BASE | ({"lanes": FEW_LANES} if model in SLOW else {})
            points[value] = fit(program, model, has_classes, folder, base | {axis: value}, 4 * limit)
            print(model, axis, value, points[value], flush=True)
            if isinstance(points[value], str):
                break
    return found


def expected(points, value):
    """What the next point takes if the last two go on in a line on logarithmic scales, and at least in proportion."""
    known = [(at, seconds) for at, seconds in points.items() if isinstance(seconds, float)]
    if not known:
        return 0.0
    (at, seconds) = known[-1]
    return seconds * (value / at) ** max(1.0, slope(known[-2:]))


def slope(points):
    """By which power time grows from the first of these points to the last."""
    (a, first), (b, last) = points[0], points[-1]
    return math.log(last / first) / math.log(b / a) if b > a else 0.0


def to_table(found):
    """A column of values and one of seconds for each axis, and how steep each ends."""
    columns = []
    for axis, points in found.items():
        cells = [(f"{at:,}", f"{s:.3g}" if isinstance(s, float) else "-") for at, s in points.items()]
        columns.append((axis, cells))
    length = max(len(cells) for _, cells in columns)
    header = [word for axis, _ in columns for word in (axis, "seconds")]
    rows = [[word for _, cells in columns for word in (cells[i] if i < len(cells) else ("", ""))] for i in range(length)]
    lines = ["| " + " | ".join(header) + " |", "|" + "---:|" * len(header)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    ends = []
    for axis, points in found.items():
        known = [(at, s) for at, s in points.items() if isinstance(s, float)]
        if len(known) > 1:
            ends.append(f"{axis}<sup>{slope(known[-2:]):.1f}</sup>")
    notes = [f"{axis} {at:,}: {why}." for axis, points in found.items() for at, why in points.items() if isinstance(why, str)]
    return "\n".join([*lines, "", f"At the upper ends time grows with {', '.join(ends)}. {' '.join(notes)}".rstrip()])


def panels(model, found):
    """Three plots side by side on logarithmic scales, each with a faint line of proportional growth."""
    width, height, left, top, gap = 250, 210, 58, 44, 64
    times = [s for points in found.values() for s in points.values() if isinstance(s, float)]
    low, high = math.floor(math.log10(min(times))), math.ceil(math.log10(max(times)))
    high = max(high, low + 1)
    parts = [f'<text x="16" y="24" font-size="15" font-weight="600">{model}: seconds, as one of three grows</text>']
    for place, (axis, points) in enumerate(found.items()):
        x0, y1 = left + place * (width + gap), top + height
        ends = math.log10(AXES[axis][0]), math.log10(AXES[axis][-1])
        x = lambda at: x0 + width * (math.log10(at) - ends[0]) / (ends[1] - ends[0])
        y = lambda s: y1 - height * (math.log10(s) - low) / (high - low)
        for power in range(low, high + 1):
            at = y(10.0**power)
            parts.append(f'<line x1="{x0}" x2="{x0 + width}" y1="{at:.1f}" y2="{at:.1f}" stroke="{common.TEXT}" opacity="0.3"/>')
            parts.append(f'<text x="{x0 - 6}" y="{at + 4:.1f}" text-anchor="end" font-size="11">{10.0**power:g}</text>')
        for power in range(math.ceil(ends[0]), math.floor(ends[1]) + 1):
            at = x(10.0**power)
            parts.append(f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{top}" y2="{y1}" stroke="{common.TEXT}" opacity="0.15"/>')
            parts.append(f'<text x="{at:.1f}" y="{y1 + 15}" text-anchor="middle" font-size="11">{10**power:,}</text>')
        parts.append(f'<text x="{x0 + width / 2}" y="{y1 + 32}" text-anchor="middle" font-size="12">{axis}</text>')
        known = [(at, s) for at, s in points.items() if isinstance(s, float)]
        if not known:
            continue
        # Proportional growth through the last point, as far as the panel shows it.
        (at, s), shift = known[-1], 10.0**low
        start = max(known[0][0], at * shift / s)
        parts.append(
            f'<line x1="{x(start):.1f}" y1="{y(s * start / at):.1f}" x2="{x(at):.1f}" y2="{y(s):.1f}" stroke="{common.TEXT}" stroke-dasharray="4 4"/>'
        )
        line = " ".join(f"{x(at):.1f},{y(s):.1f}" for at, s in known)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{common.OURS}" stroke-width="2"/>')
        parts += [f'<circle cx="{x(at):.1f}" cy="{y(s):.1f}" r="4" fill="{common.OURS}"/>' for at, s in known]
    all_width, all_height = left + 3 * width + 2 * gap + 24, top + height + 44
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {all_width} {all_height}" width="{all_width}" role="img" '
        f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="13" fill="{common.TEXT}">\n'
        f"<title>{html.escape(model)}: seconds over lanes, rows and features</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def study(program, model, has_classes, table, folder):
    """A row of the table of whole studies: seconds, peak memory and score, or the refusal."""
    budget = f"budget = {BUDGETS[model]}\n" if model in BUDGETS else ""
    file, run = Path(folder) / f"{model}.toml", Path(folder) / f"run_{model}"
    file.write_text(
        f'[data]\nfile = "{table.resolve()}"\ntarget = "{"target" if has_classes else "Elevation"}"\n'
        + ('task = "classification"\n' if has_classes else "")
        + f'[model]\nname = "{model}"\n{budget}[search]\ncandidates = 4\n[validate]\nmethod = "hold_out"\n'
    )
    start = time.monotonic()
    process = subprocess.Popen([program, "tune", file, "--run-dir", run, "--backend", "cpu"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    print(model, process.returncode, f"{seconds:.1f} s", said[-300:], flush=True)
    if process.returncode:
        # The message and its remedy, without the place in the file that it begins with and shows at its end.
        lines = said[said.find("error: ") :].splitlines()[:2]
        refusal = ". ".join(SPACES.sub(" ", line).strip() for line in lines)
        return [f"`{model}`", "refused", "", "", "", refusal[refusal.find(f"{model} ") :]]
    result = json.loads((run / "result.json").read_text())
    score = f"{result['metric']} {result['test']['value']:.4f}"
    return [f"`{model}`", f"{seconds:.0f}", f"{result['seconds']['searching']:.1f}", f"{usage.ru_maxrss / 1024:,.0f}", score, ""]


def studies(program, names, table, known):
    """The table of studies; `known` is the one before, of which models that are not in `names` keep their rows."""
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: study(program, name, has_classes, table, folder) for name, has_classes in names.items()}
    lines = {f"`{name}`": "| " + " | ".join(row) + " |" for name, row in rows.items()}
    header = ["model", "seconds in all", "of them searching", "peak MB", "test score of the best", "why not"]
    kept = {line.split()[1]: line for line in known.splitlines() if line.startswith("| `")}
    in_order = [(kept | lines).get(f"`{name}`") for name in models(program)]
    return "\n".join(["| " + " | ".join(header) + " |", "|---|---:|---:|---:|---|---|", *filter(None, in_order)])


def split_at_marks(text, name):
    """What stands before, between and behind a block's marks."""
    before, rest = text.split(f"<!-- growth: {name} -->\n", 1)
    block, after = rest.split("<!-- end -->", 1)
    return before + f"<!-- growth: {name} -->\n", block, "<!-- end -->" + after


def replace(text, name, block):
    """The page with the text between a block's marks replaced."""
    before, _, after = split_at_marks(text, name)
    return before + block + "\n" + after


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=lambda names: names.split(","))
    parser.add_argument("--limit", type=float, default=8)
    parser.add_argument("--covtype", type=Path)
    parser.add_argument("--no-growth", action="store_true", help="the studies of --covtype alone")
    arguments = parser.parse_args()
    fit_lanes = common.build("fit_lanes")
    program = fit_lanes.parent.parent / "thousandfold"
    names = {name: has for name, has in models(program).items() if not arguments.only or name in arguments.only}
    if not arguments.no_growth:
        with tempfile.TemporaryDirectory() as folder:
            for model, has_classes in names.items():
                found = grow(fit_lanes, model, has_classes, folder, arguments.limit)
                picture = PICTURES / f"growth_{model}.svg"
                picture.write_text(panels(model, found))
                block = f"{to_table(found)}\n\n![{model}: seconds over lanes, rows and features](pictures/{picture.name})"
                PAGE.write_text(replace(PAGE.read_text(), model, block))
        where = f"Measured on {common.machine()}, with all of them."
        PAGE.write_text(re.sub(r"Measured on [^\n]*", where, PAGE.read_text()))
    if arguments.covtype:
        block = studies(program, names, arguments.covtype, split_at_marks(PAGE.read_text(), "covtype")[1])
        PAGE.write_text(replace(PAGE.read_text(), "covtype", block))


if __name__ == "__main__":
    main()
