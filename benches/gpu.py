"""Times this program on a GPU against XGBoost's own GPU trainer and scikit-learn on all cores, in turns.

    python benches/gpu.py [--device any] [--runs 3] [--candidates 50] [--data FOLDER]

Needs benches/requirements.txt, and for XGBoost's half a GPU that CUDA reaches. Boosted trees: candidates x 5 folds of 100 trees on
breast_cancer and digits, and on 50,000 rows of covtype_60k.csv.gz where FOLDER holds it; XGBoost fits one after another with
device="cuda". SVM on digits, kernel ridge on configs/data/diabetes.csv and nearest neighbours on digits as in kernels.py and knn.py:
scikit-learn a process a core. This program's time has opening the folds on the device and scoring in it, its shaders' compilation too. It
also runs on the processor, so that the table says what the GPU is worth. Checks that scores of both are alike, and writes
benches/results/gpu.md and gpu.svg, with the adapter's name. Without a hardware GPU it says that nothing was measured; a software
adapter can be named to see the script work, and its figures are printed and not written. Builds examples/fit_lanes.rs in
release mode.
"""

import argparse
import itertools
import json
import subprocess
import tempfile
from pathlib import Path

import common

common.one_thread_a_process()

import gbdt
import joblib
import kernels
import knn
import numpy as np
import sklearn
import xgboost
from sklearn.datasets import load_digits
from sklearn.model_selection import KFold, StratifiedKFold

OURS, OURS_CPU = "thousandfold, GPU", "thousandfold, processor"
XGBOOST = f"XGBoost {xgboost.__version__}, device=cuda, one fit after another"
SCIKIT_LEARN = f"scikit-learn {sklearn.__version__}, a process a core"
NOT_MEASURED = (
    "**Not measured yet: no hardware GPU was at hand.** Every shader runs in the tests on a software adapter, which says "
    "nothing of speed. On a machine with a GPU\n\n```\npython benches/gpu.py --data FOLDER\n```\n\nwrites the figures here."
)


def adapter(program, name):
    """The adapter that a device's name finds, and whether it is the processor; `None` where there is none."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "folds.bin"
        x, y = np.eye(8, dtype="f4"), np.arange(8) % 2
        common.write_folds([[(x, y), (x, y)]], file)
        command = [str(word) for word in [program, "ridge", file, 1, 1, "--device", name]]
        done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr.strip(), flush=True)
        return None
    result = json.loads(done.stdout)
    return result["device"], result["is_software"]


def own(program, model, folds, points, metric, folder, more, levels=None):
    """This program's run on some folds, as a function."""
    files = [Path(folder) / f"{model}.bin", Path(folder) / f"{model}.json"]
    common.write_folds(folds, files[0], levels=levels)
    files[1].write_text(json.dumps(points))
    return lambda: common.run([program, model, *files, common.CORES, "--metric", metric, *more])


def has_cuda():
    """Whether XGBoost trains on a GPU here: where it finds none, it warns and takes the processor."""
    settings = {"device": "cuda", "tree_method": "hist", "verbosity": 0}
    try:
        trained = xgboost.train(settings, xgboost.QuantileDMatrix(np.eye(8), np.arange(8.0)), 1)
    except xgboost.core.XGBoostError as error:
        print(f"XGBoost: {error}", flush=True)
        return False
    return json.loads(trained.save_config())["learner"]["generic_param"]["device"].startswith("cuda")


def boosted(program, device, folder, candidates, data):
    """Races of boosted trees: title, programs, fits, tolerance of the mean score."""
    sets = {name: gbdt.load(name, data) for name in ["breast_cancer", "digits"]}
    if table := gbdt.load("covtype_60k", data, rows=50_000):
        sets["covtype, 50,000 rows"] = table
    cuda = has_cuda()
    for name, (x, y, levels) in sets.items():
        folds, points = gbdt.split(x, y, 5), gbdt.draw(candidates)
        at = Path(folder) / name.split(",")[0]
        at.mkdir()
        run = lambda *more: own(program, "gbdt", folds, points, "log_loss", at, more, levels)
        programs = {OURS: run("--device", device), OURS_CPU: run()}
        if cuda:
            programs[XGBOOST] = lambda: gbdt.by_threads(gbdt.fit_xgboost, folds, levels, {"device": "cuda"}, points)
        # XGBoost bins otherwise, and grows other trees for it.
        yield f"gbdt, {name}", programs, len(points) * 5, 0.3


def compared(program, pool, device, folder, candidates):
    """Races of models that compare rows."""
    draw = np.random.default_rng(1)
    digits = load_digits(return_X_y=True)
    table = np.loadtxt(common.ROOT / "configs" / "data" / "diabetes.csv", delimiter=",", skiprows=1)
    standardised = kernels.folds_of(*digits, StratifiedKFold(5, shuffle=True, random_state=0))
    numbers = kernels.folds_of(table[:, :-1], table[:, -1], KFold(5, shuffle=True, random_state=0))
    machines = [
        {"kernel": "rbf", "C": float(10 ** draw.uniform(-2, 3)), "gamma": float(10 ** draw.uniform(-4, 0))}
        for _ in range(candidates)
    ]
    penalties = np.logspace(-4, 2, max(candidates // 5, 1))
    ridges = [{"kernel": "rbf", "gamma": g, "l2": float(l2)} for g in [0.01, 0.03, 0.1, 0.3, 1.0] for l2 in penalties]
    for model, title, metric, fit, folds, points in [
        ("svm", "svm, digits", "accuracy", kernels.fit_svc, standardised, machines),
        ("kernel_ridge", "kernel_ridge, diabetes", "rmse", kernels.fit_ridge, numbers, ridges),
        ("knn", "knn, digits", "log_loss", knn.fit, knn.folds_of(*digits), knn.POINTS),
    ]:
        run = lambda *more: own(program, model, folds, points, metric, folder, more)
        if model == "knn":
            jobs = [(point, fold) for point in points for fold in range(len(folds))]
            peer = lambda: {"seconds": (done := knn.by_process(pool, folds, jobs))["seconds"], "scores": done["losses"]}
        else:
            peer = lambda: kernels.scikit_learn(pool, fit, folds, points)
        programs = {OURS: run("--device", device), OURS_CPU: run(), SCIKIT_LEARN: peer}
        yield title, programs, len(points) * len(folds), 1e-2


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="any")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=50)
    parser.add_argument("--data", type=Path)
    arguments = parser.parse_args()
    program = common.build("fit_lanes")
    found = adapter(program, arguments.device)
    if found is None:
        print(NOT_MEASURED)
        return
    device, is_software = found
    rows, bars = [], []
    with tempfile.TemporaryDirectory() as folder, joblib.Parallel(n_jobs=common.CORES) as pool:
        # One after another: what a race runs is made when it is its turn.
        races = itertools.chain(
            boosted(program, arguments.device, folder, arguments.candidates, arguments.data),
            compared(program, pool, arguments.device, folder, arguments.candidates),
        )
        for title, programs, fits, tolerance in races:
            print(title, flush=True)
            turns = common.Turns(programs, dict.fromkeys(programs, fits), arguments.runs)
            scores = {name: np.mean(results[0]["scores"]) for name, results in turns.results.items()}
            for name, score in scores.items():
                assert abs(score / scores[OURS] - 1) < tolerance, f"{title}: {name} scores {score}, not {scores[OURS]}"
                rates, times = turns.rates(name), turns.times_as_fast(OURS, name)
                shown = "" if name == OURS else f"{times:.1f}"
                rows.append([f"{title}: {name}", *(f"{rate:,.1f}" for rate in rates), shown, f"{score:.4f}"])
                bars.append((f"{title}: {name.partition(', ')[0] if name not in (OURS, OURS_CPU) else name}", rates, name == OURS))
    where = f"{device}, and {turns.where()}"
    table = common.table(["fits/s:", "slowest", "median", "fastest", "the GPU is so many times as fast", "mean score"], rows)
    if is_software:
        print(f"{where}\n\n{table}\n\nA software adapter says nothing of speed: nothing was written.")
        return
    plot = common.plot("On a GPU", f"fits a second, {device}", bars, log=True)
    common.write("gpu", "On a GPU", [where, table], plot)


if __name__ == "__main__":
    main()
