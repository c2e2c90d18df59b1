"""What rungs of training rows save: halving on rows against random search on all of them, on the same folds.

    python benches/rows.py [--data FOLDER] [--models svm:accuracy,knn:log_loss] [--sets sonar] [--seeds 5] [--candidates 27]

Random search trains so many candidates on all rows of three folds. Halving takes as many at a time, and is given
candidates until it has trained on as many rows, each rung counted as often as it was trained. Two figures: after what share of random
search's rows halving has a candidate that scores as well on all rows, and how its best at equal rows compares, in standard errors of
random search's best over the folds. Rows do not depend on the machine. Writes benches/results/rows.md.
"""

import argparse
import concurrent.futures
import json
import math
import statistics
import subprocess
import sys
from pathlib import Path

import common

FOLDS = 3
TEST = 0.2
# Enough that halving comes to what random search trains on.
MORE = 4


def header_and_rows(file):
    with open(file, encoding="utf-8") as lines:
        target = next(lines).strip().split(",")[-1].strip('"')
        return target, sum(1 for line in lines if line.strip())


def searched(job):
    program, folder, name, model, metric, scheduler, seed, candidates = job
    file = Path(folder) / f"{name}.csv"
    target, _ = header_and_rows(file)
    sets = {
        "data.file": file, "data.target": target, "data.test": TEST, "model.name": model, "validate.folds": FOLDS,
        "validate.metric": metric,
        "search.seed": seed, "search.strategy": "random", "search.scheduler": scheduler,
        "search.candidates": candidates * (1 if scheduler == "full" else MORE),
        "run.backend": "cpu", "run.threads": 1,
    }
    if scheduler != "full":
        sets |= {"search.resource": "rows", "search.batch": candidates}
    command = [program, "-", *(f"{key}={value}" for key, value in sets.items())]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{scheduler} of {model} on {name} failed: {done.stderr}")
    told = json.loads(done.stdout.splitlines()[-1])
    sign = -1.0 if told["direction"] == "maximize" else 1.0
    return (name, model, seed, scheduler), [(units, sign * value) for units, value in told["curve"]], told["std_error"]


def trained_on(file, candidates):
    """Rows that random search trains on, as a scheduler counts them: those of the smallest fold."""
    _, rows = header_and_rows(file)
    pool = rows - round(rows * TEST)
    return candidates * FOLDS * (pool - math.ceil(pool / FOLDS))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="data")
    arguments.add_argument("--models", default="svm:accuracy,knn:log_loss", help="each with its metric")
    arguments.add_argument("--sets", default="wine,sonar,breast_cancer")
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--candidates", type=int, default=27)
    arguments.add_argument("--program", help="the example that is built already")
    arguments = arguments.parse_args()
    program = arguments.program or common.build("budgets")
    metrics = dict(word.split(":") for word in arguments.models.split(","))
    models, sets, candidates = list(metrics), arguments.sets.split(","), arguments.candidates
    jobs = [
        (program, arguments.data, name, model, metrics[model], scheduler, seed, candidates)
        for model in models for name in sets for seed in range(arguments.seeds) for scheduler in ("full", "halving")
    ]
    found = {}
    with concurrent.futures.ProcessPoolExecutor(common.CORES) as pool:
        for key, curve, std_error in pool.map(searched, jobs):
            found[key] = (curve, std_error)
    rows, everything = [], {}
    for model in models:
        for name in sets:
            whole = trained_on(Path(arguments.data) / f"{name}.csv", candidates)
            shares, losses = [], []
            for seed in range(arguments.seeds):
                (full, std_error), (halving, _) = found[name, model, seed, "full"], found[name, model, seed, "halving"]
                score = full[-1][1]
                shares.append(next((units / whole for units, value in halving if value <= score), math.inf))
                within = [value for units, value in halving if units <= whole]
                losses.append((within[-1] - score) / std_error if within and std_error else math.nan)
            everything.setdefault(model, []).append((statistics.median(shares), statistics.median(losses)))
            rows.append([f"{model} on {name}", *figures(statistics.median(shares), statistics.median(losses))])
    for model in models:
        shares, losses = zip(*everything[model])
        cells = [f"{model} by {metrics[model]}, median of {len(sets)} data sets", *figures(statistics.median(shares), statistics.median(losses))]
        rows.append([f"**{cell}**" for cell in cells])
    intro = (
        f"Random search trains {candidates} candidates on all training rows of {FOLDS} folds. Halving on rows (`resource = \"rows\"`), "
        "as many candidates at a time, comes to a candidate that scores as well after this share of those rows, and at equal "
        "rows its best is so many standard errors of the mean over folds better (-) or worse (+): medians of "
        f"{arguments.seeds} seeds; a dash where more than half of them did not come to it in {MORE * candidates} candidates. Rows that "
        "were trained on again on a higher rung count again. They do not depend on the machine (`benches/rows.py`)."
    )
    heads = ["search", "rows to random search's best", "best at equal rows, standard errors"]
    text = "\n\n".join(["# Rungs of rows", intro, common.table(heads, rows)]) + "\n"
    (common.RESULTS / "rows.md").write_text(text)
    print(text)


def figures(share, loss):
    return ["-" if math.isinf(share) else f"{100 * share:.0f} %", f"{loss:+.2f}".replace("-0.00", "+0.00")]


if __name__ == "__main__":
    main()
