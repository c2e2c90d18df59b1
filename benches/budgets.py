"""What early stopping saves: searches under a scheduler against random search with full budgets, on the same folds.

    python benches/budgets.py [--data FOLDER] [--models gbdt:5,mlp:1] [--schedulers hyperband,hyperband+tpe]
    python benches/budgets.py --races [--data FOLDER] [--models knn:3,logistic:1] [--sets KEY=VALUE ...] [--cache FILE]

Every search is kept in the cache file as a line of JSON, so that what was interrupted goes on where it was; begin a new one where the
program has changed. With --races the other part alone: a race over five folds against random search on all of them, the same candidates in both,
for so many seeds of each model. Writes benches/results/races.md.

Random search trains CANDIDATES in full, for so many seeds of each model; rungs begin at LEAST. Of each search the units of budget
(epochs, trees) that all lanes had are noted with the best score so far of a candidate that had its whole budget. After a + stands the
strategy that proposes, random where there is none. A scheduler's search ends where it is as good as random search was at its end, or
once it has had MORE times as many candidates. What counts is how little of random search's training it takes. Writes
benches/results/budgets.md and a plot beside it.
"""

import argparse
import concurrent.futures
import html
import itertools
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import common

CANDIDATES = 243
# Under hyperband that takes about as much training as random search.
MORE = 4
# Rungs of 3, 9, 27 and 81 units: one tree, or one epoch, says next to nothing.
BUDGETS = {"mlp": 81, "gbdt": 81}
LEAST = 3
# How many trees there are is what the scheduler says.
SPACES = {"gbdt": {"space.trees": 81}, "mlp": {}}
MODELS = "gbdt:5,mlp:1"
CLASSES = ["breast_cancer", "wine", "sonar", "credit_g", "titanic", "pima_diabetes"]
# Folds of a race, and candidates in it; the models that race, and for how many seeds.
FOLDS = 5
RACES = "knn:3,logistic:1"
RACERS = 256
DATA = ["breast_cancer", "wine", "sonar", "diabetes", "credit_g", "titanic", "pima_diabetes", "yacht", "concrete", "energy_efficiency"]


def target(file):
    with open(file, encoding="utf-8") as lines:
        return next(lines).strip().split(",")[-1].strip('"')


def searched(job):
    """The curve of a search, and what it is called."""
    program, folder, name, model, search, seed, more = job
    scheduler, _, strategy = search.partition("+")
    file = Path(folder) / f"{name}.csv"
    # Enough that a scheduler comes to what random search takes in all.
    candidates = CANDIDATES if scheduler == "full" else MORE * CANDIDATES
    sets = {
        "data.file": file, "data.target": target(file), "model.name": model,
        "validate.folds": 3, "search.seed": seed, "search.candidates": candidates, "search.strategy": strategy or "random",
        "search.scheduler": scheduler, "search.batch": CANDIDATES, "run.backend": "cpu", "run.threads": 1,
    }
    if model in BUDGETS:
        sets |= {"model.budget": BUDGETS[model]}
    sets |= more
    command = [program, "-", *(f"{key}={value}" for key, value in sets.items())]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{scheduler} of {model} on {name} failed: {done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    sign = -1.0 if told["direction"] == "maximize" else 1.0
    told["target"] = told["curve"][-1][1] if told["curve"] else None
    return (name, model, seed, search), [(units, sign * value) for units, value in told["curve"]], told


def reached(curve, score):
    """Units until a score was reached; infinite where it never was."""
    return next((units for units, value in curve if value <= score), math.inf)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="data")
    arguments.add_argument("--seeds", type=int, default=5, help="of models without a number of their own")
    arguments.add_argument("--schedulers", default="hyperband,hyperband+tpe")
    arguments.add_argument("--models")
    arguments.add_argument("--races", action="store_true")
    arguments.add_argument("--sets", nargs="*", default=[], help="--races: further settings, as search.level=0.05")
    arguments.add_argument("--cache", default=common.ROOT / "target" / "budgets.jsonl", help="where searches are kept")
    arguments.add_argument("--program", help="the example that is built already")
    arguments = arguments.parse_args()
    program = arguments.program or common.build("budgets")
    seeds = numbers(arguments.models or (RACES if arguments.races else MODELS), arguments.seeds)
    if arguments.races:
        return races(program, seeds, arguments)
    schedulers = arguments.schedulers.split(",")
    cache = Path(arguments.cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    lines = map(json.loads, cache.read_text().splitlines() if cache.exists() else [])
    lines = [line for line in lines if "curve" in line and "target" in line]
    curves = {tuple(line["search"]): line["curve"] for line in lines}
    targets = {tuple(line["search"]): line["target"] for line in lines}
    # Random search first: the others end where it ended.
    for round in (["full"], schedulers):
        jobs = []
        for model, number in seeds.items():
            for name, seed, scheduler in itertools.product(DATA, range(number), round):
                key = (name, model, seed, scheduler)
                more = {"search.min_budget": LEAST, **SPACES[model]}
                if scheduler != "full":
                    more["stop.target"] = targets[name, model, seed, "full"]
                if key not in curves:
                    jobs.append((program, arguments.data, *key[:2], scheduler, seed, more))
        run(jobs, curves, targets, cache)
    report(curves, schedulers, seeds)


def run(jobs, curves, targets, cache):
    """Runs searches side by side, and keeps their curves and the scores that they ended with."""
    with cache.open("a") as out, concurrent.futures.ProcessPoolExecutor(common.CORES) as pool:
        for number, (key, curve, told) in enumerate(pool.map(searched, jobs), 1):
            curves[key], targets[key] = curve, told["target"]
            out.write(json.dumps({"search": key, "curve": curve, "target": told["target"]}) + "\n")
            out.flush()
            if number % 10 == 0:
                print(f"{number} of {len(jobs)} searches", flush=True)


def numbers(models, seeds):
    """Of each model how many seeds, from 0 on."""
    return {model: int(number or seeds) for model, _, number in (word.partition(":") for word in models.split(","))}


def races(program, seeds, arguments):
    """Runs the races that the cache file does not hold, and reports all of them."""
    sets = {"validate.folds": FOLDS, "search.candidates": RACERS, **dict(word.split("=", 1) for word in arguments.sets)}
    wanted = [
        (name, model, seed, scheduler)
        for model, number in seeds.items()
        for seed in range(number)
        for name in tables(model)
        for scheduler in ("full", "racing")
    ]
    cache = Path(arguments.cache)
    lines = map(json.loads, cache.read_text().splitlines() if cache.exists() else [])
    # As text: what comes from --sets is, and a number is another one than its text.
    found = {tuple(line["search"]): line["found"] for line in lines if line.get("sets") == texts(sets)}
    jobs = [
        (program, arguments.data, name, model, scheduler, seed, sets)
        for name, model, seed, scheduler in wanted
        if (name, model, seed, scheduler) not in found
    ]
    cache.parent.mkdir(parents=True, exist_ok=True)
    with cache.open("a") as out, concurrent.futures.ProcessPoolExecutor(common.CORES) as pool:
        for number, (key, curve, told) in enumerate(pool.map(searched, jobs), 1):
            found[key] = [*curve[-1], told["std_error"]]
            out.write(json.dumps({"search": key, "sets": texts(sets), "found": found[key]}) + "\n")
            out.flush()
            if number % 10 == 0:
                print(f"{number} of {len(jobs)} searches", flush=True)
    text = raced(found, seeds, arguments.sets)
    (common.RESULTS / "races.md").write_text(text)
    print(text)


def tables(model):
    """The data sets that a model can be trained on."""
    return CLASSES if model == "logistic" else DATA


def texts(sets):
    return {key: str(value) for key, value in sets.items()}


def raced(found, seeds, sets):
    """How many times less a race trains, and what its winner's score on all folds loses in standard errors of random search's.
    `found`: a search's units of training, its best score (less is better) and that one's standard error."""
    parts = [
        "# Races over folds",
        f"Random search trains {RACERS} candidates on {FOLDS} folds each; a race with the same candidates "
        + (f"({', '.join(sets)}) " if sets else "")
        + "trains so many times less, the median over seeds. How often both have the same best score, and how much worse the race's is at "
        "most, in standard errors of the mean over folds. Units of training do not depend on the machine.",
    ]
    for model, number in seeds.items():
        rows, times, losses = [], [], []
        for name in tables(model):
            pairs = [(found[name, model, seed, "full"], found[name, model, seed, "racing"]) for seed in range(number)]
            less = statistics.median(full[0] / race[0] for full, race in pairs)
            loss = [(race[1] - full[1]) / full[2] if full[2] else 0.0 for full, race in pairs]
            same = sum(full[1] == race[1] for full, race in pairs)
            times.append(less)
            losses.append((loss, same))
            rows.append([f"{model} on {name}", f"{less:.2f}", f"{same} of {number}", f"{max(loss):.3f}"])
        every = [one for loss, _ in losses for one in loss]
        same = sum(same for _, same in losses)
        cells = [f"{model}, all", f"{statistics.median(times):.2f}", f"{same} of {len(every)}", f"mean {statistics.mean(every):.4f}"]
        rows.append([f"**{cell}**" for cell in cells])
        parts.append(f"`{model}`, {'seed' if number == 1 else 'seeds'} {', '.join(map(str, range(number)))}:")
        parts.append(common.table(["search", "times less", "same best score", "loss at most"], rows))
    return "\n\n".join(parts) + "\n"


def report(curves, schedulers, seeds):
    """Of random search's training the share that each scheduler takes to its final score: medians over seeds, then over data."""
    rows, shares = [], {}
    for model, number in seeds.items():
        for name in DATA:
            cells = [f"{model} on {name}"]
            for scheduler in schedulers:
                found = []
                for seed in range(number):
                    full = curves[name, model, seed, "full"]
                    found.append(reached(curves[name, model, seed, scheduler], full[-1][1]) / full[-1][0])
                share = statistics.median(found)
                shares.setdefault((model, scheduler), []).append(share)
                cells.append(shown(share))
            rows.append(cells)
    for model in seeds:
        medians = [shown(statistics.median(shares[model, scheduler])) for scheduler in schedulers]
        rows.append([f"**{model}, median of {len(DATA)} data sets**", *(f"**{median}**" for median in medians)])
    budgets = ", ".join(f"{model} {BUDGETS[model]}, {number} {'seed' if number == 1 else 'seeds'}" for model, number in seeds.items())
    intro = (
        f"Random search trains {CANDIDATES} candidates on three folds with their whole budget ({budgets}). A search under a scheduler "
        f"(`search.min_budget={LEAST}`), of random candidates or of those of the strategy behind the +, takes the share of that training "
        "that stands here until a candidate with its whole budget scores as well as random search's best: medians over seeds; a dash where "
        f"more than half of them never did in {MORE} times as many candidates, which under hyperband train about as much as random search. "
        "Without a strategy said, `auto` takes `tpe` under these schedulers. "
        f"Measured on {common.machine()}; units of budget do not depend on the machine."
    )
    text = "\n\n".join(["# Early stopping", intro, common.table(["search", *schedulers], rows), "![](budgets.svg)"]) + "\n"
    (common.RESULTS / "budgets.md").write_text(text)
    (common.RESULTS / "budgets.svg").write_text(plot(shares, schedulers, list(seeds)))
    print(text)


def shown(share):
    return "-" if math.isinf(share) else f"{100 * share:.0f} %"


def plot(shares, schedulers, models):
    """Each search's share on a logarithmic axis, a row a scheduler and model, medians marked."""
    width, left, right, top, step = 720, 170, 30, 50, 44
    rows = [(model, scheduler) for model in models for scheduler in schedulers]
    height = top + step * len(rows) + 50
    low, high = 0.01, 10.0

    def x(share):
        share = min(max(share, low), high)
        return left + (width - left - right) * math.log(share / low) / math.log(high / low)

    parts = ['<text x="16" y="26" font-size="16" font-weight="600">Training until random search\'s final score</text>']
    bottom = height - 44
    for mark in (0.01, 0.03, 0.1, 0.25, 1.0, 3.0, 10.0):
        strong = ' stroke-width="2"' if mark == 1.0 else ""
        parts.append(f'<line x1="{x(mark):.1f}" y1="{top - 8}" x2="{x(mark):.1f}" y2="{bottom}" stroke="{common.TEXT}" opacity="0.3"{strong}/>')
        parts.append(f'<text x="{x(mark):.1f}" y="{bottom + 16}" text-anchor="middle" font-size="11">{100 * mark:g} %</text>')
    for number, (model, scheduler) in enumerate(rows):
        y = top + step * number + step / 2
        parts.append(f'<text x="{left - 12}" y="{y + 4:.1f}" text-anchor="end">{html.escape(f"{model}, {scheduler}")}</text>')
        found = shares[model, scheduler]
        for share in found:
            parts.append(f'<circle cx="{x(share):.1f}" cy="{y:.1f}" r="4" fill="#0072B2" opacity="0.5"/>')
        middle = x(statistics.median(found))
        parts.append(f'<line x1="{middle:.1f}" y1="{y - 12:.1f}" x2="{middle:.1f}" y2="{y + 12:.1f}" stroke="#D55E00" stroke-width="3"/>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{bottom + 36}" text-anchor="middle" font-size="12">of random search\'s training; a dot a data set, the line their median</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="13" fill="{common.TEXT}">\n<title>Early stopping</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    main()
