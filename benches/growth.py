"""Times every model as lanes, rows and features grow, and says where it leaves the linear line.

    python benches/growth.py [--only ridge,gbdt] [--longest 60]

Needs benches/requirements.txt. Candidates are drawn from each model's default space; data are drawn too: normal features,
half of which tell the target. One axis grows at a time from 10 candidates on 1,000 rows of 10 features; four fifths of the
rows are trained on, the others scored. A cell is the median of three runs, of one where a run takes more than two seconds.
What would take more than `--longest` seconds by the cell before it is left out. Writes the tables into docs/growth.md, and
docs/pictures/growth_*.svg beside them. Builds examples/fit_lanes.rs in release mode.
"""

import argparse
import html
import math
import re
import statistics
import subprocess
import tempfile
from pathlib import Path

import common
import numpy as np

AXES = {
    "candidates": [10, 100, 1_000, 10_000],
    "rows": [1_000, 10_000, 100_000, 500_000],
    "features": [10, 100, 1_000],
}
BASE = {axis: sizes[0] for axis, sizes in AXES.items()}
REGRESSION = {"ridge", "elastic_net", "kernel_ridge"}
DOCUMENT = common.ROOT / "docs" / "growth.md"
MARK = r"<!-- growth: (\w+) -->\n(.*?)<!-- end -->"


def data(rows, features, has_classes):
    """Training and held-out rows of one fold."""
    random = np.random.default_rng(0)
    x = random.standard_normal((rows, features), dtype="f4")
    signal = x[:, ::2].sum(axis=1) / math.sqrt((features + 1) // 2) + 0.5 * random.standard_normal(rows, dtype="f4")
    y = (signal > 0).astype("u4") if has_classes else signal
    cut = rows * 4 // 5
    return [[(x[:cut], y[:cut]), (x[cut:], y[cut:])]]


def seconds(program, model, sizes, folder, longest):
    """The median time of a cell, or the reason for which there is none."""
    file = Path(folder) / "folds.bin"
    common.write_folds(data(sizes["rows"], sizes["features"], model not in REGRESSION), file)
    times = []
    while len(times) < 3 and (not times or times[0] < 2):
        command = [program, model, file, sizes["candidates"], common.CORES]
        try:
            done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=4 * longest)
        except subprocess.TimeoutExpired:
            return f"more than {4 * longest:.0f} s"
        if done.returncode:
            return "refused" if "Unsuited" in done.stderr or "memory" in done.stderr else "failed"
        times.append(float(re.search(r'"seconds":([0-9.e-]+)', done.stdout).group(1)))
    return statistics.median(times)


def grow(program, model, axis, folder, longest):
    """The cells of an axis."""
    cells = []
    for size in AXES[axis]:
        known = [cell for cell in cells if isinstance(cell, float)]
        if len(known) < len(cells):
            cells.append("")
        elif known and known[-1] * size / AXES[axis][len(cells) - 1] > longest:
            cells.append("left out")
        else:
            cells.append(seconds(program, model, {**BASE, axis: size}, folder, longest))
        print(model, axis, size, cells[-1], flush=True)
    return cells


def exponent(sizes, cells):
    """The power of the size by which time grows between the last two cells."""
    known = [(size, cell) for size, cell in zip(sizes, cells) if isinstance(cell, float)]
    if len(known) < 2:
        return math.nan
    (a, ta), (b, tb) = known[-2:]
    return math.log(tb / ta) / math.log(b / a)


def time(cell):
    if not isinstance(cell, float):
        return cell
    return f"{1000 * cell:.3g} ms" if cell < 1 else f"{cell:.3g} s"


def table(grown):
    rows = []
    for axis, cells in grown.items():
        sizes = AXES[axis]
        row = [f"{size:,}: {time(cell)}" for size, cell in zip(sizes, cells) if cell != ""]
        row += [""] * (max(map(len, AXES.values())) - len(row))
        power = exponent(sizes, cells)
        rows.append([axis, *row, "" if math.isnan(power) else f"{power:.2f}"])
    header = ["grows", *[""] * max(map(len, AXES.values())), "power at the end"]
    return common.table(header, rows)


def plot(title, grown):
    """Three panels of time against size, both logarithmic; the grey line is what grows in proportion."""
    panel, height, left, top = 210, 190, 64, 44
    known = [cell for cells in grown.values() for cell in cells if isinstance(cell, float)]
    low, high = math.floor(math.log10(min(known))), max(math.ceil(math.log10(max(known))), math.floor(math.log10(min(known))) + 1)
    y = lambda value: top + height * (high - math.log10(value)) / (high - low)
    parts = [f'<text x="16" y="24" font-size="15" font-weight="600">{html.escape(title)}</text>']
    for power in range(low, high + 1):
        label = f"{10**power:g} s" if power >= 0 else f"{10 ** (power + 3):g} ms" if power >= -3 else f"{10 ** (power + 6):g} µs"
        parts.append(f'<text x="{left - 8}" y="{y(10.0**power) + 4:.1f}" text-anchor="end" font-size="11">{label}</text>')
    for place, (axis, cells) in enumerate(grown.items()):
        sizes = AXES[axis]
        begin = left + place * (panel + 26)
        x = lambda size: begin + 12 + (panel - 24) * math.log(size / sizes[0]) / math.log(sizes[-1] / sizes[0])
        for power in range(low, high + 1):
            parts.append(f'<line x1="{begin}" y1="{y(10.0**power):.1f}" x2="{begin + panel}" y2="{y(10.0**power):.1f}" stroke="{common.TEXT}" opacity="0.3"/>')
        for size in sizes:
            name = f"{size // 1000}k" if size >= 1000 else str(size)
            parts.append(f'<text x="{x(size):.1f}" y="{top + height + 16}" text-anchor="middle" font-size="11">{name}</text>')
        parts.append(f'<text x="{begin + panel / 2}" y="{top + height + 34}" text-anchor="middle" font-size="12">{axis}</text>')
        points = [(size, cell) for size, cell in zip(sizes, cells) if isinstance(cell, float)]
        # In proportion from the first cell, as far as the panel goes.
        end = min(sizes[-1], sizes[0] * 10.0**high / points[0][1])
        start = points[0][1]
        parts.append(f'<path d="M{x(sizes[0]):.1f} {y(start):.1f}L{x(end):.1f} {y(start * end / sizes[0]):.1f}" stroke="{common.TEXT}" stroke-width="2" stroke-dasharray="3 4" fill="none"/>')
        line = "L".join(f"{x(size):.1f} {y(cell):.1f}" for size, cell in points)
        parts.append(f'<path d="M{line}" stroke="{common.OURS}" stroke-width="2.5" fill="none"/>')
        parts += [f'<circle cx="{x(size):.1f}" cy="{y(cell):.1f}" r="4" fill="{common.OURS}"/>' for size, cell in points]
    width = left + 3 * (panel + 26)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {top + height + 46}" width="{width}" role="img" '
        f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="13" fill="{common.TEXT}">\n'
        f"<title>{html.escape(title)}</title>\n" + "\n".join(parts) + "\n</svg>\n"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", type=lambda names: names.split(","))
    parser.add_argument("--longest", type=float, default=60)
    arguments = parser.parse_args()
    program = common.build("fit_lanes")
    text = DOCUMENT.read_text()
    models = [model for model, _ in re.findall(MARK, text, re.S)]
    with tempfile.TemporaryDirectory() as folder:
        for model in arguments.only or models:
            grown = {axis: grow(program, model, axis, folder, arguments.longest) for axis in AXES}
            picture = f"growth_{model}.svg"
            (common.ROOT / "docs" / "pictures" / picture).write_text(plot(f"{model}: time by size", grown))
            cells = f"{table(grown)}\n\n![{model}: time by size](pictures/{picture})\n"
            block = f"<!-- growth: {model} -->\n{cells}<!-- end -->"
            text = re.sub(MARK, lambda match: block if match.group(1) == model else match.group(0), text, flags=re.S)
            text = re.sub(r"Measured on [^.]*\.", f"Measured on {common.machine()}.", text)
            DOCUMENT.write_text(text)


if __name__ == "__main__":
    main()
