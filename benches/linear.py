"""Times ridge and elastic nets: this program and scikit-learn, in turns.

    python benches/linear.py [--runs 5] [--data FOLDER]

Needs benches/requirements.txt, and in FOLDER (default: shared/data) diabetes.csv, california_housing.csv.gz and wine_quality.csv.
Both get the same standardised folds, and one thread or process a core.

Ridge: 1,000 penalties. This program trains each on 5 folds and scores it on their training and validation rows.
scikit-learn's RidgeCV(alphas) takes its own shortcut, leave-one-out errors from one factorisation of all rows;
GridSearchCV fits every tenth penalty on the same 5 folds, all cores by a warm joblib: its time is theirs one by one.
Elastic net: 200 candidates x 5 folds. scikit-learn runs ElasticNet with its default tolerance, a process a core kept warm by
joblib; only its fits are timed, with and without its precomputed Gram matrix. This program's time has the folds' sums,
convergence to 1e-9 and scoring in it.
Checks the scores of GridSearchCV and the objectives of ElasticNet, and writes benches/results/linear.md and linear.svg.
Builds examples/fit_lanes.rs in release mode.
"""

import argparse
import functools
import json
import tempfile
import time
import warnings
from pathlib import Path

import common

common.one_thread_a_process()

import joblib
import numpy as np
import pandas as pd
import sklearn
from sklearn.linear_model import ElasticNet, Ridge, RidgeCV
from sklearn.model_selection import GridSearchCV, KFold

FOLDS = 5
PENALTIES = np.logspace(-4, 4, 1000)
SEARCHED = slice(None, None, 10)
NETS = [(float(alpha), float(ratio)) for alpha in np.logspace(-4, 0, 20) for ratio in np.linspace(0.1, 1, 10)]
RMSE = "neg_root_mean_squared_error"


def load(folder, name):
    """Standardised features as f32 holds them, the target, and the folds' rows."""
    table = pd.read_csv(next(Path(folder).glob(f"{name}.csv*")))
    y = table.pop("target").to_numpy(float).astype("<f4").astype(float)
    x = pd.get_dummies(table.fillna(table.median(numeric_only=True)), drop_first=True).to_numpy(float)
    x = ((x - x.mean(axis=0)) / x.std(axis=0)).astype("<f4").astype(float)
    return x, y, list(KFold(FOLDS, shuffle=True, random_state=0).split(x))


def ours(program, folder, name, model, data, points, is_scaled):
    """This program's run, as a function."""
    x, y, folds = data
    file, candidates = Path(folder) / f"{model}_{name}.bin", Path(folder) / f"{model}.json"
    common.write_folds([[(x[rows], y[rows]) for rows in fold] for fold in folds], file, is_scaled=is_scaled)
    candidates.write_text(json.dumps(points))
    return lambda *more: common.run([program, model, file, candidates, common.CORES, *more])


def timed(work):
    start = time.perf_counter()
    result = work()
    return {"seconds": time.perf_counter() - start, "result": result}


def grid_search(x, y, folds):
    penalties = {"alpha": PENALTIES[SEARCHED]}
    search = GridSearchCV(Ridge(), penalties, cv=folds, scoring=RMSE, n_jobs=common.CORES, refit=False)
    return search.fit(x, y).cv_results_


def scaled(y, train):
    """As a study scales a target: by the training rows, in f32."""
    shift, scale = np.float32(y[train].mean()), np.float32(y[train].std())
    return (y[train] - float(shift)) / float(scale)


def objective(x, y, weight, intercept, alpha, ratio):
    error = y - x @ weight - intercept
    return error @ error / (2 * len(y)) + alpha * (ratio * abs(weight).sum() + (1 - ratio) / 2 * (weight @ weight))


def fit_net(data, precompute, job):
    """One scikit-learn fit: its seconds, and its objective."""
    warnings.filterwarnings("ignore")
    (alpha, ratio), fold = job
    x, y = data[fold]
    start = time.perf_counter()
    model = ElasticNet(alpha=alpha, l1_ratio=ratio, max_iter=10_000, precompute=precompute).fit(x, y)
    seconds = time.perf_counter() - start
    return seconds, objective(x, y, model.coef_, model.intercept_, alpha, ratio)


def scikit_learn_nets(pool, data, precompute):
    jobs = [(net, fold) for net in NETS for fold in range(FOLDS)]
    seconds, objectives = common.one_process_a_core(pool, functools.partial(fit_net, data, precompute), jobs)
    return {"seconds": seconds, "objectives": np.array(objectives)}


def bench_ridge(program, folder, name, data, runs):
    x, y, folds = data
    train = ours(program, folder, name, "ridge", data, [{"l2": float(l2)} for l2 in PENALTIES], True)
    programs = {"thousandfold": train, "RidgeCV": lambda: timed(lambda: RidgeCV(PENALTIES).fit(x, y))}
    programs["GridSearchCV"] = lambda: timed(lambda: grid_search(x, y, folds))
    programs["GridSearchCV"]()
    amounts = dict.fromkeys(programs, len(PENALTIES)) | {"GridSearchCV": len(PENALTIES[SEARCHED])}
    turns = common.Turns(programs, amounts, runs)
    searched = turns.results["GridSearchCV"][0]["result"]
    truth = -np.array([searched[f"split{fold}_test_score"] for fold in range(FOLDS)]).T
    gap = abs(np.array(turns.results["thousandfold"][0]["scores"])[SEARCHED] / truth - 1).max()
    assert gap < 1e-5, f"ridge on {name}: a score differs from GridSearchCV's by {gap:.1e}"
    fastest, slower = (turns.times_as_fast("thousandfold", peer) for peer in ("RidgeCV", "GridSearchCV"))
    rates = {key: turns.rates(key) for key in programs}
    note = f"RidgeCV takes **{fastest:.1f}** times as long, GridSearchCV **{slower:,.0f}** times; no score differs from GridSearchCV's by more than {gap:.0e} of it"
    return turns, rates, note


def bench_nets(program, folder, name, data, runs, pool):
    x, y, folds = data
    points = [{"alpha": alpha, "l1_ratio": ratio} for alpha, ratio in NETS]
    train = ours(program, folder, name, "elastic_net", data, points, True)
    rows = [(x[train_rows], scaled(y, train_rows)) for train_rows, _ in folds]
    programs = {
        "thousandfold": train,
        "ElasticNet": lambda: scikit_learn_nets(pool, rows, False),
        "ElasticNet, precomputed": lambda: scikit_learn_nets(pool, rows, True),
    }
    scikit_learn_nets(pool, rows, False)
    turns = common.Turns(programs, dict.fromkeys(programs, len(NETS) * FOLDS), runs)
    trained = train("--weights")
    assert trained["capped"] == 0, f"{trained['capped']} lanes did not converge"
    own = [
        objective(*rows[i % FOLDS], np.array(lane["weight"]), lane["intercept"][0], *NETS[i // FOLDS])
        for i, lane in enumerate(trained["weights"])
    ]
    excess = max(((np.array(own) - turns.results[peer][0]["objectives"]) / turns.results[peer][0]["objectives"]).max() for peer in programs if peer != "thousandfold")
    assert excess < 1e-6, f"elastic net on {name}: an objective is {excess:.1e} above scikit-learn's"
    times = {peer: turns.times_as_fast("thousandfold", peer) for peer in programs if peer != "thousandfold"}
    note = f"ElasticNet takes **{times['ElasticNet']:.0f}** times as long, with its Gram matrix precomputed **{times['ElasticNet, precomputed']:.0f}** times; no objective is above scikit-learn's by more than {max(excess, 0):.0e} of it; mean iterations {trained['mean_used']:.1f}"
    return turns, {key: turns.rates(key) for key in programs}, note


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--data", default=common.ROOT / "shared" / "data")
    arguments = parser.parse_args()
    program = common.build("fit_lanes")
    found = {}
    with tempfile.TemporaryDirectory() as folder, joblib.Parallel(n_jobs=common.CORES) as pool:
        for name in ["diabetes", "california_housing"]:
            found[f"ridge, {name}"] = bench_ridge(program, folder, name, load(arguments.data, name), arguments.runs)
        for name in ["diabetes", "wine_quality"]:
            data = load(arguments.data, name)
            found[f"elastic net, {name}"] = bench_nets(program, folder, name, data, arguments.runs, pool)
    report(found)


def report(found):
    where = next(iter(found.values()))[0].where()
    rows = [
        [f"{job}: {key}", *(f"{rate:,.0f}" for rate in rates)]
        for job, (_, all_rates, _) in found.items()
        for key, rates in all_rates.items()
    ]
    parts = [
        f"Ridge: {len(PENALTIES):,} penalties from 1e-4 to 1e4, on {FOLDS} folds but for RidgeCV, which leaves one row out at a time; a "
        f"penalty counts once. Elastic net: {len(NETS)} candidates x {FOLDS} folds, a fit each. scikit-learn {sklearn.__version__}. {where}",
        common.table(["penalties or fits a second:", "slowest", "median", "fastest"], rows),
        "\n".join(f"- {job}: {note}." for job, (_, _, note) in found.items()),
        "Medians over neighbouring runs. This program's time has the folds' factorisations or sums in it, and the scores of every "
        "lane on its training and validation rows; scikit-learn's ElasticNet is timed by its fits alone.",
    ]
    bars = [
        (f"{job}: {key}", rates, key == "thousandfold")
        for job, (_, all_rates, _) in found.items()
        for key, rates in all_rates.items()
    ]
    plot = common.plot("Ridge and elastic nets", f"penalties or fits a second, {common.machine()}", bars, log=True)
    common.write("linear", "Ridge and elastic nets", parts, plot)


if __name__ == "__main__":
    main()
