"""How many evaluations CMA-ES takes to an optimum: `cmaes` and pycma, BIPOP restarts both.

    python benches/targets.py [--seeds 15] [--cache targets.jsonl]

Needs `pip install -r benches/requirements.txt`. Every search is kept in the cache file as a line of JSON, so that an
interrupted benchmark goes on where it was. Writes benches/results/targets.md and targets.svg.

Both begin at the space's defaults with a step of a quarter of the space, restart at random places, and search the same
code's values: this program proposes through examples/search.rs, pycma (`fmin2`) is served by examples/evaluate.rs. No search
is told anything of the others' seeds or of the optimum, which ends it.
"""

import argparse
import concurrent.futures
import json
import math
import random
import statistics
from pathlib import Path

import common
from search import Objective, Problem, box

common.one_thread_a_process()

TARGET = 1e-8
# Function, dimensions, and evaluations after which a search is given up.
PROBLEMS = [
    ("sphere", 5, 20_000),
    ("sphere", 20, 50_000),
    ("ellipsoid", 5, 20_000),
    ("ellipsoid", 20, 100_000),
    ("rosenbrock", 5, 50_000),
    ("rosenbrock", 20, 200_000),
    ("rastrigin", 5, 200_000),
    ("rastrigin", 10, 500_000),
]
OURS, THEIRS = "cmaes", "pycma"


def sets(function, dimensions):
    # A GPU has f32.
    return [f"objective.function={function}", f"objective.dimensions={dimensions}", "run.backend=cpu", "run.threads=1"]


def ours(programs, function, dimensions, budget, seed):
    # A batch ends where a generation does.
    command = [programs[0], "cmaes", budget, seed, budget, "-", *sets(function, dimensions), f"stop.target={TARGET}"]
    return common.run(command)["reached"]


def pycma(programs, function, dimensions, budget, seed):
    import cma
    import numpy as np

    objective = Objective(programs[1], Problem("targets", function, "-", sets(function, dimensions)), seed)
    names, bounds = box(objective)
    generator, spent, reached, runs = random.Random(seed), 0, None, 0

    class Ended(Exception):
        pass

    def start():
        nonlocal runs
        runs += 1
        if runs > 1:
            return np.array([generator.random() for _ in names])
        return np.array([(objective.defaults[name] - low) / (high - low) for name, (low, high) in zip(names, bounds)])

    def values(rows):
        nonlocal spent, reached
        told = objective([{name: low + (high - low) * x for name, x, (low, high) in zip(names, row, bounds)} for row in rows])
        for number, value in enumerate(told, spent + 1):
            if value <= TARGET and number <= budget:
                reached = number
                raise Ended
        spent += len(told)
        if spent >= budget:
            raise Ended
        return told

    options = {"bounds": [0, 1], "seed": seed + 1, "verbose": -9, "verb_log": 0}
    try:
        cma.fmin2(None, start, 0.25, options, restarts=9, bipop=True, parallel_objective=values)
    except Ended:
        pass
    finally:
        objective.close()
    return reached


def search(job):
    programs, method, function, dimensions, budget, seed = job
    reached = {OURS: ours, THEIRS: pycma}[method](programs, function, dimensions, budget, seed)
    return {"method": method, "function": function, "dimensions": dimensions, "seed": seed, "reached": reached}


def expected(found, budget):
    """Evaluations to the target on the average, where a search that fails is begun anew (Hansen et al. 2010's ERT)."""
    hits = sum(reached is not None for reached in found)
    return sum(budget if reached is None else reached for reached in found) / hits if hits else math.inf


def median(found):
    return statistics.median(math.inf if reached is None else reached for reached in found)


def interval(own, other, statistic):
    """Nine tenths of what the ratio of a statistic is of searches drawn anew from these."""
    generator = random.Random(0)
    draw = lambda found: statistic(generator.choices(found, k=len(found)))
    ratios = sorted(draw(own) / draw(other) for _ in range(4000))
    return ratios[len(ratios) // 20], ratios[-1 - len(ratios) // 20]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--cache", default="targets.jsonl")
    arguments = parser.parse_args()
    cache = Path(arguments.cache)
    lines = [json.loads(line) for line in cache.read_text().splitlines()] if cache.exists() else []
    name = lambda line: (line["method"], line["function"], line["dimensions"], line["seed"])
    known = {name(line) for line in lines}
    programs = (common.build("search"), common.build("evaluate"))
    jobs = [
        (programs, method, function, dimensions, budget, seed)
        for function, dimensions, budget in PROBLEMS
        for seed in range(arguments.seeds)
        for method in (OURS, THEIRS)
        if (method, function, dimensions, seed) not in known
    ]
    with cache.open("a") as out, concurrent.futures.ProcessPoolExecutor(common.CORES) as pool:
        for line in pool.map(search, jobs):
            out.write(json.dumps(line) + "\n")
            out.flush()
            lines.append(line)
            print(line, flush=True)
    found = {}
    for line in lines:
        if line["seed"] < arguments.seeds:
            found.setdefault((line["function"], line["dimensions"], line["method"]), []).append(line["reached"])

    rows, bars = [], []
    for function, dimensions, budget in PROBLEMS:
        own, other = (found[function, dimensions, method] for method in (OURS, THEIRS))
        hits = lambda found: f"{sum(reached is not None for reached in found)} of {len(found)}"
        ratio = lambda statistic: f"{statistic(own) / statistic(other):.2f}"
        ert = lambda found: expected(found, budget)
        low, high = interval(own, other, ert)
        rows.append(
            [f"{function}, {dimensions} d", hits(own), hits(other), common.number(median(own)), common.number(median(other))]
            + [ratio(median), f"{common.number(ert(own))} / {common.number(ert(other))}", f"{ratio(ert)} ({low:.2f} to {high:.2f})"]
        )
        for method, all in ((OURS, own), (THEIRS, other)):
            reached = sorted(budget if one is None else one for one in all)
            bars.append((f"{method}, {function} {dimensions}", (reached[0], statistics.median(reached), reached[-1]), method == OURS))
    import cma

    where = (
        f"Evaluations until a value is within {TARGET:g} of the optimum; {arguments.seeds} seeds, `cmaes` against pycma {cma.__version__} "
        f"(`fmin2`, `bipop=True`, `restarts=9`), on {common.machine()}, whose speed changes nothing. The aim is a median of 1.1 times "
        "pycma's at most. A search that does not get there within its evaluations counts for the median as one that never does; the "
        "expected number (ERT) is all evaluations over all successes, its ratio with the interval that holds nine tenths of 4,000 "
        "bootstrap samples."
    )
    budgets = "Given up after " + "; ".join(f"{function} {dimensions} d {budget:,}" for function, dimensions, budget in PROBLEMS) + "."
    header = ["problem", "`cmaes` gets there", "pycma does", "median", "pycma's", "ratio", "expected", "ratio (9 of 10)"]
    plot = common.plot("Evaluations to the optimum", "evaluations, least, median and most", bars, log=True)
    common.write("targets", "Evaluations to the optimum", [where, common.table(header, rows), budgets], plot)


if __name__ == "__main__":
    main()
