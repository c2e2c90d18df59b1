"""Times boosted trees: this program, LightGBM and XGBoost in turns, and compares what they predict.

    python benches/gbdt.py [--runs 3] [--data FOLDER] [--only digits,covtype_60k]

Needs benches/requirements.txt. breast_cancer and digits come with scikit-learn: 50 candidates x 5 folds, 100 trees each.
FOLDER may hold covtype_60k.csv.gz (20 candidates x 3 folds), credit_g.csv and adult.csv.gz, tables with a header and the
class in a column `target`; those that it does not hold are left out. All programs get the same folds and candidates. A
peer runs as is faster for it, tried on a tenth of the candidates: one process a core kept warm by joblib, each with one
thread, or one fit after the other with a thread a core; its time is binning, training and predicting the validation rows.
This program's is opening, binning, training and scoring training and validation rows.

For the table of quality LightGBM and this program get numbers that are binned beforehand, so that both have the same bins,
and 50 random settings without sampling. Writes benches/results/gbdt.md and gbdt.svg. Builds examples/fit_lanes.rs in
release mode.
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
import lightgbm
import numpy as np
import pandas
import xgboost
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import RepeatedStratifiedKFold

# Candidates and folds of a table of times.
SPEED = {"breast_cancer": (50, 5), "digits": (50, 5), "covtype_60k": (20, 3)}
# Rows at most, and repeats of five folds, of a table of quality; a small table's score is noise without repeats.
QUALITY = {"breast_cancer": (None, 8), "credit_g": (None, 2), "adult": (10_000, 1)}
SETTINGS = 50
TREES = 100


def load(name, folder, rows=None):
    """Features with categories as codes, class codes, and how many categories each feature has; `None` without a file."""
    if name in ("breast_cancer", "digits"):
        x, y = {"breast_cancer": load_breast_cancer, "digits": load_digits}[name](return_X_y=True)
        return x.astype("f4"), y.astype("u4"), [0] * x.shape[1]
    files = [folder / f"{name}{end}" for end in (".csv", ".csv.gz")] if folder else []
    file = next((file for file in files if file.exists()), None)
    if file is None:
        return None
    table = pandas.read_csv(file)
    if rows:
        table = table.sample(rows, random_state=0).reset_index(drop=True)
    y = pandas.factorize(table.pop("target"), sort=True)[0].astype("u4")
    columns, levels = [], []
    for column in table:
        if pandas.api.types.is_numeric_dtype(table[column]):
            columns.append(table[column].to_numpy("f4"))
            levels.append(0)
        else:
            codes, names = pandas.factorize(table[column], sort=True)
            columns.append(np.where(codes < 0, np.nan, codes).astype("f4"))
            levels.append(len(names))
    return np.stack(columns, axis=1), y, levels


def bin_numbers(x, levels, most=254):
    """Numbers become the index of their value, or of a quantile where there are too many values."""
    x = x.copy()
    for column in np.flatnonzero(np.array(levels) == 0):
        known = ~np.isnan(x[:, column])
        values = x[known, column]
        cuts = np.unique(values)
        if len(cuts) > most:
            cuts = np.unique(np.quantile(values, np.linspace(0, 1, most + 1)[1:-1], method="lower"))
        x[known, column] = np.searchsorted(cuts, values)
    return x


def split(x, y, folds, repeats=1):
    parts = RepeatedStratifiedKFold(n_splits=folds, n_repeats=repeats, random_state=0).split(x, y)
    return [[(x[rows], y[rows]) for rows in part] for part in parts]


def draw(count):
    """Candidates all over the default space, but for sampling."""
    random = np.random.default_rng(0)
    log = lambda low, high: float(np.exp(random.uniform(np.log(low), np.log(high))))
    return [
        {
            "trees": TREES, "growth": "leaf_wise", "learning_rate": log(0.02, 0.3), "leaves": int(log(4, 64)),
            "min_leaf": int(log(1, 60)), "min_child_weight": log(1e-3, 5), "l2": log(1e-3, 30),
            "l1": float(random.choice([0, 0, random.uniform()])),
        }  # fmt: skip
        for _ in range(count)
    ]


def log_loss(predicted, y):
    predicted = np.asarray(predicted, "f8")
    if predicted.ndim == 1:
        predicted = np.stack([1 - predicted, predicted], axis=1)
    return float(-np.log(np.maximum(predicted[np.arange(len(y)), y], 1e-15)).mean())


def fit_lightgbm(folds, levels, threads, more, job):
    warnings.filterwarnings("ignore")
    point, fold = job
    (x, y), (x_held, y_held) = folds[fold]
    classes = int(y.max()) + 1
    settings = {
        "objective": "binary" if classes == 2 else "multiclass", "num_leaves": point["leaves"],
        "learning_rate": point["learning_rate"], "min_data_in_leaf": point["min_leaf"],
        "min_sum_hessian_in_leaf": point["min_child_weight"], "lambda_l1": point["l1"], "lambda_l2": point["l2"],
        "num_threads": threads, "verbosity": -1, "force_col_wise": True, **more,
    }  # fmt: skip
    if classes > 2:
        settings["num_class"] = classes
    start = time.perf_counter()
    categories = np.flatnonzero(levels).tolist()
    model = lightgbm.train(settings, lightgbm.Dataset(x, y, categorical_feature=categories), point["trees"])
    predicted = model.predict(x_held, num_threads=threads)
    return time.perf_counter() - start, log_loss(predicted, y_held)


def fit_xgboost(folds, levels, threads, more, job):
    point, fold = job
    (x, y), (x_held, y_held) = folds[fold]
    classes = int(y.max()) + 1
    settings = {
        "objective": "binary:logistic" if classes == 2 else "multi:softprob", "tree_method": "hist",
        "grow_policy": "lossguide", "max_leaves": point["leaves"], "max_depth": 0, "eta": point["learning_rate"],
        "min_child_weight": point["min_child_weight"], "alpha": point["l1"], "lambda": point["l2"], "max_bin": 255,
        "nthread": threads, "verbosity": 0, **more,
    }  # fmt: skip
    if classes > 2:
        settings["num_class"] = classes
    start = time.perf_counter()
    model = xgboost.train(settings, xgboost.QuantileDMatrix(x, y, nthread=threads, max_bin=255), point["trees"])
    predicted = model.inplace_predict(x_held)
    return time.perf_counter() - start, log_loss(predicted, y_held)


def by_processes(pool, fit, folds, levels, more, points):
    jobs = [(point, fold) for point in points for fold in range(len(folds))]
    seconds, losses = common.one_process_a_core(pool, functools.partial(fit, folds, levels, 1, more), jobs)
    return {"seconds": seconds, "scores": np.array(losses).reshape(len(points), -1)}


def by_threads(fit, folds, levels, more, points):
    jobs = [(point, fold) for point in points for fold in range(len(folds))]
    done = [fit(folds, levels, common.CORES, more, job) for job in jobs]
    losses = np.array([loss for _, loss in done]).reshape(len(points), -1)
    return {"seconds": sum(seconds for seconds, _ in done), "scores": losses}


def faster(pool, fit, folds, levels, points):
    """How a peer is run, and what that is called: the faster on a tenth of the candidates."""
    ways = {
        "a process a core": functools.partial(by_processes, pool, fit, folds, levels, {}),
        "a thread a core": functools.partial(by_threads, fit, folds, levels, {}),
    }
    some = points[: max(2, len(points) // 10)]
    by_processes(pool, fit, folds, levels, {}, some[:1])
    seconds = {name: way(some)["seconds"] for name, way in ways.items()}
    name = min(seconds, key=seconds.get)
    return name, functools.partial(ways[name], points)


def ours(program, folder, folds, levels, points):
    files = [Path(folder) / "folds.bin", Path(folder) / "points.json"]
    common.write_folds(folds, files[0], levels=levels)
    files[1].write_text(json.dumps(points))
    command = [program, "gbdt", *files, common.CORES, "--metric", "log_loss"]
    return lambda: common.run(command)


def time_table(name, program, pool, folder, data, runs):
    """A table of times as Markdown, and its bars."""
    (x, y, levels), (count, k) = data, SPEED[name]
    folds, points = split(x, y, k), draw(count)
    programs = {"thousandfold": ours(program, folder, folds, levels, points)}
    peers = {f"LightGBM {lightgbm.__version__}": fit_lightgbm, f"XGBoost {xgboost.__version__} hist": fit_xgboost}
    for peer, fit in peers.items():
        way, call = faster(pool, fit, folds, levels, points)
        programs[f"{peer}, {way}"] = call
    turns = common.Turns(programs, dict.fromkeys(programs, count * k), runs)
    losses = {name: np.mean(results[0]["scores"]) for name, results in turns.results.items()}
    rates = {name: turns.rates(name) for name in programs}
    times = {name: "" if name == "thousandfold" else f"{turns.times_as_fast('thousandfold', name):.1f}" for name in rates}
    rows = [[name, *(f"{rate:,.1f}" for rate in rates[name]), times[name], f"{losses[name]:.4f}"] for name in rates]
    header = ["fits/s:", "slowest", "median", "fastest", "thousandfold is so many times as fast", "mean log loss"]
    text = (
        f"{name}, {len(y):,} rows, {x.shape[1]} features, {int(y.max()) + 1} classes: {count} candidates x {k} folds, "
        f"{TREES} trees. {turns.where()}\n\n{common.table(header, rows)}"
    )
    return text, [(f"{name}: {program.split(',')[0]}", rates[program], program == "thousandfold") for program in rates]


def quality_row(name, program, pool, folder, data):
    (x, y, levels), points = data, draw(SETTINGS)
    folds = split(bin_numbers(x, levels), y, 5, QUALITY[name][1])
    own = np.array(ours(program, folder, folds, levels, points)()["scores"]).mean(axis=1)
    same_bins = {"max_bin": 300, "min_data_in_bin": 1, "enable_bundle": False, "feature_pre_filter": False}
    peer = by_processes(pool, fit_lightgbm, folds, levels, same_bins, points)["scores"].mean(axis=1)
    share = own / peer - 1
    numbers = [own.mean(), peer.mean()]
    shares = [own.mean() / peer.mean() - 1, share.max(), share.min()]
    print(name, numbers, shares, flush=True)
    return [name, str(len(folds)), *(f"{n:.5f}" for n in numbers), *(f"{100 * s:+.2f} %" for s in shares)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--only", type=lambda names: names.split(","), default=[*SPEED, *QUALITY])
    arguments = parser.parse_args()
    program = common.build("fit_lanes")
    parts, bars, rows = [], [], []
    with tempfile.TemporaryDirectory() as folder, joblib.Parallel(n_jobs=common.CORES) as pool:
        for name in (name for name in SPEED if name in arguments.only):
            if data := load(name, arguments.data):
                text, own = time_table(name, program, pool, folder, data, arguments.runs)
                parts.append(text)
                bars += own
        for name in (name for name in QUALITY if name in arguments.only):
            if data := load(name, arguments.data, QUALITY[name][0]):
                rows.append(quality_row(name, program, pool, folder, data))
    header = ["mean validation log loss of:", "fits a setting", "thousandfold", "LightGBM", "of the means", "worst setting", "best"]
    parts.append(
        f"{SETTINGS} random settings on the same bins; the last three columns say how far this program is above LightGBM. "
        "Both grow the same trees but for splits that are equally good, of which LightGBM's rounding and this program's "
        f"order of columns choose differently.\n\n{common.table(header, rows)}"
    )
    plot = common.plot("Boosted trees", f"fits a second, {common.machine()}", bars, log=True)
    common.write("gbdt", "Boosted trees", parts, plot)


if __name__ == "__main__":
    main()
