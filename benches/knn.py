"""Times 50 numbers of neighbours x 2 weightings x 5 folds on digits and on letter (20,000 rows): this program and
scikit-learn, in turns.

    python benches/knn.py [--runs 3] [--peer-candidates 100] [--letter letter.csv]

Needs benches/requirements.txt. Without --letter, a CSV of the letter recognition data with its target last, digits alone are
timed. Both get the same standardised folds, the same candidates, and all cores; --peer-candidates lets scikit-learn have an
even choice of them, because its time is theirs one by one. It runs KNeighborsClassifier with its defaults, its fits and predicted probabilities alone are timed, once with n_jobs and once a process a core kept warm by
joblib; the faster counts. This program's time has opening the folds and scoring in it. Checks that log losses are equal but
where ties decide who is a neighbour, and writes benches/results/knn.md and knn.svg. Builds examples/fit_lanes.rs in release
mode.
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
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

POINTS = [{"k": k, "weights": weights, "metric": "euclidean"} for k in range(1, 51) for weights in ("uniform", "distance")]


def folds_of(x, y):
    folds = []
    for train, held_out in StratifiedKFold(5, shuffle=True, random_state=0).split(x, y):
        scaler = StandardScaler().fit(x[train])
        # Both programs get what f32 holds.
        folds.append([(scaler.transform(x[rows]).astype("<f4"), y[rows].astype("<u4")) for rows in (train, held_out)])
    return folds


def load(letter):
    data = {"digits": load_digits(return_X_y=True)}
    if letter:
        table = np.genfromtxt(letter, delimiter=",", skip_header=1, dtype=str)
        data["letter"] = table[:, :-1].astype(float), np.unique(table[:, -1], return_inverse=True)[1]
    return {name: folds_of(*rows) for name, rows in data.items()}


def fit(folds, job, n_jobs=None):
    """One scikit-learn candidate on one fold: its seconds, and its log loss."""
    point, fold = job
    (x, y), (x_held_out, y_held_out) = folds[fold]
    start = time.perf_counter()
    model = KNeighborsClassifier(point["k"], weights=point["weights"], n_jobs=n_jobs).fit(x, y)
    predicted = model.predict_proba(x_held_out)
    seconds = time.perf_counter() - start
    return seconds, log_loss(y_held_out, predicted.astype("<f4"), labels=model.classes_)


def by_process(pool, folds, jobs):
    seconds, losses = common.one_process_a_core(pool, functools.partial(fit, folds), jobs)
    return {"seconds": seconds, "losses": losses}


def by_n_jobs(folds, jobs):
    with threadpool_limits(common.CORES):
        done = [fit(folds, job, common.CORES) for job in jobs]
    return {"seconds": sum(seconds for seconds, _ in done), "losses": [loss for _, loss in done]}


def ours(program, files):
    result = common.run([program, "knn", *files, common.CORES, "--metric", "log_loss"])
    return {"seconds": result["seconds"], "losses": [score for scores in result["scores"] for score in scores]}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peer-candidates", type=int, default=len(POINTS))
    parser.add_argument("--letter", type=Path)
    arguments = parser.parse_args()
    program = common.build("fit_lanes")
    parts, bars = [], []
    with tempfile.TemporaryDirectory() as folder, joblib.Parallel(n_jobs=common.CORES) as pool:
        for name, folds in load(arguments.letter).items():
            files = [Path(folder) / "folds.bin", Path(folder) / "points.json"]
            common.write_folds(folds, files[0])
            files[1].write_text(json.dumps(POINTS))
            # An odd stride meets both weightings alike.
            stride = max(len(POINTS) // arguments.peer_candidates, 1)
            chosen = [at * (stride | 1) % len(POINTS) for at in range(min(arguments.peer_candidates, len(POINTS)))]
            jobs = [(POINTS[at], fold) for at in chosen for fold in range(len(folds))]
            places = [at * len(folds) + fold for at in chosen for fold in range(len(folds))]
            by_process(pool, folds, jobs[:4])
            peers = {
                f"scikit-learn {sklearn.__version__}, a process a core": functools.partial(by_process, pool, folds, jobs),
                f"scikit-learn {sklearn.__version__}, n_jobs": functools.partial(by_n_jobs, folds, jobs),
            }
            part, bar = report(name, places, functools.partial(ours, program, files), peers, arguments.runs)
            parts.append(part)
            bars += bar
    title = "Nearest neighbours, 100 candidates x 5 folds"
    plot = common.plot(title, f"candidates on folds a second, {common.machine()}", bars, log=True)
    common.write("knn", title, parts, plot)


def report(data, places, own, peers, runs):
    name, lanes = "thousandfold", 5 * len(POINTS)
    programs = {name: own} | peers
    turns = common.Turns(programs, dict.fromkeys(programs, len(places)) | {name: lanes}, runs)
    losses = {program: np.array(results[0]["losses"]) for program, results in turns.results.items()}
    losses[name] = losses[name][places]
    fastest = max(peers, key=lambda peer: turns.rates(peer)[1])
    gap = np.abs(losses[name] - losses[fastest]) / losses[fastest]
    # Where the last neighbour is one of several equally near, each program takes its own.
    assert np.median(gap) < 1e-5 and gap.max() < 0.05, f"log losses differ by {np.median(gap):.1e} and up to {gap.max():.1e}"
    rates = {program: turns.rates(program) for program in programs}
    rows = [
        [program, *(f"{rate:,.1f}" for rate in rates[program]), f"{turns.amounts[program]}", f"{losses[program].mean():.5f}"]
        for program in programs
    ]
    times = turns.times_as_fast(name, fastest)
    text = (
        f"**{data}**: k from 1 to 50, both weightings, 5 folds = {lanes} lanes; scikit-learn has {len(places)} of them, and log losses are theirs. {turns.where()}\n\n"
        + common.table(["lanes/s:", "slowest", "median", "fastest", "lanes", "mean log loss"], rows)
        + f"\n\nThe faster scikit-learn takes **{times:,.0f}** times as long (median over neighbouring runs). Half of all log losses differ by less than "
        f"{np.median(gap):.0e} of themselves, none by more than {gap.max():.0e}: there ties decide who is a neighbour."
    )
    return text, [(f"{data}, {program}", rates[program], program == name) for program in programs]


if __name__ == "__main__":
    main()
