"""What rules that end a search save and lose: the same searches with [stop] patience, with regret, and to their end.

    python benches/stops.py [--data FOLDER] [--models gbdt,logistic,ridge] [--seeds 3] [--strategies random,auto]
                            [--cache FILE] [--program FILE]

A search without a rule trains CANDIDATES candidates on five folds. Saved is the share of these that a rule left untrained; lost
is by how much the best score is worse than without it, in standard errors of that best's mean over the folds. Every search is kept in the
cache file as a line of JSON, and is not run again. Writes benches/results/stops.md and a plot beside it.
"""

import argparse
import concurrent.futures
import html
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import common

CANDIDATES = 256
# Budgets that keep two thousand trainings short.
BUDGETS = {"gbdt": 30, "mlp": 10}
DATA = ["breast_cancer", "wine", "sonar", "diabetes", "credit_g", "titanic", "pima_diabetes", "yacht", "concrete", "energy_efficiency"]
NUMBERS = ["diabetes", "yacht", "concrete", "energy_efficiency"]
RULES = {
    "patience 64": ["stop.patience=64"],
    "regret noise": ['stop.regret="noise"'],
    "both": ["stop.patience=64", 'stop.regret="noise"'],
}


def tables(model):
    """Data sets that a model learns."""
    return [name for name in DATA if model != "logistic" or name not in NUMBERS]


def target(file):
    with open(file, encoding="utf-8") as lines:
        return next(lines).strip().split(",")[-1].strip('"')


def searched(job):
    """How many candidates a search trained, its best score (less is better), and the standard error of that."""
    program, folder, name, model, strategy, rule, seed = job
    file = Path(folder) / f"{name}.csv"
    with tempfile.TemporaryDirectory() as place:
        sets = [
            "data.test=0.0", f"model.name={model}", "validate.folds=5",
            f"search.seed={seed}", f"search.candidates={CANDIDATES}", f"search.strategy={strategy}", "search.batch=32",
            "run.backend=cpu", "run.threads=1", f"run.dir={place}/run", *RULES.get(rule, []),
        ]
        if model in BUDGETS:
            sets.append(f"model.budget={BUDGETS[model]}")
        command = [program, "tune", file, "--target", target(file)] + [word for one in sets for word in ("--set", one)]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{rule}, {model} on {name}: {done.stderr}")
        result = json.loads((Path(place) / "run" / "result.json").read_text())
    sign = -1.0 if result["direction"] == "maximize" else 1.0
    trained = result["counts"]["complete"] + result["counts"]["failed"]
    return job[2:], [trained, sign * result["best"]["value"], result["best"]["std_error"] or 0.0]


def report(found, arguments):
    models, strategies = arguments.models.split(","), arguments.strategies.split(",")
    parts = [
        f"Searches of {CANDIDATES} candidates on five folds, which rules end before. Saved: the share of candidates that were left untrained. "
        "Lost: by how much the best score is worse than that of the whole search, in standard errors of its mean over the folds. Means over "
        f"seeds 0 to {arguments.seeds - 1}. `patience 64`: 64 candidates in a row without a significant improvement; `regret noise`: no more "
        "is left to gain than the folds leave unsure. Nothing here depends on the machine."
    ]
    points = []
    for strategy in strategies:
        rows, means = [], {rule: [] for rule in RULES}
        for model in models:
            for name in tables(model):
                cells = [f"{model} on {name}"]
                for rule in RULES:
                    pairs = [(found[name, model, strategy, rule, seed], found[name, model, strategy, "none", seed]) for seed in range(arguments.seeds)]
                    saved = statistics.mean(1 - ended[0] / whole[0] for ended, whole in pairs)
                    lost = statistics.mean((ended[1] - whole[1]) / whole[2] if whole[2] else 0.0 for ended, whole in pairs)
                    means[rule].append((saved, lost))
                    points.append((strategy, rule, saved, lost))
                    cells += [f"{100 * saved:.0f} %", f"{lost:.2f}"]
                rows.append(cells)
        cells = [f"median of {len(rows)}"]
        for rule in RULES:
            cells += [f"{100 * statistics.median(saved for saved, _ in means[rule]):.0f} %", f"{statistics.median(lost for _, lost in means[rule]):.2f}"]
        rows.append([f"**{cell}**" for cell in cells])
        parts.append(f"Strategy `{strategy}`:")
        parts.append(common.table(["search", *(f"{rule}, {what}" for rule in RULES for what in ("saved", "lost"))], rows))
    common.write("stops", "Rules that end a search", parts, plot(points, strategies))


def plot(points, strategies):
    """What each search saved against what it lost; a mark a rule."""
    width, height, left, top, right, bottom = 720, 420, 70, 50, 180, 60
    most = max(1.0, max(lost for *_, lost in points) * 1.05)
    x = lambda saved: left + (width - left - right) * saved
    y = lambda lost: height - bottom - (height - top - bottom) * max(lost, 0.0) / most
    colours = dict(zip(RULES, ["#0072B2", "#D55E00", "#009E73"]))
    parts = ['<text x="16" y="26" font-size="16" font-weight="600">What rules that end a search save and lose</text>']
    for tick in range(0, 101, 25):
        parts.append(f'<line x1="{x(tick / 100):.1f}" y1="{top}" x2="{x(tick / 100):.1f}" y2="{height - bottom}" stroke="{common.TEXT}" opacity="0.3"/>')
        parts.append(f'<text x="{x(tick / 100):.1f}" y="{height - bottom + 18}" text-anchor="middle" font-size="11">{tick} %</text>')
    for tick in common.round_ticks(most):
        if tick <= most:
            parts.append(f'<line x1="{left}" y1="{y(tick):.1f}" x2="{width - right}" y2="{y(tick):.1f}" stroke="{common.TEXT}" opacity="0.3"/>')
            parts.append(f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end" font-size="11">{tick:.3g}</text>')
    for strategy, rule, saved, lost in points:
        colour = colours[rule]
        # Filled of the first strategy, a ring of others.
        fill = f'fill="{colour}" opacity="0.6"' if strategy == strategies[0] else f'fill="none" stroke="{colour}" stroke-width="2"'
        parts.append(f'<circle cx="{x(saved):.1f}" cy="{y(lost):.1f}" r="5" {fill}/>')
    for place, (rule, colour) in enumerate(colours.items()):
        parts.append(f'<circle cx="{width - right + 20}" cy="{top + 12 + 24 * place}" r="6" fill="{colour}"/>')
        parts.append(f'<text x="{width - right + 34}" y="{top + 16 + 24 * place}">{html.escape(rule)}</text>')
    for place, strategy in enumerate(strategies):
        fill = f'fill="{common.TEXT}"' if place == 0 else f'fill="none" stroke="{common.TEXT}" stroke-width="2"'
        parts.append(f'<circle cx="{width - right + 20}" cy="{top + 100 + 24 * place}" r="6" {fill}/>')
        parts.append(f'<text x="{width - right + 34}" y="{top + 104 + 24 * place}">{html.escape(strategy)}</text>')
    parts.append(f'<text x="{x(0.5):.0f}" y="{height - 14}" text-anchor="middle" font-size="12">candidates left untrained</text>')
    parts.append(f'<text x="18" y="{height / 2:.0f}" text-anchor="middle" font-size="12" transform="rotate(-90 18 {height / 2:.0f})">lost, in standard errors</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="13" fill="{common.TEXT}">\n<title>Rules that end a search</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="data")
    arguments.add_argument("--models", default="gbdt,logistic,ridge")
    arguments.add_argument("--strategies", default="random,auto")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--cache", default=common.ROOT / "target" / "stops.jsonl")
    arguments.add_argument("--program", help="the program that is built already")
    arguments = arguments.parse_args()
    program = arguments.program or common.build("budgets").parent.parent / "thousandfold"
    cache = Path(arguments.cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    lines = map(json.loads, cache.read_text().splitlines() if cache.exists() else [])
    found = {tuple(line["search"]): line["found"] for line in lines}
    jobs = [
        (program, arguments.data, name, model, strategy, rule, seed)
        for seed in range(arguments.seeds)
        for model in arguments.models.split(",")
        for strategy in arguments.strategies.split(",")
        for name in tables(model)
        for rule in ["none", *RULES]
    ]
    jobs = [job for job in jobs if job[2:] not in found]
    with cache.open("a") as out, concurrent.futures.ProcessPoolExecutor(common.CORES) as pool:
        for number, (key, result) in enumerate(pool.map(searched, jobs), 1):
            found[key] = result
            out.write(json.dumps({"search": key, "found": result}) + "\n")
            out.flush()
            if number % 40 == 0:
                print(f"{number} of {len(jobs)} searches", flush=True)
    report(found, arguments)


if __name__ == "__main__":
    main()
