"""How good the search methods are: this program's strategies and its peers on the same problems, at the same numbers of
evaluations, over many seeds.

    python benches/search.py [--data FOLDER] [--classes bbob5,bbob20,mixed,real] [--seeds 15] [--methods NAME,...]
                             [--again NAME,...] [--cache FILE] [--batch 10]

Needs `pip install -r benches/requirements.txt`. Every search is kept in the cache file as a line of JSON, so that an
interrupted benchmark goes on where it was. What is in it, or in benches/results/search.jsonl.gz, is not run again, but for the
methods that --again names, of which the latter is forgotten (begin a new cache file for them). Writes benches/results/search.md, a plot for each class beside it
(search_CLASS.svg), and every search's best values (search.jsonl.gz). `real` takes its data sets from FOLDER.

Methods of this program propose through examples/search.rs, peers through their own ask-and-tell interfaces; the objective is
the same code for all, examples/evaluate.rs. All ask for --batch candidates at a time, but for those with generations of
their own (pycma, SciPy), which take them.
"""

import argparse
import concurrent.futures
import gzip
import json
import math
import random
import statistics
import subprocess
import sys
import time
import warnings
from collections import defaultdict
from pathlib import Path

import common

common.one_thread_a_process()

CHECKPOINTS = [25, 50, 100, 200, 400, 1000, 2000]
BUDGETS = {"bbob5": 200, "bbob20": 400, "mixed": 400, "real": 400}
OURS = ["random", "sobol", "tpe", "gp", "smac", "cmaes", "de", "pso", "genetic", "auto"]
PEERS = ["Optuna TPE", "pycma BIPOP", "SciPy DE"]
# A GPU has f32.
ON_CPU = "run.backend=cpu"
MIXED = ["model_choice", "mixed_rastrigin", "choice_pairs", "training", "deep_choices"]
REAL = ["breast_cancer", "wine", "sonar", "diabetes", "credit_g", "titanic", "pima_diabetes", "yacht", "concrete", "energy_efficiency"]


class Problem:
    """An objective: the sets of its study, and the file if it has one."""

    def __init__(self, kind, name, file, sets):
        self.kind, self.name, self.file, self.sets = kind, name, file, sets


def problems(kinds, data):
    """Every problem of these classes; sets take the seed by {seed} and {instance}."""
    found = []
    for kind in kinds:
        if kind.startswith("bbob"):
            dimensions = kind.removeprefix("bbob")
            for number in range(1, 25):
                sets = [f"objective.function=bbob_f{number}", f"objective.dimensions={dimensions}", ON_CPU]
                found.append(Problem(kind, f"f{number}", "-", sets + ["objective.instance={instance}"]))
        elif kind == "mixed":
            for name in MIXED:
                found.append(Problem(kind, name, "-", [f"objective.function={name}", "objective.instance={instance}", ON_CPU]))
        elif kind == "real":
            targets = {path.stem: target for path, target in read_index(data).items()}
            for name in REAL:
                for model in ["gbdt", "mlp", "svm"]:
                    path = next(Path(data).glob(f"{name}.csv*"))
                    sets = [f"data.file={path}", f"data.target={targets[name]}", f"model.name={model}", "run.threads=1", ON_CPU]
                    # One split of a third keeps four hundred trainings short; its rows follow the seed.
                    sets += ["validate.method=hold_out", "search.seed={seed}", *SHORT[model]]
                    found.append(Problem(kind, f"{model} on {name}", "-", sets))
        else:
            sys.exit(f"no class is called {kind}: bbob5, bbob20, mixed, real")
    return found


SHORT = {"gbdt": ["model.budget=50"], "mlp": ["model.budget=10"], "svm": []}


def read_index(folder):
    """The target column of each data set: the last column, or what targets.json beside them says."""
    folder = Path(folder)
    said = folder / "targets.json"
    targets = json.loads(said.read_text()) if said.exists() else {}
    index = {}
    for path in folder.glob("*.csv"):
        with open(path, encoding="utf-8") as lines:
            index[path] = targets.get(path.stem, next(lines).strip().split(",")[-1].strip('"'))
    return index


class Objective:
    """A problem as examples/evaluate.rs serves it to the peers, minimised."""

    def __init__(self, evaluate, problem, seed):
        sets = filled(problem, seed)
        self.process = subprocess.Popen(
            [evaluate, problem.file, *sets], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        opened = json.loads(self.process.stdout.readline())
        self.space, self.defaults = opened["space"], opened["defaults"]
        self.sign = -1.0 if opened["direction"] == "maximize" else 1.0

    def __call__(self, points):
        """The values of some points, less is better, NaN for one that failed."""
        self.process.stdin.write(json.dumps(points) + "\n")
        self.process.stdin.flush()
        values = json.loads(self.process.stdout.readline())
        return [math.nan if value[0] is None else self.sign * value[0] for value in values]

    def close(self):
        self.process.stdin.close()
        self.process.wait()


def filled(problem, seed):
    return [entry.format(seed=seed, instance=seed + 1) for entry in problem.sets]


def curve(values):
    """The best value after each checkpoint."""
    best, found = math.inf, []
    for number, value in enumerate(values, 1):
        best = min(best, math.inf if math.isnan(value) else value)
        if number in CHECKPOINTS or number == len(values):
            found.append((number, best))
    return found


def optuna_tpe(objective, budget, seed, batch):
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    sampler = optuna.samplers.TPESampler(multivariate=True, group=True, constant_liar=True, seed=seed)
    study = optuna.create_study(sampler=sampler)
    study.enqueue_trial(objective.defaults)
    values = []
    while len(values) < budget:
        trials = [study.ask() for _ in range(min(batch, budget - len(values)))]
        told = objective([suggest(trial, objective.space) for trial in trials])
        for trial, value in zip(trials, told):
            if math.isnan(value):
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
            else:
                study.tell(trial, value)
        values += told
    return values


def suggest(trial, space):
    """A trial's point of a space as its study file has it, conditions and all."""
    point, waiting = {}, dict(space)
    while waiting:
        # Parents before their children, wherever they stand.
        name = next(name for name, entry in waiting.items() if not set(conditions(entry)) & set(waiting))
        entry = waiting.pop(name)
        if not all(point.get(parent) in allowed for parent, allowed in conditions(entry).items()):
            continue
        kind, arguments = parameter(entry)
        if kind == "fixed":
            point[name] = arguments
        elif kind == "choice":
            point[name] = trial.suggest_categorical(name, arguments)
        elif kind == "int":
            low, high, log, step = arguments
            point[name] = trial.suggest_int(name, low, high, log=log, step=1 if log else step)
        else:
            low, high, log, step = arguments
            point[name] = trial.suggest_float(name, low, high, log=log, step=None if log else step)
    return point


def conditions(entry):
    """The values of each parent for which an entry of [space] exists."""
    when = entry.get("when", {}) if isinstance(entry, dict) else {}
    return {parent: allowed if isinstance(allowed, list) else [allowed] for parent, allowed in when.items()}


def parameter(entry):
    """The kind of an entry of [space], and what there is to choose from."""
    if not isinstance(entry, (dict, list)):
        return "fixed", entry
    if isinstance(entry, list):
        return "choice", entry
    for key in ("categorical", "ordinal"):
        if key in entry:
            return "choice", entry[key]
    for scale in ("log", "logit"):
        if isinstance(entry.get(scale), list):
            low, high = entry[scale]
            return "float", (low, high, scale == "log", None)
    for kind in ("int", "float"):
        if kind in entry:
            low, high = entry[kind]
            return kind, (low, high, bool(entry.get("log", False)), entry.get("step", 1 if kind == "int" else None))
    raise ValueError(f"an entry of [space] that is not known here: {entry}")


def box(objective):
    """The bounds of a space of real numbers alone, or None."""
    kinds = {name: parameter(entry) for name, entry in objective.space.items()}
    if any(kind != "float" for kind, _ in kinds.values()):
        return None
    return list(kinds), [arguments[:2] for _, arguments in kinds.values()]


def pycma(objective, budget, seed, _batch):
    import cma

    names, bounds = box(objective)
    middle = lambda x: [{name: low + (high - low) * v for name, v, (low, high) in zip(names, row, bounds)} for row in x]
    values, generator, restart = [], random.Random(seed), 0
    while len(values) < budget:
        start = [(objective.defaults[name] - low) / (high - low) for name, (low, high) in zip(names, bounds)]
        if restart:
            start = [generator.random() for _ in names]
        options = {"bounds": [0, 1], "seed": seed * 1000 + restart + 1, "verbose": -9}
        population = 4 + int(3 * math.log(len(names)))
        # BIPOP in short: large runs double, small ones between them.
        options["popsize"] = population * 2 ** ((restart + 1) // 2) if restart % 2 else population
        strategy = cma.CMAEvolutionStrategy(start, 0.25, options)
        while not strategy.stop() and len(values) < budget:
            rows = strategy.ask()
            told = objective(middle(rows))
            strategy.tell(rows, [1e300 if math.isnan(value) else value for value in told])
            values += told
        restart += 1
    return values[:budget]


def scipy_de(objective, budget, seed, _batch):
    from scipy.optimize import differential_evolution

    names, bounds = box(objective)
    values = []

    class Spent(Exception):
        pass

    def evaluate(columns):
        rows = columns.T if columns.ndim == 2 else [columns]
        told = objective([{name: float(value) for name, value in zip(names, row)} for row in rows])
        values.extend(told)
        if len(values) >= budget:
            raise Spent
        return [1e300 if math.isnan(value) else value for value in told]

    try:
        differential_evolution(
            evaluate, bounds, seed=seed, popsize=max(1, min(15, 50 // len(names) + 1)), maxiter=10**6, tol=0, polish=False,
            vectorized=True, updating="deferred",
        )
    except Spent:
        pass
    return values[:budget]


# The exit code of examples/search.rs where a strategy is not for the space.
REFUSED = 3
SEARCHES = {"Optuna TPE": optuna_tpe, "pycma BIPOP": pycma, "SciPy DE": scipy_de}


def search(job):
    """Runs one search; the line that the cache keeps of it."""
    (search_program, evaluate), problem, method, seed, batch = job
    budget = BUDGETS[problem.kind]
    begun = time.monotonic()
    line = {"class": problem.kind, "problem": problem.name, "method": method, "seed": seed, "batch": batch}
    if method in SEARCHES:
        objective = Objective(evaluate, problem, seed)
        try:
            if method != "Optuna TPE" and box(objective) is None:
                return None
            line["curve"] = curve(SEARCHES[method](objective, budget, seed, batch))
        finally:
            objective.close()
    else:
        command = [search_program, method, budget, seed, batch, problem.file, *filled(problem, seed)]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode == REFUSED:
            return None
        if done.returncode != 0:
            sys.exit(f"{method} on {problem.name} failed: {done.stderr}")
        result = json.loads(done.stdout.splitlines()[-1])
        kept = [(number, value) for number, value in result["curve"] if number in CHECKPOINTS]
        line["curve"], line["decisions"] = kept, result["decisions"]
    line["seconds"] = round(time.monotonic() - begun, 2)
    return line


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="data")
    arguments.add_argument("--classes", default="bbob5,bbob20,mixed,real")
    arguments.add_argument("--methods", default=",".join(OURS + PEERS))
    arguments.add_argument("--seeds", type=int, default=15)
    arguments.add_argument("--batch", type=int, default=10)
    arguments.add_argument("--again", default="", help="methods that changed since the results were written")
    arguments.add_argument("--cache", default=common.ROOT / "target" / "search.jsonl")
    arguments.add_argument("--report-only", action="store_true", help="no search, only the report of what the cache holds")
    arguments = arguments.parse_args()
    cache = Path(arguments.cache)
    again = arguments.again.split(",")
    kept = gzip.decompress(KEPT.read_bytes()).splitlines() if KEPT.exists() else []
    lines = [line for line in map(json.loads, kept) if line["method"] not in again]
    # The last word is the cache's.
    lines += map(json.loads, cache.read_text().splitlines() if cache.exists() else [])
    lines = [rounded(line) for line in lines if line["batch"] == arguments.batch]
    lines = list({tuple(line[key] for key in SEARCH): line for line in lines}.values())
    known = {(line["class"], line["problem"], line["method"], line["seed"]) for line in lines}
    if not arguments.report_only:
        programs = (common.build("search"), common.build("evaluate"))
        methods = arguments.methods.split(",")
        jobs = [
            (programs, problem, method, seed, arguments.batch)
            for seed in range(arguments.seeds)
            for problem in problems(arguments.classes.split(","), arguments.data)
            for method in methods
            if (problem.kind, problem.name, method, seed) not in known
        ]
        with cache.open("a") as out, concurrent.futures.ProcessPoolExecutor(common.CORES) as pool:
            for number, line in enumerate(pool.map(search, jobs, chunksize=4), 1):
                if line is not None:
                    out.write(json.dumps(line) + "\n")
                    out.flush()
                    lines.append(rounded(line))
                if number % 100 == 0:
                    print(f"{number} of {len(jobs)} searches", flush=True)
    report(lines)
    if arguments.batch == 10:
        keep(lines)


KEPT = common.RESULTS / "search.jsonl.gz"
# What tells one search from another.
SEARCH = ("class", "problem", "method", "seed")


def rounded(line):
    """With the digits that are kept, so that what is kept and what is fresh tie alike."""
    return {**line, "curve": [[number, value and float(f"{value:.9g}")] for number, value in line["curve"]]}


def keep(lines):
    """Writes every search beside the report."""
    text = ""
    for line in sorted(lines, key=lambda line: [line[key] for key in SEARCH]):
        text += json.dumps({key: line[key] for key in (*SEARCH, "batch", "curve")}) + "\n"
    KEPT.write_bytes(gzip.compress(text.encode(), mtime=0))


def values_at(lines, kind, checkpoint):
    """The best value of each method after so many evaluations, by problem and seed."""
    values = defaultdict(dict)
    for line in lines:
        if line["class"] == kind:
            for number, value in line["curve"]:
                if number == checkpoint and value is not None:
                    values[line["problem"], line["seed"]][line["method"]] = value
    return values


def wins(lines, kind, checkpoint, ours, theirs):
    """How often the one ends below the other, ties by half, with twice the standard error."""
    pairs = [found for found in values_at(lines, kind, checkpoint).values() if ours in found and theirs in found]
    if not pairs:
        return ""
    share = sum((found[ours] < found[theirs]) + (found[ours] == found[theirs]) / 2 for found in pairs) / len(pairs)
    return f"{100 * share:.0f} ± {200 * math.sqrt(share * (1 - share) / len(pairs)):.0f} %"


def regrets(lines, kind):
    """How much less of the way from random search's median to the best method's the others go, in the mean over problems of
    the medians over seeds: by method."""
    of_problem = defaultdict(lambda: defaultdict(list))
    for (problem, _), found in values_at(lines, kind, BUDGETS[kind]).items():
        for method, value in found.items():
            of_problem[problem][method].append(value)
    lost = defaultdict(list)
    for found in of_problem.values():
        medians = {method: statistics.median(values) for method, values in found.items()}
        best, far = min(medians.values()), medians.get("random", max(medians.values()))
        for method, value in medians.items():
            lost[method].append((value - best) / (far - best) if far > best else 0.0)
    count = len(of_problem)
    return {method: statistics.mean(shares) for method, shares in lost.items() if len(shares) == count}


def judged(lines, kind, checkpoints):
    """What else is asked of the methods: tpe against Optuna's, auto against the best single one."""
    found = [wins(lines, kind, point, "tpe", "Optuna TPE") for point in checkpoints]
    said = []
    if all(found):
        said.append(f"`tpe` wins of the searches against Optuna's (ties count half): {', '.join(found)}.")
    lost = {method: share for method, share in regrets(lines, kind).items() if method in OURS}
    single = {method: share for method, share in lost.items() if method != "auto"}
    if "auto" in lost and single:
        best = min(single, key=single.get)
        said.append(
            f"Of the way from random search's median value to the best method's on each problem, `auto` leaves "
            f"{100 * lost['auto']:.1f} % in the mean, `{best}`, the best single strategy, {100 * single[best]:.1f} %."
        )
    return "\n\n".join(said)


def ranks(lines, kind, checkpoint):
    """Of each method its ranks, one for each problem and seed: 1 for the best value at the checkpoint, ties share."""
    values = values_at(lines, kind, checkpoint)
    by_method = defaultdict(lambda: defaultdict(list))
    methods = {line["method"] for line in lines if line["class"] == kind}
    for (problem, _), found in values.items():
        # Only where every method has a value ranks are fair.
        if set(found) == methods or len(found) == max(len(other) for other in values.values()):
            for method, value in found.items():
                below = sum(other < value for other in found.values())
                equal = sum(other == value for other in found.values())
                by_method[method][problem].append(below + (equal + 1) / 2)
    return by_method


def interval(per_problem, draws=1000):
    """Median over problems of the median rank over seeds, with a 95 % bootstrap interval over problems."""
    medians = [statistics.median(found) for found in per_problem.values()]
    generator = random.Random(0)
    boot = sorted(statistics.median(generator.choices(medians, k=len(medians))) for _ in range(draws))
    return statistics.median(medians), boot[int(0.025 * draws)], boot[int(0.975 * draws)]


def report(lines):
    """Writes the tables and plots of what is known."""
    parts, plots = [], {}
    for kind in BUDGETS:
        of_kind = [line for line in lines if line["class"] == kind]
        if not of_kind:
            continue
        seeds = len({line["seed"] for line in of_kind})
        count = len({line["problem"] for line in of_kind})
        checkpoints = [point for point in CHECKPOINTS if point <= BUDGETS[kind]]
        table = {point: ranks(lines, kind, point) for point in checkpoints}
        last = checkpoints[-1]
        methods = sorted(table[last], key=lambda method: interval(table[last][method])[0])
        rows = []
        for method in methods:
            cells = []
            for point in checkpoints:
                if method in table[point]:
                    median, low, high = interval(table[point][method])
                    cells.append(f"{median:.1f} ({low:.1f} to {high:.1f})")
                else:
                    cells.append("")
            rows.append([method, *cells])
        head = ["median rank after", *[f"{point:,}" for point in checkpoints]]
        judgement = judged(lines, kind, checkpoints)
        parts.append(
            f"## {TITLES[kind]}\n\n{count} problems, {seeds} seeds.\n\n{common.table(head, rows)}\n\n{judgement}\n\n"
            f"![]({plot_name(kind)})"
        )
        plots[kind] = plot(TITLES[kind], table, checkpoints, methods)
    for kind, text in plots.items():
        (common.RESULTS / plot_name(kind)).write_text(text)
    intro = (
        "Ranks among the methods of a table, 1 for the best value found so far: the median over problems of the median over "
        "seeds, with a 95 % bootstrap interval over problems. Methods ask for ten candidates at a time; pycma and SciPy have "
        f"generations of their own. Measured on {common.machine()}; values do not depend on the machine."
    )
    text = "\n\n".join(["# Search methods", intro, *parts]) + "\n"
    (common.RESULTS / "search.md").write_text(text)
    print(text)


TITLES = {
    "bbob5": "BBOB in 5 dimensions",
    "bbob20": "BBOB in 20 dimensions",
    "mixed": "Mixed and conditional functions",
    "real": "Real tuning",
}


def plot_name(kind):
    return f"search_{kind}.svg"


# Told apart by every kind of colour vision (Okabe & Ito 2008), and by their dashes.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#767676"]
DASHES = ["", "6 3", "2 3"]


def plot(title, table, checkpoints, methods):
    """Median rank over the number of evaluations, a line a method, its name at the end."""
    width, height, left, right, top, bottom = 720, 440, 60, 150, 50, 400
    most = max(interval(table[point][m])[0] for point in checkpoints for m in table[point])

    def x(point):
        low, high = math.log(checkpoints[0]), math.log(checkpoints[-1])
        return left + (width - left - right) * (math.log(point) - low) / max(high - low, 1e-9)

    def y(rank):
        return top + (bottom - top) * (rank - 1) / max(most - 1, 1)

    parts = [f'<text x="16" y="26" font-size="16" font-weight="600">{title}: median rank, best on top</text>']
    for point in checkpoints:
        parts.append(f'<line x1="{x(point):.1f}" y1="{top}" x2="{x(point):.1f}" y2="{bottom}" stroke="{common.TEXT}" opacity="0.3"/>')
        parts.append(f'<text x="{x(point):.1f}" y="{bottom + 18}" text-anchor="middle" font-size="11">{point:,}</text>')
    for rank in range(1, int(most) + 1, 2):
        parts.append(f'<text x="{left - 12}" y="{y(rank) + 4:.1f}" text-anchor="end" font-size="11">{rank}</text>')
    # Names must not lie on each other.
    ends = sorted((y(interval(table[checkpoints[-1]][m])[0]), m) for m in methods)
    shown, last = {}, -math.inf
    for at, method in ends:
        last = max(at, last + 15)
        shown[method] = last
    for number, method in enumerate(methods):
        colour, dash = COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
        points = [(x(point), y(interval(table[point][method])[0])) for point in checkpoints if method in table[point]]
        path = " ".join(f"{px:.1f},{py:.1f}" for px, py in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dash}"/>')
        parts.append(f'<line x1="{points[-1][0]:.1f}" y1="{points[-1][1]:.1f}" x2="{points[-1][0] + 14:.1f}" y2="{shown[method]:.1f}" stroke="{colour}" opacity="0.6"/>')
        parts.append(f'<text x="{points[-1][0] + 18:.1f}" y="{shown[method] + 4:.1f}" fill="{colour}">{method}</text>')
    parts.append(f'<text x="{(left + width - right) / 2}" y="{bottom + 36}" text-anchor="middle" font-size="12">evaluations</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" role="img" '
        f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="13" fill="{common.TEXT}">\n<title>{title}</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


if __name__ == "__main__":
    main()
