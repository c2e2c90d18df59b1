"""Population-based training of a perceptron, here and by Ray Tune: how good the best member is after as many lane-epochs, and how
long a population takes.

    python benches/populations.py [--data FOLDER] [--tables digits,adult] [--seeds 15] [--members 16] [--large 256]
                                  [--cache FILE] [--program FILE]

Needs `pip install -r benches/requirements.txt`. Both train networks of 64 hidden units (relu, Adam, minibatches of 32) for 30 epochs
on one half of the rows and score them by their log loss on the other, and the other way round: two networks a member, on the same
halves. Both search the learning
rate and the weight penalty, from the same ranges on logarithmic scales, and let the worst quarter take over from the best every
three epochs. Ray's members are scikit-learn's MLPClassifier, an epoch by `partial_fit`, each in an actor that is used again, as many
at a time as there are cores. `--members` train with every seed for the scores, `--large` once for the time. Every population
is kept in the cache file as a line of JSON, and is not trained again. Writes benches/results/populations.md and a plot beside it.
"""

import argparse
import gzip
import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import common

common.one_thread_a_process()

EPOCHS, EVERY, HIDDEN, BATCH = 30, 3, 64, 32
RATES, PENALTIES = (1e-4, 1e-1), (1e-6, 1.0)
OURS = {"pbt": "pbt", "pb2": "pb2"}
THEIRS = "Ray Tune"


def read(folder, name):
    """Rows of cells, the header first."""
    import csv

    path = next(Path(folder).glob(f"{name}.csv*"))
    opened = gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else open(path, encoding="utf-8")
    with opened as file:
        return list(csv.reader(file))


def split(rows, seed):
    """Whether each row is in the second half, drawn by the seed."""
    import numpy as np

    return np.random.default_rng(seed).random(len(rows) - 1) < 0.5


def ours(program, scheduler, table, rows, seed, members):
    """The best member's log loss, and the seconds of the search."""
    with tempfile.TemporaryDirectory() as folder:
        file, is_second = Path(folder) / "data.csv", split(rows, seed)
        with open(file, "w", encoding="utf-8", newline="") as out:
            import csv

            cells = [["part"] + rows[0]] + [["b" if second else "a"] + row for second, row in zip(is_second, rows[1:])]
            csv.writer(out).writerows(cells)
        sets = {
            "data.fold": "part", "data.test": 0.0,
            "model.name": "mlp", "model.budget": EPOCHS, "validate.method": "column", "validate.metric": "log_loss",
            "space.layers": 1, "space.hidden": HIDDEN, "space.activation": "relu", "space.batch": BATCH, "space.schedule": "constant",
            "space.dropout": 0.0, "space.label_smoothing": 0.0, "space.class_weight": "none",
            "space.learning_rate": "{ log = [%r, %r] }" % RATES, "space.weight_decay": "{ log = [%r, %r] }" % PENALTIES,
            "search.strategy": "random", "search.scheduler": scheduler, "search.interval": EVERY,
            "search.candidates": members, "search.batch": members, "search.seed": seed, "run.backend": "cpu", "run.dir": Path(folder) / "run",
        }
        command = [program, "tune", file, "--target", rows[0][-1]] + [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
        done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{table}, {scheduler}: {done.stderr}")
        result = json.loads((Path(folder) / "run" / "result.json").read_text())
        return result["best"]["value"], result["seconds"]["searching"]


def features(rows, held_out):
    """Numbers of training and validation rows: columns of numbers standardised on training rows, others as indicators."""
    import numpy as np
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler
    import pandas as pd

    frame = pd.DataFrame(rows[1:], columns=rows[0]).replace("", np.nan)
    y = LabelEncoder().fit_transform(frame.pop(rows[0][-1]))
    numbers = frame.apply(pd.to_numeric, errors="coerce")
    is_number = [column for column in frame if numbers[column].notna().sum() == frame[column].notna().sum()]
    frame[is_number] = numbers[is_number]
    others = [column for column in frame if column not in is_number]
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(), StandardScaler()), is_number),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), others),
    )
    x = prepare.fit(frame[~held_out]).transform(frame).astype(np.float32)
    return x[~held_out], y[~held_out], x[held_out], y[held_out]


def theirs(rows, seed, members):
    """The same of Ray Tune."""
    import logging

    import ray
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    data = [features(rows, split(rows, seed) == half) for half in (False, True)]
    ray.init(num_cpus=common.CORES, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    shared = ray.put(data)

    class Network(tune.Trainable):
        def setup(self, config):
            self.data = ray.get(shared)
            self.reset_config(config)

        def reset_config(self, config):
            from sklearn.neural_network import MLPClassifier

            self.config = config
            self.networks = [MLPClassifier((HIDDEN,), batch_size=BATCH, random_state=seed) for _ in self.data]
            self.take(config)
            return True

        def take(self, config):
            for network in self.networks:
                network.set_params(learning_rate_init=config["rate"], alpha=config["penalty"])
                if hasattr(network, "_optimizer"):
                    network._optimizer.learning_rate_init = config["rate"]

        def step(self):
            import numpy as np
            from sklearn.metrics import log_loss

            losses = []
            for network, (x, y, x_held_out, y_held_out) in zip(self.networks, self.data):
                for _ in range(EVERY):
                    network.partial_fit(x, y, classes=np.unique(y))
                losses.append(log_loss(y_held_out, network.predict_proba(x_held_out), labels=network.classes_))
            return {"loss": sum(losses) / len(losses)}

        def save_checkpoint(self, folder):
            import pickle

            Path(folder, "networks").write_bytes(pickle.dumps(self.networks))

        def load_checkpoint(self, folder):
            import pickle

            self.networks = pickle.loads(Path(folder, "networks").read_bytes())
            self.take(self.config)

    space = {"rate": tune.loguniform(*RATES), "penalty": tune.loguniform(*PENALTIES)}
    # An iteration is EVERY epochs.
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration", metric="loss", mode="min", perturbation_interval=1,
        hyperparam_mutations=space, quantile_fraction=0.25, resample_probability=0.25,
    )
    import random

    import numpy as np

    random.seed(seed)
    np.random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            Network,
            param_space=space,
            tune_config=tune.TuneConfig(
                scheduler=scheduler, num_samples=members, reuse_actors=True, max_concurrent_trials=common.CORES
            ),
            run_config=tune.RunConfig(
                stop={"training_iteration": EPOCHS // EVERY}, storage_path=folder, verbose=0,
            ),
        )
        begun = time.perf_counter()
        found = tuner.fit()
        seconds = time.perf_counter() - begun
    best = min(result.metrics["loss"] for result in found if result.metrics and "loss" in result.metrics)
    ray.shutdown()
    return best, seconds


def report(lines, arguments):
    parts = [
        f"Networks of {HIDDEN} hidden units, {EPOCHS} epochs, a quarter taking over every {EVERY}. On {common.machine()}. Scores: log loss "
        f"of the best of {arguments.members} members, the mean of two halves each trained on and scored on the other, medians over seeds, after as many lane-epochs; "
        f"wins: the share of seeds in which it is lower than Ray Tune's."
    ]
    of = lambda method, table, members: {line["seed"]: line for line in lines if (line["method"], line["table"], line["members"]) == (method, table, members)}
    rows, times, bars = [], [], []
    for table in arguments.tables.split(","):
        peer = of(THEIRS, table, arguments.members)
        for method in [*OURS, THEIRS]:
            found = of(method, table, arguments.members)
            if not found:
                continue
            both = [seed for seed in found if seed in peer]
            wins = "" if method == THEIRS or not both else f"{100 * sum(found[seed]['score'] < peer[seed]['score'] for seed in both) / len(both):.0f} %"
            scores = [line["score"] for line in found.values()]
            rows.append([f"{method} on {table}", str(len(found)), f"{statistics.median(scores):.4f}", wins])
        large = of(THEIRS, table, arguments.large)
        for method in [*OURS, THEIRS]:
            for line in of(method, table, arguments.large).values():
                against = statistics.median(line["seconds"] for line in large.values()) / line["seconds"] if large else math.nan
                times.append([f"{method} on {table}", f"{line['seconds']:,.1f}", "" if method == THEIRS else f"{against:,.0f}"])
                bars.append((f"{method}, {table}", [2 * arguments.large * EPOCHS / line["seconds"]] * 3, method != THEIRS))
    parts.append(common.table(["population", "seeds", "log loss", "wins"], rows))
    parts.append(f"{arguments.large} members, seconds of the whole search and how many times longer Ray Tune takes:")
    parts.append(common.table(["population", "seconds", "times"], times))
    common.write("populations", "Population-based training", parts, common.plot("Population-based training", "lane-epochs a second", bars, log=True))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="data")
    arguments.add_argument("--tables", default="digits,adult")
    arguments.add_argument("--seeds", type=int, default=15)
    arguments.add_argument("--members", type=int, default=16)
    arguments.add_argument("--large", type=int, default=256)
    arguments.add_argument("--cache", default=common.ROOT / "target" / "populations.jsonl")
    arguments.add_argument("--program", help="the program that is built already")
    arguments = arguments.parse_args()
    program = arguments.program or common.build("budgets").parent.parent / "thousandfold"
    cache = Path(arguments.cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    lines = [json.loads(line) for line in cache.read_text().splitlines()] if cache.exists() else []
    wanted = dict.fromkeys(
        (method, table, members, seed)
        for table in arguments.tables.split(",")
        for members, seeds in [(arguments.large, 1), (arguments.members, arguments.seeds)]
        for seed in range(seeds)
        for method in [*OURS, THEIRS]
    )
    known = {(line["method"], line["table"], line["members"], line["seed"]) for line in lines}
    with cache.open("a") as out:
        for method, table, members, seed in wanted:
            if (method, table, members, seed) in known:
                continue
            rows = read(arguments.data, table)
            score, seconds = theirs(rows, seed, members) if method == THEIRS else ours(program, OURS[method], table, rows, seed, members)
            lines.append({"method": method, "table": table, "members": members, "seed": seed, "score": score, "seconds": seconds})
            out.write(json.dumps(lines[-1]) + "\n")
            out.flush()
            print(f"{method} on {table}, {members} members, seed {seed}: {score:.4f} in {seconds:.1f} s", flush=True)
    report(lines, arguments)


if __name__ == "__main__":
    main()
