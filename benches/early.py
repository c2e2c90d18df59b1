"""Schedulers that end candidates early against those of Ray Tune and Optuna, on the same learning curves at equal lane-epochs.

    python benches/early.py [--data FOLDER] [--models gbdt,mlp] [--tables wine,sonar] [--seeds 5]
                            [--cache FILE] [--program FILE] [--example FILE] [--report]

Needs `pip install -r benches/requirements.txt`. CANDIDATES random candidates are trained on three folds with a budget of 81, once for
each table and seed, and scored after 1, 3, 9, 27 and 81 units: the rungs of every scheduler here. The peers' own objects (Ray's
on_trial_result and choose_trial_to_run, Optuna's report and should_prune) are replayed on these curves: a unit of budget takes one
step of time, workers that report in the same step do so in their order, and a place that is left is filled at once; lanes that
come to their own end on the way take nothing after it, here as there. This program
searches the same candidates with the same seed and batches of as many places; that they are the same is checked by the scores it finds.

What counts is the best score so far of a candidate with its whole budget, after a share of the lane-epochs that all candidates
take in full: as regret, the distance to the best of all candidates in units of that from their median to their best. Every search
is kept in the cache file as a line of JSON, and is not run again; --report trains nothing and reports what is there in whole sets.
Writes benches/results/early.md and a plot beside it.
"""

import argparse
import concurrent.futures
import functools
import heapq
import html
import json
import math
import random
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

import common
from budgets import DATA, target

common.one_thread_a_process()

CANDIDATES, FOLDS, RUNGS, ETA = 243, 3, [1, 3, 9, 27, 81], 3
BUDGET = RUNGS[-1]
# Where the plot begins.
LOW = 0.01
# A bracket of hyperband that begins on the first rung.
COHORT = 81
WORKERS = [16, 1]
# Of the training that all candidates take in full.
MARKS = [0.02, 0.05, 0.1, 0.2]
OURS = ["asha", "median", "learning_curve", "hyperband"]
PEERS = ["Ray ASHA", "Optuna median", "Ray HyperBand", "Optuna Hyperband"]
GROUPS = {
    "asha": ["asha", "Ray ASHA"],
    "curve by curve": ["learning_curve", "median", "Optuna median"],
    "hyperband": ["hyperband", "Ray HyperBand", "Optuna Hyperband"],
}
PAIRS = [
    ("asha", "Ray ASHA"), ("learning_curve", "median"), ("learning_curve", "Optuna median"), ("median", "Optuna median"),
    ("hyperband", "Ray HyperBand"), ("hyperband", "Optuna Hyperband"),
]


def settings(job, scheduler, batch):
    folder, name, model, seed = job
    file = Path(folder) / f"{name}.csv"
    return file, {
        "data.test": 0.0, "model.name": model, "model.budget": BUDGET, "validate.folds": FOLDS, "search.seed": seed,
        "search.candidates": CANDIDATES, "search.strategy": "random", "search.scheduler": scheduler, "search.batch": batch,
        "run.backend": "cpu", "run.threads": 1,
    }


def called(command):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done.stdout


def curves(program, job):
    """Of each candidate its scores on the rungs, less is better and NaN from where it failed, and the units that its lanes had used."""
    file, sets = settings(job, "threshold", COHORT)
    # One that ends nobody.
    sets["search.threshold"] = 1e300
    with tempfile.TemporaryDirectory() as place:
        sets["run.dir"] = run = Path(place) / "run"
        called([program, "tune", file, "--target", target(file)] + [word for key, value in sets.items() for word in ("--set", f"{key}={value}")])
        return read(run)


def read(run):
    """The same of a run directory; docs/journal.md says what is in it."""
    sign = -1.0 if json.loads((run / "result.json").read_text())["direction"] == "maximize" else 1.0
    data = (run / "journal.tfj").read_bytes()
    found = [([math.nan] * len(RUNGS), [0] * len(RUNGS)) for _ in range(CANDIDATES)]
    place = 12
    while place < len(data):
        (length,) = struct.unpack_from("<I", data, place)
        frame = Frame(data[place + 8 : place + 8 + length])
        place += 8 + length
        kind = frame.number()
        if kind not in (1, 4):
            continue
        rung = RUNGS.index(frame.number()) if kind == 4 else len(RUNGS) - 1
        candidates = [first + i for first, count in frame.list(lambda: (frame.number(), frame.number())) for i in range(count)]
        statuses = [status for status, count in frame.list(lambda: (frame.byte(), frame.number())) for _ in range(count)]
        scores = frame.list(frame.float)
        assert not frame.list(frame.float), "there is one objective"
        frame.skip(4)
        frame.skip(2)
        used = [units for units, count in frame.list(lambda: (frame.number(), frame.number())) for _ in range(count)]
        for i, (candidate, status) in enumerate(zip(candidates, statuses)):
            lanes = slice(FOLDS * i, FOLDS * (i + 1))
            found[candidate][1][rung:] = [sum(used[lanes])] * (len(RUNGS) - rung)
            if status in (0, 1):
                found[candidate][0][rung] = sign * statistics.fmean(scores[lanes])
    return found


class Frame:
    """A payload in postcard, read from its beginning."""

    def __init__(self, data):
        self.data, self.place = data, 0

    def byte(self):
        self.place += 1
        return self.data[self.place - 1]

    def number(self):
        number, shift = 0, 0
        while True:
            byte = self.byte()
            number |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return number

    def float(self):
        self.place += 8
        return struct.unpack_from("<d", self.data, self.place - 8)[0]

    def list(self, item):
        return [item() for _ in range(self.number())]

    def skip(self, size):
        """A list whose items have so many bytes."""
        count = self.number()
        self.place += size * count


def ours(example, job, scheduler, workers):
    """The lane-epochs after which each better score was found; the last entry says how many there were in all."""
    file, sets = settings(job, scheduler, COHORT if scheduler == "hyperband" else workers)
    sets |= {"data.file": file, "data.target": target(file)}
    told = json.loads(called([example, "-", *(f"{key}={value}" for key, value in sets.items())]).splitlines()[-1])
    sign = -1.0 if told["direction"] == "maximize" else 1.0
    return improvements([(units, sign * value) for units, value in told["curve"]])


def improvements(curve):
    steps = []
    for units, value in curve:
        if not steps or value < steps[-1][1]:
            steps.append((units, value))
    return steps + [curve[-1]]


def replayed(curves, peer, workers):
    """The same of a peer's scheduler on curves."""
    now, used, best, course = 0, 0, math.inf, []
    had = [0] * len(curves)
    # Of who is busy the units that its lanes take in a step: fewer than lanes where some are at their own end.
    idle, busy, rates = list(range(workers)), [], {}

    def go(worker, candidate):
        rung = had[candidate]
        had[candidate] += 1
        steps, units = (at[rung] - (at[rung - 1] if rung else 0) for at in (RUNGS, curves[candidate][1]))
        rates[worker] = units / steps
        heapq.heappush(busy, (now + steps, worker, candidate))

    while True:
        while idle and (candidate := peer.next()) is not None:
            go(heapq.heappop(idle), candidate)
        if not busy:
            return course + [(used, best)]
        used += sum(rates.values()) * (busy[0][0] - now)
        now, worker, candidate = heapq.heappop(busy)
        del rates[worker]
        budget, value = RUNGS[had[candidate] - 1], curves[candidate][0][had[candidate] - 1]
        if budget == BUDGET and value < best:
            best = value
            course.append((used, best))
        if peer.goes_on(candidate, budget, value):
            go(worker, candidate)
        else:
            heapq.heappush(idle, worker)


class Ray:
    """A scheduler of Ray Tune, called as its controller calls it."""

    # So many trials are made before they have a place: tune_controller.py.
    PENDING = 200

    def __init__(self, scheduler):
        from ray.tune.experiment import Trial

        self.scheduler, self.states, self.trials = scheduler, Trial, []
        self.made()

    def made(self):
        while len(self.trials) < CANDIDATES and sum(trial.status == self.states.PENDING for trial in self.trials) < self.PENDING:
            self.trials.append(RayTrial(len(self.trials), self.states.PENDING))
            self.scheduler.on_trial_add(self, self.trials[-1])

    def get_live_trials(self):
        return [trial for trial in self.trials if trial.status != self.states.TERMINATED]

    def get_trials(self):
        return self.trials

    def next(self):
        trial = self.scheduler.choose_trial_to_run(self)
        if trial is None:
            return None
        trial.status = self.states.RUNNING
        self.made()
        return trial.number

    def goes_on(self, candidate, budget, value):
        trial = self.trials[candidate]
        if math.isnan(value):
            self.scheduler.on_trial_error(self, trial)
            trial.status = self.states.ERROR
            return False
        trial.last_result = {"training_iteration": budget, "score": value}
        action = self.scheduler.on_trial_result(self, trial, trial.last_result)
        if action == "PAUSE":
            trial.status = self.states.PAUSED
        elif action == "STOP":
            self.stop_trial(trial)
        return action == "CONTINUE"

    def stop_trial(self, trial):
        if trial.status in (self.states.PENDING, self.states.PAUSED):
            self.scheduler.on_trial_remove(self, trial)
        elif trial.status == self.states.RUNNING:
            self.scheduler.on_trial_complete(self, trial, trial.last_result)
        trial.status = self.states.TERMINATED


class RayTrial:
    """What schedulers look at of a trial."""

    is_saving = False

    def __init__(self, number, status):
        self.number, self.trial_id, self.status, self.last_result = number, f"{number:05}", status, {}


class Optuna:
    """A study under a pruner. Who has had the whole budget is told as complete and not asked about."""

    def __init__(self, name, pruner):
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.state = optuna.trial.TrialState
        self.study = optuna.create_study(study_name=name, pruner=pruner)
        self.trials = []

    def next(self):
        if len(self.trials) == CANDIDATES:
            return None
        self.trials.append(self.study.ask())
        return self.trials[-1].number

    def goes_on(self, candidate, budget, value):
        trial = self.trials[candidate]
        if math.isnan(value):
            self.study.tell(trial, state=self.state.FAIL)
            return False
        trial.report(value, budget)
        if budget == BUDGET:
            self.study.tell(trial, value)
        elif trial.should_prune():
            self.study.tell(trial, state=self.state.PRUNED)
        else:
            return True
        return False


def peer(name, job):
    *_, table, model, seed = job
    if name.startswith("Ray"):
        from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler

        made = {"Ray ASHA": functools.partial(AsyncHyperBandScheduler, grace_period=1), "Ray HyperBand": HyperBandScheduler}[name]
        return Ray(made(metric="score", mode="min", max_t=BUDGET, reduction_factor=ETA))
    from optuna.pruners import HyperbandPruner, MedianPruner

    pruner = MedianPruner() if name == "Optuna median" else HyperbandPruner(min_resource=1, max_resource=BUDGET, reduction_factor=ETA)
    return Optuna(f"{model} on {table}, {seed}", pruner)


def done(work):
    """A search by its key, and what was found."""
    key, folder, program, example, trained = work
    name, model, seed, search, workers = key
    job = (folder, name, model, seed)
    if search == "curves":
        return key, curves(program, job)
    if search in OURS:
        return key, ours(example, job, search, workers)
    return key, replayed(trained, peer(search, job), workers)


def all_done(keys, found, cache, arguments):
    programs = (arguments.data, arguments.program, arguments.example)
    works = [(key, *programs, found.get((*key[:3], "curves", 0))) for key in keys if key not in found]
    with cache.open("a") as out, concurrent.futures.ProcessPoolExecutor(common.CORES) as pool:
        for number, (key, result) in enumerate(pool.map(done, works), 1):
            found[key] = result
            out.write(json.dumps({"search": key, "found": result}) + "\n")
            out.flush()
            if number % 50 == 0:
                print(f"{number} of {len(works)} searches", flush=True)


def ends(curves):
    return [values[-1] for values, _ in curves if not math.isnan(values[-1])]


def whole(curves):
    """The lane-epochs of all candidates."""
    return sum(used[-1] for _, used in curves)


def regret(course, curves, share):
    """After a share of the whole training; infinite before anybody had the whole budget."""
    least, middle = min(ends(curves)), statistics.median(ends(curves))
    # To a millionth: a peer's units are sums of parts.
    most = share * whole(curves) * (1 + 1e-6)
    value = min((value for units, value in course if units <= most), default=math.inf)
    return (value - least) / (middle - least)


def interval(groups, draws=2000):
    """The median of all values, and where the middle 95 % of medians lie when tables are drawn again."""
    # Half of an even number may have come to nothing yet, of which there is no mean.
    median = lambda values: sorted(values)[len(values) // 2]
    draw = random.Random(0)
    medians = sorted(median([one for group in draw.choices(groups, k=len(groups)) for one in group]) for _ in range(draws))
    return median([one for group in groups for one in group]), medians[draws // 40], medians[-1 - draws // 40]


def shown(value):
    return "-" if math.isinf(value) else f"{value:.3f}"


def checked(found, sets):
    """Sees that this program's candidates are those of the curves: whatever it found to be best is one of their scores."""
    for name, model, seed in sets:
        scores = ends(found[name, model, seed, "curves", 0])
        for search in OURS:
            for workers in WORKERS:
                for _, value in found[name, model, seed, search, workers]:
                    if not any(math.isclose(value, end, rel_tol=1e-12) for end in scores):
                        sys.exit(f"{search} of {model} on {name}, seed {seed}: no candidate of the curves scores {value}")


def report(found, sets, arguments):
    parts = [
        f"{CANDIDATES} random candidates on three folds, {BUDGET} units of budget each, the same for all, judged after {', '.join(map(str, RUNGS[:-1]))} "
        f"units (`eta` {ETA}). The peers' own objects run on recorded curves, this program searches by itself. Regret of the best candidate with its whole "
        "budget so far, after a share of the lane-epochs that all of them take in full: 0 is the best of all candidates, 1 their median; a dash "
        "where there is none yet. Medians over tables and seeds, and the middle 95 % of medians when tables are drawn again. "
        f"Trained: the share of lane-epochs at the search's end, the median. `hyperband` here always has cohorts of {COHORT}. Nothing here depends on the machine."
    ]
    lines = {}
    for model in arguments.models.split(","):
        groups = {name: [one for one in sets if one[:2] == (name, model)] for name in dict.fromkeys(name for name, other, _ in sets if other == model)}
        if not groups:
            continue
        seeds = max(len(group) for group in groups.values())
        parts.append(f"## {model}\n\nTables: {', '.join(groups)}; {'seed 0' if seeds == 1 else f'seeds 0 to {seeds - 1}'}.")
        for workers in WORKERS:

            def regrets(search, share):
                one = lambda key: regret(found[*key, search, workers], found[*key, "curves", 0], share)
                return [[one(key) for key in group] for group in groups.values()]

            rows = []
            for search in dict.fromkeys(search for group in GROUPS.values() for search in group):
                cells = [f"**{search}**" if search in OURS else search]
                for share in [*MARKS, math.inf]:
                    middle, low, high = interval(regrets(search, share))
                    cells.append(f"{shown(middle)} ({shown(low)} to {shown(high)})")
                trained = statistics.median(found[*key, search, workers][-1][0] / whole(found[*key, "curves", 0]) for group in groups.values() for key in group)
                rows.append([*cells, f"{100 * trained:.1f} %"])
                if workers == WORKERS[0]:
                    # Until the last one has ended.
                    last = max(found[*key, search, workers][-1][0] / whole(found[*key, "curves", 0]) for group in groups.values() for key in group)
                    shares = [*(share for share in (LOW * 1.05**i for i in range(100)) if share < last), last]
                    lines[model, search] = [(share, interval(regrets(search, share), 40)[0]) for share in shares]
            header = ["scheduler", *(f"{100 * share:g} %" for share in MARKS), "end", "trained"]
            parts.append(f"{workers} worker{'s' * (workers > 1)}:\n\n{common.table(header, rows)}")
            rows = []
            for first, second in PAIRS:
                cells = [f"{first} : {second}"]
                for share in [*MARKS, None]:
                    pairs = []
                    for key in (key for group in groups.values() for key in group):
                        courses = [found[*key, search, workers] for search in (first, second)]
                        curves = found[*key, "curves", 0]
                        at = min(course[-1][0] for course in courses) / whole(curves) if share is None else share
                        pairs.append([round(regret(course, curves, at), 9) for course in courses])
                    won, lost = sum(a < b for a, b in pairs), sum(a > b for a, b in pairs)
                    cells.append(f"{won} / {len(pairs) - won - lost} / {lost}")
                rows.append(cells)
            header = ["better / the same / worse", *(f"{100 * share:g} %" for share in MARKS), "where the first of both ends"]
            parts.append(common.table(header, rows))
    common.write("early", "Early stopping at equal lane-epochs", parts, plot(lines))


def plot(lines):
    """Medians of the regret over the training, a panel a kind of scheduler and model."""
    models = list(dict.fromkeys(model for model, _ in lines))
    width, height, left, top, gap, legend = 330, 296, 56, 62, 40, 46
    low, high, most = LOW, 1.0, 0.5
    parts = [f'<text x="16" y="26" font-size="16" font-weight="600">Regret at equal lane-epochs, {WORKERS[0]} workers</text>']
    whole = left + 3 * width + 10
    # Ours solid, theirs broken: told apart without colours too.
    ours, theirs = [(common.OURS, ""), ("#009E73", ""), ("#CC79A7", "")], [(common.THEIRS, ' stroke-dasharray="7 4"'), (common.TEXT, ' stroke-dasharray="2 3"')]
    for row, model in enumerate(models):
        for column, (title, searches) in enumerate(GROUPS.items()):
            x0, y0 = left + column * width, top + row * (height + gap)
            x1, y1 = x0 + width - 40, y0 + height - 30
            # In two columns above the panel.
            title_at, y0 = y0 - 10, y0 + legend
            x = lambda share: x0 + (x1 - x0) * math.log(share / low) / math.log(high / low)
            y = lambda value: y1 - (y1 - y0) * min(value, most) / most
            parts.append(f'<text x="{x0}" y="{title_at}" font-weight="600">{html.escape(f"{model}: {title}")}</text>')
            for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
                parts.append(f'<line x1="{x(tick):.1f}" y1="{y0}" x2="{x(tick):.1f}" y2="{y1}" stroke="{common.TEXT}" opacity="0.25"/>')
                parts.append(f'<text x="{x(tick):.1f}" y="{y1 + 15}" text-anchor="middle" font-size="11">{100 * tick:g} %</text>')
            for tick in (0.0, 0.1, 0.2, 0.3, 0.4, 0.5):
                parts.append(f'<line x1="{x0}" y1="{y(tick):.1f}" x2="{x1}" y2="{y(tick):.1f}" stroke="{common.TEXT}" opacity="0.25"/>')
                parts.append(f'<text x="{x0 - 7}" y="{y(tick) + 4:.1f}" text-anchor="end" font-size="11">{tick:g}</text>')
            for place, (search, (colour, dashes)) in enumerate(looked(searches, ours, theirs)):
                points = [(share, value) for share, value in lines[model, search] if value <= most]
                path = " ".join(f"{x(share):.1f},{y(value):.1f}" for share, value in points)
                parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2.5"{dashes}/>')
                if points:
                    parts.append(f'<circle cx="{x(points[-1][0]):.1f}" cy="{y(points[-1][1]):.1f}" r="4.5" fill="{colour}"/>')
                at, beside = title_at + 24 + 19 * (place % 2), x0 + 155 * (place // 2)
                parts.append(f'<line x1="{beside}" y1="{at - 4}" x2="{beside + 30}" y2="{at - 4}" stroke="{colour}" stroke-width="2.5"{dashes}/>')
                parts.append(f'<text x="{beside + 36}" y="{at}" font-size="12">{html.escape(search)}</text>')
    bottom = top + len(models) * (height + gap)
    parts.append(f'<text x="{whole / 2:.0f}" y="{bottom - 20}" text-anchor="middle" font-size="12">lane-epochs, of what all candidates take in full; regret of the best so far, the median over tables and seeds; a dot where the last search ends</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {whole} {bottom}" width="{whole}" role="img" '
        f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="13" fill="{common.TEXT}">\n<title>Early stopping at equal lane-epochs</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def looked(searches, ours, theirs):
    """Each search with the next look of its kind."""
    ours, theirs = iter(ours), iter(theirs)
    return [(search, next(ours if search in OURS else theirs)) for search in searches]


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="data")
    arguments.add_argument("--models", default="gbdt,mlp")
    arguments.add_argument("--tables", default=",".join(DATA))
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--cache", default=common.ROOT / "target" / "early.jsonl", help="where searches are kept")
    arguments.add_argument("--program", help="the program that is built already")
    arguments.add_argument("--example", help="the example `budgets` that is built already")
    arguments.add_argument("--report", action="store_true", help="of what the cache holds already")
    arguments = arguments.parse_args()
    if not arguments.report:
        arguments.example = arguments.example or common.build("budgets")
        arguments.program = arguments.program or Path(arguments.example).parent.parent / "thousandfold"
    cache = Path(arguments.cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    lines = map(json.loads, cache.read_text().splitlines() if cache.exists() else [])
    found = {tuple(line["search"]): line["found"] for line in lines}
    sets = [
        (name, model, seed)
        for model in arguments.models.split(",")
        for seed in range(arguments.seeds)
        for name in arguments.tables.split(",")
    ]
    # A cohort of hyperband's is as large whatever the workers: one search is enough.
    searches = [(search, workers) for search in OURS + PEERS for workers in (WORKERS[:1] if search == "hyperband" else WORKERS)]
    if arguments.report:
        sets = [one for one in sets if all((*one, *search) in found for search in [("curves", 0), *searches])]
    else:
        for kinds in ([("curves", 0), *(one for one in searches if one[0] in OURS)], [one for one in searches if one[0] in PEERS]):
            all_done([(*one, *kind) for one in sets for kind in kinds], found, cache, arguments)
    found |= {(*one, "hyperband", workers): found[*one, "hyperband", WORKERS[0]] for one in sets for workers in WORKERS}
    checked(found, sets)
    report(found, sets, arguments)


if __name__ == "__main__":
    main()
