"""Times 200 penalties x 5 folds of softmax regression on digits: this program and scikit-learn, in turns.

    python benches/logistic.py [--runs 5] [--penalties 200]

Needs benches/requirements.txt. Both get the same standardised folds and the same penalties, and one thread or process a core.
scikit-learn runs LogisticRegression with its defaults (lbfgs, tol 1e-4) but for max_iter, so that it stops by its
tolerance, one process a core kept warm by joblib; only its fits are timed. This program runs twice: with a `tolerance`
at which it reaches the same loss, and solved to convergence as it does unasked. Its time includes opening the folds,
their paths of solutions, and scoring every lane on its training and validation rows. Checks the objectives of both, and
writes benches/results/logistic.md and logistic.svg. Builds examples/fit_softmax.rs in release mode.
"""

import argparse
import functools
import tempfile
import time
import warnings
from pathlib import Path

import common

common.one_thread_a_process()

import joblib
import numpy as np
import sklearn
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

# On a mean gradient, as scikit-learn's tol; at this one no objective is above what scikit-learn's default reaches.
TOLERANCE = "3e-5"


def prepare():
    x, y = load_digits(return_X_y=True)
    folds = []
    for train, held_out in StratifiedKFold(5, shuffle=True, random_state=0).split(x, y):
        scaler = StandardScaler().fit(x[train])
        # Both programs get what f32 holds.
        folds.append([(scaler.transform(x[rows]).astype("<f4"), y[rows].astype("<u4")) for rows in (train, held_out)])
    return folds


def fit(data, job):
    """One scikit-learn fit: its seconds, and its objective."""
    warnings.filterwarnings("ignore")
    penalty, fold = job
    x, y = data[fold]
    start = time.perf_counter()
    model = LogisticRegression(C=1 / penalty, max_iter=10_000).fit(x, y)
    seconds = time.perf_counter() - start
    logits = model.decision_function(x)
    loss = (np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(y)), y]).sum()
    return seconds, loss + 0.5 * penalty * (model.coef_**2).sum()


def scikit_learn(pool, folds, penalties):
    data = [(fold[0][0].astype(np.float64), fold[0][1]) for fold in folds]
    jobs = [(penalty, fold) for penalty in penalties for fold in range(len(folds))]
    seconds, objectives = common.one_process_a_core(pool, functools.partial(fit, data), jobs)
    return {"seconds": seconds, "objectives": objectives}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--penalties", type=int, default=200)
    arguments = parser.parse_args()
    program = common.build("fit_softmax")
    folds, penalties = prepare(), np.logspace(-4, 4, arguments.penalties)
    with tempfile.TemporaryDirectory() as folder, joblib.Parallel(n_jobs=common.CORES) as pool:
        files = [Path(folder) / "folds.bin", Path(folder) / "penalties.bin"]
        common.write_folds(folds, files[0])
        files[1].write_bytes(penalties.astype("<f8").tobytes())
        scikit_learn(pool, folds, penalties[:4])
        ours = {
            f"thousandfold, tolerance {TOLERANCE}": TOLERANCE,
            "thousandfold, to convergence": "0",
        }
        programs = {
            name: functools.partial(common.run, [program, *files, common.CORES, tolerance])
            for name, tolerance in ours.items()
        }
        peer = f"scikit-learn {sklearn.__version__}, a process a core"
        programs[peer] = lambda: scikit_learn(pool, folds, penalties)
        turns = common.Turns(programs, dict.fromkeys(programs, len(penalties) * len(folds)), arguments.runs)
    report(turns, list(ours), peer, len(penalties), len(folds))


def report(turns, ours, peer, penalties, folds):
    lanes = penalties * folds
    objectives = {name: np.array(results[0]["objectives"]) for name, results in turns.results.items()}
    for name in ours:
        excess = ((objectives[name] - objectives[peer]) / objectives[peer]).max()
        assert excess < 1e-6, f"{name}: an objective is {excess:.1e} above scikit-learn's"
        converged = turns.results[name][0]["converged"]
        assert converged == lanes, f"{name}: {lanes - converged} lanes did not converge"
    rates = {name: turns.rates(name) for name in turns.results}
    rows = [[name, *(f"{rate:,.0f}" for rate in rates[name]), f"{objectives[name].mean():.3f}"] for name in rates]
    parts = [
        f"Digits, {penalties} penalties from 1e-4 to 1e4 x {folds} folds = {lanes:,} fits. {turns.where()}",
        common.table(["fits/s:", "slowest", "median", "fastest", "mean objective"], rows),
        f"To the same loss scikit-learn takes **{turns.times_as_fast(ours[0], peer):.1f}** times as long, and "
        f"**{turns.times_as_fast(ours[1], peer):.1f}** times as long as this program to convergence (medians over neighbouring "
        f"runs). An objective is the summed log loss with the penalty; no one of the {lanes:,} is above scikit-learn's by more "
        "than 1e-6 of it. scikit-learn's time is its fits alone; this program's has scoring in it too.",
    ]
    bars = [(name, rates[name], name in ours) for name in rates]
    plot = common.plot(f"Softmax regression on digits, {lanes:,} fits", f"fits a second, {common.machine()}", bars)
    common.write("logistic", "Softmax regression", parts, plot)


if __name__ == "__main__":
    main()
