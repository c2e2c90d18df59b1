"""Times 50 candidates x 5 folds of random forests on digits and letter: this program and scikit-learn, in turns.

    python benches/forest.py [--runs 3] [--candidates 50] [--data FOLDER] [--kind random_forest]

Needs benches/requirements.txt. Candidates have 100 trees, and depth, rows of a leaf, features of a split, bootstrap and
criterion drawn from the model's default space; both programs get the same ones and the same folds. scikit-learn runs
twice: a forest after another with n_jobs=-1, and one process a core kept warm by joblib, each forest with one thread; its fits
and its predictions of the held-out rows are timed. This program's time includes binning and scoring the same rows. It does
not grow parts of a tree that no held-out row reaches, and lanes that draw alike share nodes; a second run of the table,
with every candidate in a run of its own, is without what candidates share. Checks the mean accuracy of both, and writes
benches/results/forest.md and forest.svg. letter.csv (UCI, target last) is taken from FOLDER where it is there. Builds
examples/fit_lanes.rs in release mode.
"""

import argparse
import functools
import json
import tempfile
import time
from pathlib import Path

import common

common.one_thread_a_process()

import joblib
import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.model_selection import StratifiedKFold

TREES = 100


def sets(folder):
    yield "digits", *load_digits(return_X_y=True)
    letter = folder / "letter.csv"
    if letter.exists():
        table = np.genfromtxt(letter, delimiter=",", skip_header=1, dtype=str)
        yield "letter", table[:, :-1].astype(float), np.unique(table[:, -1], return_inverse=True)[1]


def split(x, y):
    folds = StratifiedKFold(5, shuffle=True, random_state=0).split(x, y)
    return [[(x[rows].astype("<f4"), y[rows].astype("<u4")) for rows in part] for part in folds]


def draw(count, features, kind):
    """Candidates of the default space: logarithmic depth, rows of a leaf and share of the features."""
    random = np.random.default_rng(0)
    log = lambda low, high: float(np.exp(random.uniform(np.log(low), np.log(high))))
    candidates = []
    for _ in range(count):
        candidate = {"kind": kind, "trees": TREES, "depth": round(log(2, 32)), "min_leaf": round(log(1, 32))}
        candidate |= {"features": max(log(1 / features, 1), 1 / features), "bootstrap": float(random.uniform(0.2, 1))}
        candidates.append(candidate | {"criterion": ["gini", "entropy"][random.integers(2)]})
    if kind == "extra_trees":
        candidates = [{name: value for name, value in candidate.items() if name != "bootstrap"} for candidate in candidates]
    return candidates


def fit(data, jobs, job):
    """One scikit-learn forest: its seconds, and its accuracy."""
    candidate, fold = job
    (x, y), (held_out, truth) = data[fold]
    share = candidate.get("bootstrap")
    start = time.perf_counter()
    forest = {"random_forest": RandomForestClassifier, "extra_trees": ExtraTreesClassifier}[candidate["kind"]]
    model = forest(
        TREES,
        max_depth=candidate["depth"],
        min_samples_leaf=candidate["min_leaf"],
        max_features=max(int(candidate["features"] * x.shape[1] + 1e-6), 1),
        bootstrap=share is not None,
        max_samples=share,
        criterion=candidate["criterion"],
        n_jobs=jobs,
        random_state=0,
    ).fit(x, y)
    predicted = model.predict_proba(held_out).argmax(axis=1)
    return time.perf_counter() - start, (predicted == truth).mean()


def threads(data, jobs):
    done = [fit(data, -1, job) for job in jobs]
    return {"seconds": sum(seconds for seconds, _ in done), "scores": [score for _, score in done]}


def processes(pool, data, jobs):
    seconds, scores = common.one_process_a_core(pool, functools.partial(fit, data, 1), jobs)
    return {"seconds": seconds, "scores": scores}


def ours(program, folds, candidates, folder):
    points = Path(folder) / "points.json"
    points.write_text(json.dumps(candidates))
    return common.run([program, "forest", folds, points, common.CORES, "--metric", "accuracy", "--budget", TREES])


def alone(program, folds, candidates, folder):
    results = [ours(program, folds, [candidate], folder) for candidate in candidates]
    return {"seconds": sum(result["seconds"] for result in results), "scores": sum((result["scores"] for result in results), [])}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--data", type=Path, default=common.ROOT / "configs" / "data")
    parser.add_argument("--kind", choices=["random_forest", "extra_trees"], default="random_forest")
    arguments = parser.parse_args()
    program = common.build("fit_lanes")
    parts, bars = [], []
    with tempfile.TemporaryDirectory() as folder, joblib.Parallel(n_jobs=common.CORES) as pool:
        for name, x, y in sets(arguments.data):
            data, candidates = split(x, y), draw(arguments.candidates, x.shape[1], arguments.kind)
            jobs = [(candidate, fold) for candidate in candidates for fold in range(len(data))]
            common.write_folds(data, Path(folder) / name)
            processes(pool, data, jobs[:4])
            peers = {
                f"scikit-learn {sklearn.__version__}, n_jobs=-1": lambda: threads(data, jobs),
                f"scikit-learn {sklearn.__version__}, a process a core": lambda: processes(pool, data, jobs),
            }
            mine = {
                "thousandfold": lambda: ours(program, Path(folder) / name, candidates, folder),
                "thousandfold, a candidate a run": lambda: alone(program, Path(folder) / name, candidates, folder),
            }
            turns = common.Turns(mine | peers, dict.fromkeys(mine | peers, len(jobs)), arguments.runs)
            parts += report(name, turns, x, list(mine), list(peers), len(candidates))
            bars += [(f"{name}: {of}", turns.rates(of), of in mine) for of in turns.results]
    title = f"{len(candidates)} {arguments.kind.replace('_', ' ')} candidates x 5 folds, {TREES} trees each"
    plot = common.plot(title, f"forests a second, {common.machine()}", bars, log=True)
    common.write("forest" if arguments.kind == "random_forest" else arguments.kind, "Forests", [f"{title}.", *parts], plot)


def report(name, turns, x, mine, peers, candidates):
    scores = {of: np.ravel(results[0]["scores"]) for of, results in turns.results.items()}
    rates = {of: turns.rates(of) for of in turns.results}
    rows = [[of, *(common.number(rate) for rate in rates[of]), f"{scores[of].mean():.4f}"] for of in rates]
    # Other draws, so other scores: of a candidate and a fold they differ by about 0.004, of the mean by much less.
    difference = scores[mine[0]].mean() - scores[peers[0]].mean()
    assert abs(difference) < 0.004, f"{name}: the mean accuracy differs by {difference:.4f}"
    assert np.array_equal(scores[mine[0]], scores[mine[1]]), "a candidate's score depends on the others"
    fastest = max(peers, key=lambda peer: rates[peer][1])
    return [
        f"## {name}: {x.shape[0]:,} rows, {x.shape[1]} columns, {candidates} candidates\n\n{turns.where()}",
        common.table(["forests/s:", "slowest", "median", "fastest", "mean accuracy"], rows),
        f"scikit-learn with n_jobs=-1 takes **{turns.times_as_fast(mine[0], peers[0]):.1f}** times as long as this program, its "
        f"faster way ({fastest}) **{turns.times_as_fast(mine[0], fastest):.1f}** times. The mean accuracy is "
        f"{difference:+.4f} from scikit-learn's.",
    ]


if __name__ == "__main__":
    main()
