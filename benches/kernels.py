"""Times kernel models against scikit-learn's, in turns: 100 candidates x 5 folds of SVM on digits, and 5 kernel widths x 100 penalties
x 5 folds of kernel ridge on a table of numbers.

    python benches/kernels.py [--runs 3] [--svm 100] [--table concrete.csv]

Needs benches/requirements.txt. `--table` is a CSV file whose last column is the number to predict; by default
configs/data/diabetes.csv. Both programs get the same standardised folds and the same candidates, and one thread or process a core:
scikit-learn's SVC and KernelRidge (a LIBSVM of its own, LAPACK's Cholesky) with their defaults, a process a core kept warm by
joblib; its fits and its predictions of the held-out rows are timed. This program's time has opening the folds and scoring every lane on its
training rows too. Checks accuracies and errors of both, and writes benches/results/kernels.md and kernels.svg. Builds
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
from sklearn.kernel_ridge import KernelRidge
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

PEER = f"scikit-learn {sklearn.__version__}, a process a core"
OURS = "thousandfold"


def folds_of(x, y, splits):
    folds = []
    for train, held_out in splits.split(x, y):
        scaler = StandardScaler().fit(x[train])
        # Both programs get what f32 holds; numbers are centred and scaled by the training rows.
        shift, scale = (0, 1) if y.dtype.kind in "iu" else (y[train].mean(), y[train].std())
        target = y.astype("<u4") if y.dtype.kind in "iu" else ((y - shift) / scale).astype("<f4")
        folds.append([(scaler.transform(x[rows]).astype("<f4"), target[rows]) for rows in (train, held_out)])
    return folds


def fit_svc(data, job):
    """One scikit-learn fit and its predictions: its seconds, and its accuracy."""
    point, fold = job
    (x, y), (held_out, truth) = data[fold]
    start = time.perf_counter()
    predicted = SVC(C=point["C"], gamma=point["gamma"]).fit(x, y).predict(held_out)
    return time.perf_counter() - start, (predicted == truth).mean()


def fit_ridge(data, job):
    """One scikit-learn fit and its predictions: its seconds, and its root mean squared error."""
    point, fold = job
    (x, y), (held_out, truth) = data[fold]
    start = time.perf_counter()
    predicted = KernelRidge(alpha=point["l2"], kernel="rbf", gamma=point["gamma"]).fit(x, y).predict(held_out)
    return time.perf_counter() - start, np.sqrt(((predicted - truth) ** 2).mean())


def scikit_learn(pool, fit, folds, points):
    data = [[(x.astype(np.float64), y if y.dtype.kind == "u" else y.astype(np.float64)) for x, y in fold] for fold in folds]
    jobs = [(point, fold) for point in points for fold in range(len(folds))]
    seconds, scores = common.one_process_a_core(pool, functools.partial(fit, data), jobs)
    return {"seconds": seconds, "scores": np.array(scores).reshape(len(points), len(folds)).tolist()}


def race(pool, program, model, metric, fit, folds, points, runs):
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "folds.bin", Path(folder) / "points.json"]
        common.write_folds(folds, files[0])
        files[1].write_text(json.dumps(points))
        command = [program, model, *files, common.CORES, "--metric", metric]
        scikit_learn(pool, fit, folds, points[:2])
        programs = {OURS: lambda: common.run(command), PEER: lambda: scikit_learn(pool, fit, folds, points)}
        return common.Turns(programs, dict.fromkeys(programs, len(points) * len(folds)), runs)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--svm", type=int, default=100)
    parser.add_argument("--table", type=Path, default=common.ROOT / "configs" / "data" / "diabetes.csv")
    arguments = parser.parse_args()
    program = common.build("fit_lanes")
    draw = np.random.default_rng(1)
    machines = [
        {"kernel": "rbf", "C": float(10 ** draw.uniform(-2, 3)), "gamma": float(10 ** draw.uniform(-4, 0))}
        for _ in range(arguments.svm)
    ]
    ridges = [
        {"kernel": "rbf", "gamma": gamma, "l2": float(l2)}
        for gamma in [0.01, 0.03, 0.1, 0.3, 1.0]
        for l2 in np.logspace(-4, 2, 100)
    ]
    table = np.loadtxt(arguments.table, delimiter=",", skiprows=1)
    digits = folds_of(*load_digits(return_X_y=True), StratifiedKFold(5, shuffle=True, random_state=0))
    numbers = folds_of(table[:, :-1], table[:, -1], KFold(5, shuffle=True, random_state=0))
    with joblib.Parallel(n_jobs=common.CORES) as pool:
        svm = race(pool, program, "svm", "accuracy", fit_svc, digits, machines, arguments.runs)
        ridge = race(pool, program, "kernel_ridge", "rmse", fit_ridge, numbers, ridges, arguments.runs)
    report(svm, ridge, arguments.table.stem)


def report(svm, ridge, table):
    races = [(svm, "SVM, digits", "accuracy"), (ridge, f"kernel ridge, {table}", "RMSE of the scaled target")]
    rows, bars, sentences = [], [], []
    for turns, title, metric in races:
        scores = {name: np.array(results[0]["scores"]) for name, results in turns.results.items()}
        furthest = np.abs(scores[OURS] - scores[PEER]).max()
        # An accuracy is of 360 rows, of which one may lie on a border; an error is a mean of squares in f32.
        limit = 1.5 / 360 if turns is svm else 1e-4
        assert furthest < limit, f"{title}: a score is {furthest:.1e} away from scikit-learn's"
        capped = turns.results[OURS][0]["capped"] + turns.results[OURS][0]["not_finite"]
        assert capped == 0, f"{title}: {capped} lanes were capped or failed"
        for name in turns.results:
            rates = turns.rates(name)
            rows.append([f"{title}: {name}", *(f"{rate:,.1f}" for rate in rates), f"{scores[name].mean():.4f}"])
            bars.append((f"{title}: {name}", rates, name == OURS))
        sentences.append(
            f"{title}: **{turns.times_as_fast(OURS, PEER):.0f}** times as fast as scikit-learn (median over neighbouring runs); of "
            f"{scores[OURS].size:,} scores ({metric}) the furthest is {furthest:.1e} away."
        )
    parts = [
        "100 random candidates (C from 0.01 to 1000, gamma from 1e-4 to 1) x 5 folds of an SVM with an rbf kernel, and 5 widths x "
        f"100 penalties x 5 folds of kernel ridge with one. {svm.where()}",
        common.table(["fits/s:", "slowest", "median", "fastest", "mean score"], rows),
        *sentences,
        "scikit-learn's time is its fits and its predictions of the held-out rows; this program's has scoring of the training rows in "
        "it too.",
    ]
    plot = common.plot("Kernel models", f"fits a second, {common.machine()}", bars, log=True)
    common.write("kernels", "Kernel models", parts, plot)


if __name__ == "__main__":
    main()
