"""Population-based training of a perceptron, here and by Ray Tune: how good the best member is after as many lane-epochs, and how
long a population takes.

    python benches/populations.py [--data FOLDER] [--tables digits,adult] [--only scores|times] [--seeds 15] [--members 16]
                                  [--large 256] [--peer 256] [--guide 256] [--runs 5] [--cache FILE] [--times-cache FILE] [--program FILE]

Needs `pip install -r benches/requirements.txt`. All train networks of 64 hidden units (relu, Adam, minibatches of 32) for 30 epochs
on one half of the rows and score them by their log loss on the other, and the other way round: two networks a member, on the same
halves. All search the learning rate and the weight penalty, from the same ranges on logarithmic scales, and let the worst quarter
take over from the best every three epochs. Ray's members are scikit-learn's MLPClassifier, an epoch by `partial_fit`, as many at a
time as there are cores, in one of two ways:

- "Ray Tune": as fast as it could be made. A class (`tune.Trainable`) in an actor that is used again for whoever comes next
  (`reuse_actors=True`, which is not Ray's default, with `reset_config`), which reports every three epochs.
- "Ray Tune, as in its guide": as "A Guide to Population Based Training with Tune" has it (docs.ray.io). A function that reports every
  epoch and gives a checkpoint every three, when who falls behind takes over, of which four are kept; all else by Ray's defaults, so
  that each member's turn has a process of its own. It differs in what it takes, not in what it does, and is timed alone.

`--members` train with every seed for the scores; for the time `--large` train with the first one: here `--runs` times, of which the
median counts, Ray once, with `--peer` members and, as the guide has it, with `--guide`: what takes hours with all of them takes as
long a lane-epoch with fewer. `--only` leaves out scores or times that the cache files do not
have: for times on a machine that does nothing else. Every population is kept there as a line of JSON, and is not trained again.
Writes benches/results/populations.md and a plot beside it.
"""

import argparse
import gzip
import json
import pickle
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
THEIRS, GUIDE = "Ray Tune", "Ray Tune, as in its guide"


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


class Networks:
    """The two networks of a member, of scikit-learn."""

    def __init__(self, data, config, seed):
        from sklearn.neural_network import MLPClassifier

        self.data = data
        self.both = [MLPClassifier((HIDDEN,), batch_size=BATCH, random_state=seed) for _ in data]
        self.take(config)

    def take(self, config):
        """Goes on with these hyperparameters."""
        for network in self.both:
            network.set_params(learning_rate_init=config["rate"], alpha=config["penalty"])
            if hasattr(network, "_optimizer"):
                network._optimizer.learning_rate_init = config["rate"]

    def train(self, epochs):
        """The log loss after so many epochs more."""
        import numpy as np
        from sklearn.metrics import log_loss

        losses = []
        for network, (x, y, x_held_out, y_held_out) in zip(self.both, self.data):
            for _ in range(epochs):
                network.partial_fit(x, y, classes=np.unique(y))
            losses.append(log_loss(y_held_out, network.predict_proba(x_held_out), labels=network.classes_))
        return sum(losses) / len(losses)


def actors(data, seed):
    """Members in actors that are used again, with the epochs of an iteration and what Ray is told besides."""
    import ray
    from ray import tune

    shared = ray.put(data)

    class Member(tune.Trainable):
        def setup(self, config):
            self.data = ray.get(shared)
            self.reset_config(config)

        def reset_config(self, config):
            self.config = config
            self.networks = Networks(self.data, config, seed)
            return True

        def step(self):
            return {"loss": self.networks.train(EVERY)}

        def save_checkpoint(self, folder):
            Path(folder, "networks").write_bytes(pickle.dumps(self.networks.both))

        def load_checkpoint(self, folder):
            self.networks.both = pickle.loads(Path(folder, "networks").read_bytes())
            self.networks.take(self.config)

    return Member, EVERY, {"reuse_actors": True}, {}, {}


def functions(data, seed):
    """The same of members as in Ray's guide."""
    from ray import tune

    def member(config, data):
        networks, step = Networks(data, config, seed), 1
        if checkpoint := tune.get_checkpoint():
            with checkpoint.as_directory() as folder:
                saved = pickle.loads(Path(folder, "checkpoint").read_bytes())
            networks.both, step = saved["networks"], saved["step"] + 1
            networks.take(config)
        while True:
            metrics = {"loss": networks.train(1)}
            if step % config["checkpoint_interval"] == 0:
                with tempfile.TemporaryDirectory() as folder:
                    Path(folder, "checkpoint").write_bytes(pickle.dumps({"networks": networks.both, "step": step}))
                    tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))
            else:
                tune.report(metrics)
            step += 1

    keep = tune.CheckpointConfig(num_to_keep=4, checkpoint_score_attribute="loss", checkpoint_score_order="min")
    return tune.with_parameters(member, data=data), 1, {}, {"checkpoint_config": keep}, {"checkpoint_interval": EVERY}


def theirs(way, rows, seed, members):
    """The best member's log loss and the seconds of Ray Tune, with members of `actors` or `functions`."""
    import logging
    import random

    import numpy as np
    import ray
    from ray import tune
    from ray.tune.schedulers import PopulationBasedTraining

    data = [features(rows, split(rows, seed) == half) for half in (False, True)]
    ray.init(num_cpus=common.CORES, include_dashboard=False, logging_level=logging.ERROR, log_to_driver=False)
    trainable, epochs, tuning, running, constants = way(data, seed)
    space = {"rate": tune.loguniform(*RATES), "penalty": tune.loguniform(*PENALTIES)}
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration", metric="loss", mode="min", perturbation_interval=EVERY // epochs,
        hyperparam_mutations=space, quantile_fraction=0.25, resample_probability=0.25,
    )
    random.seed(seed)
    np.random.seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        # A member takes a core, which is what limits how many train at a time. `max_concurrent_trials` would limit the population,
        # as Ray counts who waits for its turn.
        tuner = tune.Tuner(
            trainable,
            param_space=space | constants,
            tune_config=tune.TuneConfig(scheduler=scheduler, num_samples=members, **tuning),
            run_config=tune.RunConfig(
                stop={"training_iteration": EPOCHS // epochs}, storage_path=folder, verbose=0, **running
            ),
        )
        begun = time.perf_counter()
        found = tuner.fit()
        seconds = time.perf_counter() - begun
    best = min(result.metrics["loss"] for result in found if result.metrics and "loss" in result.metrics)
    ray.shutdown()
    return best, seconds


def report(scores, times, arguments):
    parts = [
        f"Networks of {HIDDEN} hidden units, {EPOCHS} epochs, a quarter taking over every {EVERY}. Scores: log loss "
        f"of the best of {arguments.members} members, the mean of two halves each trained on and scored on the other, medians over seeds, after as many lane-epochs; "
        f"wins: the share of seeds in which it is lower than Ray Tune's."
    ]
    tables = arguments.tables.split(",")
    rows = []
    for table in tables:
        of = lambda method: {
            line["seed"]: line["score"] for line in scores if (line["method"], line["table"], line["members"]) == (method, table, arguments.members)
        }
        peer = of(THEIRS)
        for method in [*OURS, THEIRS]:
            # Of the same seeds, where the peer's are not all there yet.
            found = {seed: score for seed, score in of(method).items() if not peer or seed in peer}
            wins = f"{100 * sum(found[seed] < peer[seed] for seed in found) / len(found):.0f} %" if method != THEIRS and peer and found else ""
            if found:
                rows.append([f"{method} on {table}", str(len(found)), f"{statistics.median(found.values()):.4f}", wins])
    parts.append(common.table(["population", "seeds", "log loss", "wins"], rows))
    rows, bars = [], []
    for table in tables:
        found = {}
        for line in times:
            if line["table"] == table:
                found.setdefault((line["method"], line["members"]), []).append(line["seconds"])
        rates = {key: [2 * key[1] * EPOCHS / seconds for seconds in found[key]] for key in found}
        rate = lambda key: statistics.median(rates[key]) if key in rates else None
        ours = {method: rate((method, arguments.large)) for method in OURS}
        # Of a peer the largest population that was timed.
        largest = lambda method: (method, max((members for other, members in found if other == method), default=0))
        for key in [*((method, arguments.large) for method in OURS), largest(THEIRS), largest(GUIDE)]:
            if key not in found:
                continue
            method, members = key
            times_as_fast = ["" if method in OURS or not ours[one] else f"{ours[one] / rate(key):,.0f}" for one in OURS]
            rows.append([f"{method} on {table}", str(members), f"{statistics.median(found[key]):,.1f}", f"{rate(key):,.0f}", *times_as_fast])
            bars.append((f"{method}, {table}", [min(rates[key]), rate(key), max(rates[key])], method in OURS))
    plot = None
    if rows:
        parts.append(
            f"Seconds of a whole search on {common.machine()}, here the median of up to {arguments.runs} runs, and how many times as many lane-epochs a second `pbt` and `pb2` train. "
            f"{THEIRS}: scikit-learn's networks in actors that are used again for whoever comes next (`reuse_actors=True`, `reset_config`), which report every "
            f"{EVERY} epochs; the fastest way that was found. {GUIDE}: a function that reports every epoch and gives a checkpoint every {EVERY}, and Ray's defaults, by "
            f"which each member's turn begins a process; it does the same, and is not scored."
        )
        parts.append(common.table(["population", "members", "seconds", "lane-epochs a second", *(f"times as fast: {one}" for one in OURS)], rows))
        plot = common.plot("Population-based training", "lane-epochs a second", bars, log=True)
    common.write("populations", "Population-based training", parts, plot)


def known(cache):
    """The lines of a cache file."""
    cache = Path(cache)
    cache.parent.mkdir(parents=True, exist_ok=True)
    return [json.loads(line) for line in cache.read_text().splitlines()] if cache.exists() else []


def complete(lines, cache, wanted, arguments, program):
    """Trains what is wanted, (method, table, members, seed, run), and is not among the lines of a cache file."""
    names = ["method", "table", "members", "seed", "run"]
    have = {tuple(line[name] for name in names) for line in lines}
    with open(cache, "a", encoding="utf-8") as out:
        for key in wanted:
            if key in have:
                continue
            method, table, members, seed, _ = key
            rows = read(arguments.data, table)
            if method in OURS:
                score, seconds = ours(program, OURS[method], table, rows, seed, members)
            else:
                score, seconds = theirs(actors if method == THEIRS else functions, rows, seed, members)
            lines.append(dict(zip(names, key)) | {"score": score, "seconds": seconds})
            out.write(json.dumps(lines[-1]) + "\n")
            out.flush()
            print(f"{method} on {table}, {members} members, seed {seed}: {score:.4f} in {seconds:.1f} s", flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", default="data")
    arguments.add_argument("--tables", default="digits,adult")
    arguments.add_argument("--only", choices=["scores", "times"], help="train for one of the two")
    arguments.add_argument("--seeds", type=int, default=15)
    arguments.add_argument("--members", type=int, default=16)
    arguments.add_argument("--large", type=int, default=256)
    arguments.add_argument("--peer", type=int, default=256, help="members of Ray Tune's population")
    arguments.add_argument("--guide", type=int, default=256, help="members of the guide's population; 0 leaves it out")
    arguments.add_argument("--runs", type=int, default=5, help="runs here for a time")
    arguments.add_argument("--cache", default=common.ROOT / "target" / "populations.jsonl")
    arguments.add_argument("--times-cache", default=common.ROOT / "target" / "populations_times.jsonl")
    arguments.add_argument("--program", help="the program that is built already")
    arguments = arguments.parse_args()
    program = arguments.program or common.build("budgets").parent.parent / "thousandfold"
    tables = arguments.tables.split(",")
    scores, times = known(arguments.cache), known(arguments.times_cache)
    if arguments.only != "times":
        wanted = [(method, table, arguments.members, seed, 0) for table in tables for seed in range(arguments.seeds) for method in [*OURS, THEIRS]]
        complete(scores, arguments.cache, wanted, arguments, program)
    if arguments.only != "scores":
        wanted = [(method, table, arguments.large, 0, run) for table in tables for run in range(arguments.runs) for method in OURS]
        wanted += [(THEIRS, table, arguments.peer, 0, 0) for table in tables if arguments.peer > 0]
        wanted += [(GUIDE, table, arguments.guide, 0, 0) for table in tables if arguments.guide > 0]
        complete(times, arguments.times_cache, wanted, arguments, program)
    report(scores, times, arguments)


if __name__ == "__main__":
    main()
