"""Times the training of 400 perceptrons on digits, 64-64-10, Adam, batch 32: this program, JAX and scikit-learn, in turns.

    python benches/mlp.py [--runs 5] [--lanes 400] [--epochs 20] [--peer-lanes 100]

Needs benches/requirements.txt. All get the same standardised rows, the same learning rates (a lane each) and the same
cores; each trains f32 networks of one hidden relu layer at a constant rate, no dropout, no decay. JAX runs as
mlp_jax.py says, with all lanes at once, and in the variant that is fastest here of those tried first. scikit-learn's
MLPClassifier runs one process a core, kept warm by joblib, one thread each, on every fourth learning rate: each fit
stands alone, so that its rate does not depend on how many there are.

Only training is timed; start-up and compile times stand apart. This program's time has the scoring of every lane on its
training and held-out rows in it too. It also runs as many candidates drawn from its default space (widths 8 to 256,
depths 1 to 3, mixed batches, activations and optimizers), and the machine's sgemm rate is measured between the runs.
Builds examples/fit_mlp.rs in release mode, and writes benches/results/mlp.md and mlp.svg.
"""

import argparse
import functools
import os
import statistics
import sys
import tempfile
import time
import warnings
from importlib.metadata import version
from pathlib import Path

import common

common.one_thread_a_process()

import joblib
import numpy as np
import sklearn
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler

import mlp_jax

HIDDEN, BATCH = 64, 32
# A multiple of the batch: JAX's programs then need no mask for a short last minibatch.
TRAINING_ROWS = 45 * BATCH

SGEMM = """
import json, time
import numpy
a, b = numpy.random.default_rng(0).random((2, 1024, 1024), numpy.float32)
best = 1e9
for _ in range(20):
    start = time.perf_counter()
    a @ b
    best = min(best, time.perf_counter() - start)
print(json.dumps({"seconds": best}))
"""


def prepare():
    table = np.loadtxt(common.ROOT / "configs" / "data" / "digits.csv", delimiter=",", skiprows=1, dtype="f4")
    x, y = table[:, :-1], table[:, -1].astype("u4")
    x, held_out, y, truth = train_test_split(x, y, train_size=TRAINING_ROWS, stratify=y, random_state=0)
    scaler = StandardScaler().fit(x)
    return [(scaler.transform(x).astype("<f4"), y), (scaler.transform(held_out).astype("<f4"), truth)]


def sgemm():
    # All cores, and the kernels that numpy's OpenBLAS chooses unasked.
    unset = ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"]
    return common.run([sys.executable, "-c", SGEMM], dict.fromkeys(unset))


def fit(fold, epochs, rate):
    """One scikit-learn fit: its seconds, and the held-out probabilities."""
    warnings.filterwarnings("ignore")
    model = MLPClassifier(
        (HIDDEN,),
        alpha=0.0,
        batch_size=BATCH,
        learning_rate_init=rate,
        max_iter=epochs,
        n_iter_no_change=10**9,
        tol=0.0,
    )
    start = time.perf_counter()
    model.fit(*fold[0])
    return time.perf_counter() - start, model.predict_proba(fold[1][0])


def scikit_learn(pool, fold, rates, epochs):
    seconds, probabilities = common.one_process_a_core(pool, functools.partial(fit, fold, epochs), rates)
    return {"seconds": seconds, "probabilities": probabilities}


def try_jax(fold, rates, cores):
    """The lane-epochs/s of each variant on two epochs, after one more to warm up."""
    lanes, processes = len(rates), len(cores)
    cuts = [(1, lanes, True), (1, lanes, False), (1, 100, True), (1, 32, True)]
    cuts += [
        (processes, lanes // processes, True),
        (processes, 100, True),
        (processes, 32, True),
        (processes, 32, False),
    ]
    tried = {}
    for variant in dict.fromkeys(mlp_jax.Variant(p, min(chunk, lanes // p), shares) for p, chunk, shares in cuts):
        peer = mlp_jax.Peer(variant, cores, fold, rates, 2, BATCH, HIDDEN)
        tried[variant] = 2 * lanes / min(peer.train()["seconds"] for _ in range(3))
        peer.close()
        print(f"JAX, {variant}: {tried[variant]:,.0f} lane-epochs/s", flush=True)
    return tried


def flops_of_an_epoch(fold):
    """Of one lane: two a multiply-add, outputs and weight gradients of both layers, inputs' gradients of the second."""
    (x, y), _ = fold
    products = x.shape[1] * HIDDEN, HIDDEN * len(np.unique(y))
    return 2 * len(y) * (2 * sum(products) + products[1])


def quality(result, truth):
    """Mean held-out log loss and accuracy of a run's lanes."""
    if "log_losses" in result:
        return [np.mean(result[name]) for name in ("log_losses", "accuracies")]
    lanes = [lane / lane.sum(axis=1, keepdims=True) for lane in np.asarray(result["probabilities"], "f8")]
    accuracies = [accuracy_score(truth, lane.argmax(axis=1)) for lane in lanes]
    return np.mean([log_loss(truth, lane) for lane in lanes]), np.mean(accuracies)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--lanes", type=int, default=400)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--peer-lanes", type=int, default=100, help="of scikit-learn, evenly spread over the lanes")
    arguments = parser.parse_args()
    lanes, epochs = arguments.lanes, arguments.epochs
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count()))
    program = common.build("fit_mlp")
    fold, rates = prepare(), np.logspace(-4, -1.5, lanes)
    rates32 = rates.astype("f4")
    tried = try_jax(fold, rates32, cores)
    # What the table asks for, and JAX at its best.
    variants = {"JAX, all lanes at once": next(iter(tried)), "JAX, fastest variant": max(tried, key=tried.get)}
    peers = {
        name: mlp_jax.Peer(variant, cores, fold, rates32, epochs, BATCH, HIDDEN) for name, variant in variants.items()
    }
    with tempfile.TemporaryDirectory() as folder, joblib.Parallel(n_jobs=len(cores)) as pool:
        files = [Path(folder) / "folds.bin", Path(folder) / "rates.bin"]
        common.write_folds([fold], files[0])
        files[1].write_bytes(rates.astype("<f8").tobytes())
        scikit_learn(pool, fold, rates[: len(cores)], 1)
        few = rates[:: lanes // arguments.peer_lanes]
        command = [program, files[0], epochs, len(cores)]
        # Of random shapes only the rate is of interest, and there are large ones among them.
        short = max(epochs // 4, 1)
        programs = {
            "ours": lambda: common.run([*command, files[1]]),
            **{name: peer.train for name, peer in peers.items()},
            "scikit-learn": lambda: scikit_learn(pool, fold, few, epochs),
            "mixed": lambda: common.run([program, files[0], short, len(cores), f"random:{lanes}"]),
            "sgemm": sgemm,
        }
        amounts = {
            **dict.fromkeys(programs, lanes * epochs),
            "scikit-learn": len(few) * epochs,
            "mixed": lanes * short,
            "sgemm": 2 * 1024**3,
        }
        turns = common.Turns(programs, amounts, arguments.runs)
    report(turns, peers, tried, fold, lanes, epochs)
    for peer in peers.values():
        peer.close()


def report(turns, peers, tried, fold, lanes, epochs):
    ours, mixed = turns.results["ours"][0], turns.results["mixed"][0]
    peaks = {
        "sgemm": max(turns.rates("sgemm")),
        "fma": max(result["peak_flops"] for name in ("ours", "mixed") for result in turns.results[name]),
    }
    names = {
        "ours": "thousandfold",
        **{name: name.replace("JAX", f"JAX {version('jax')}") for name in peers},
        "scikit-learn": f"scikit-learn {sklearn.__version__}",
        "mixed": "thousandfold, random shapes",
    }
    flops = {name: turns.amounts[name] * flops_of_an_epoch(fold) for name in names} | {"mixed": mixed["flops"]}
    truth = fold[1][1]
    rows = []
    for name, title in names.items():
        rates = turns.rates(name)
        gigaflops = statistics.median(flops[name] / seconds for seconds in turns.seconds[name]) / 1e9
        shares = [f"{gigaflops * 1e9 / peak:.0%}" for peak in peaks.values()]
        scores = [f"{mean:.3f}" for mean in quality(turns.results[name][0], truth)] if name != "mixed" else ["", ""]
        rows.append([title, *(f"{rate:,.0f}" for rate in rates), f"{gigaflops:.1f}", *shares, *scores])
    header = [
        "lane-epochs/s:",
        "slowest",
        "median",
        "fastest",
        "GFLOP/s",
        "of sgemm",
        "of FMA peak",
        "log loss",
        "accuracy",
    ]
    start = statistics.median(result["start_seconds"] for result in turns.results["ours"])
    cost = statistics.median(
        (b / mixed["flops"]) / (a / flops["ours"]) for a, b in zip(turns.seconds["ours"], turns.seconds["mixed"])
    )
    all_at_once, fastest = peers
    parts = [
        f"Digits, {len(fold[0][1]):,} training rows, {lanes} lanes x {epochs} epochs of a 64-{HIDDEN}-10 relu network, Adam, "
        f"batch {BATCH}, learning rates from 1e-4 to 0.03, f32. {turns.where()}",
        common.table(header, rows),
        f"This program trains **{turns.times_as_fast('ours', all_at_once):.1f}** times as many lane-epochs a second as JAX with "
        f"all lanes at once, **{turns.times_as_fast('ours', fastest):.1f}** times as many as JAX in its fastest variant here "
        f"({max(tried, key=tried.get)}), and **{turns.times_as_fast('ours', 'scikit-learn'):.1f}** times as many as scikit-learn "
        f"(medians over neighbouring runs). Log loss and accuracy are means over the lanes, on {len(truth)} held-out rows.",
        f"Start-up, not in the rates: this program {1e3 * start:.0f} ms; JAX {peers[all_at_once].start_seconds:.1f} s and "
        f"{peers[all_at_once].compile_seconds:.1f} s of compiling. This program's time has the scoring of every lane on all "
        "rows in it; the others' is training alone.",
        f"**Random shapes**: the same number of candidates of the default space (widths 8 to 256, depths 1 to 3, batches 16 to "
        f"128, four activations, two optimizers, dropout). Operations are counted from each candidate's own shape, padding "
        f"not; an operation takes {cost:.2f} times as long as in the fixed shape.",
        f"Peaks of all cores together, best of the runs: sgemm {peaks['sgemm'] / 1e9:.0f} GFLOP/s (numpy {np.__version__}, "
        f"1024 x 1024), fused multiply-adds in registers {peaks['fma'] / 1e9:.0f} GFLOP/s ({ours['backend']}).",
        "Variants of JAX that were tried, in lane-epochs/s on two epochs:\n\n"
        + common.table(["variant", "lane-epochs/s"], [[str(key), f"{rate:,.0f}"] for key, rate in tried.items()]),
    ]
    # Random shapes train larger networks: their lane-epochs are no measure beside the others'.
    bars = [(title, turns.rates(name), name == "ours") for name, title in names.items() if name != "mixed"]
    plot = common.plot(f"Perceptrons on digits, {lanes} lanes", f"lane-epochs a second, {common.machine()}", bars)
    common.write("mlp", "Multilayer perceptrons", parts, plot)


if __name__ == "__main__":
    main()
