"""Times random proposals of ten mixed parameters: this program, and Optuna's RandomSampler by ask and tell, in turns.

    python benches/proposals.py [--candidates 2000000] [--trials 2000] [--runs 5]

Needs benches/requirements.txt. Builds examples/proposals.rs in release mode, which draws from the same ten parameters,
and writes benches/results/proposals.md and proposals.svg. Both are given what they need (a study in memory, a strategy)
before the clock starts.
"""

import argparse
import time

import common
import optuna


def propose(trial):
    """The space of examples/proposals.rs."""
    optimizer = trial.suggest_categorical("optimizer", ["adam", "sgd"])
    trial.suggest_float("learning_rate", 1e-4, 1e-1, log=True)
    trial.suggest_float("weight_decay", 1e-6, 1.0, log=True)
    trial.suggest_float("dropout", 0.0, 0.5)
    if optimizer == "sgd":
        trial.suggest_float("momentum", 0.5, 0.99)
    trial.suggest_int("layers", 1, 3)
    trial.suggest_int("hidden", 8, 256, log=True)
    trial.suggest_categorical("activation", ["relu", "tanh", "gelu", "silu"])
    trial.suggest_categorical("batch", [16, 32, 64, 128])
    trial.suggest_categorical("bias", [False, True])


def random_sampler(trials):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    start = time.perf_counter()
    for _ in range(trials):
        trial = study.ask()
        propose(trial)
        study.tell(trial, 0.0)
    return {"seconds": time.perf_counter() - start}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=2_000_000, help="per run of this program")
    parser.add_argument("--trials", type=int, default=2_000, help="per run of Optuna")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    program = common.build("proposals")
    ours, theirs = "thousandfold, strategy random", f"Optuna {optuna.__version__}, RandomSampler, ask + tell"
    counts = {ours: arguments.candidates, theirs: arguments.trials}
    turns = common.Turns(
        {
            ours: lambda: common.run([program, arguments.candidates]),
            theirs: lambda: random_sampler(arguments.trials),
        },
        counts,
        arguments.runs,
    )
    rates = {name: turns.rates(name) for name in counts}
    rows = [[name, f"{counts[name]:,}", *(f"{rate:,.0f}" for rate in rates[name])] for name in counts]
    parts = [
        f"Ten mixed parameters, one of them conditional. {turns.where()}",
        common.table(["candidates/s:", "candidates a run", "slowest", "median", "fastest"], rows),
        f"This program draws **{turns.times_as_fast(ours, theirs):,.0f}** times as many in the same time (median over neighbouring runs).",
    ]
    bars = [(name, rates[name], name == ours) for name in counts]
    unit = f"candidates a second (logarithmic), {common.machine()}"
    common.write(
        "proposals", "Random proposals", parts, common.plot("Random proposals of ten parameters", unit, bars, log=True)
    )


if __name__ == "__main__":
    main()
