"""Times random proposals of ten mixed parameters: this program, and Optuna's RandomSampler by ask and tell.

    python benches/proposals.py [--candidates 2000000] [--trials 2000] [--runs 5]

Needs optuna. Builds examples/proposals.rs in release mode, which draws from the same ten parameters, and writes
benches/results/proposals.md. Both are given what they need (a study in memory, a strategy) before the clock starts.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from pathlib import Path

import optuna

ROOT = Path(__file__).parent.parent
RESULT = ROOT / "benches" / "results" / "proposals.md"


def processor():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def ours(candidates, runs):
    subprocess.run(["cargo", "build", "--quiet", "--release", "--example", "proposals"], cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    command = [target / "release" / "examples" / "proposals", str(candidates), str(runs)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["seconds"]


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


def theirs(trials, runs):
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seconds = []
    for run in range(runs):
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=run))
        start = time.perf_counter()
        for _ in range(trials):
            trial = study.ask()
            propose(trial)
            study.tell(trial, 0.0)
        seconds.append(time.perf_counter() - start)
    return seconds


def row(name, count, seconds):
    rates = sorted(count / second for second in seconds)
    return f"| {name} | {count:,} | {rates[0]:,.0f} | {statistics.median(rates):,.0f} | {rates[-1]:,.0f} |"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=2_000_000, help="per run of this program")
    parser.add_argument("--trials", type=int, default=2_000, help="per run of Optuna")
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    load = os.getloadavg()[0]
    our_seconds = ours(arguments.candidates, arguments.runs)
    their_seconds = theirs(arguments.trials, arguments.runs)
    ratio = (arguments.candidates / statistics.median(our_seconds)) / (arguments.trials / statistics.median(their_seconds))
    text = "\n".join(
        [
            "# Random proposals",
            "",
            f"Ten mixed parameters, one of them conditional; {arguments.runs} runs of each, on {os.cpu_count()} cores of "
            f"{processor()}, {platform.system()}.",
            "",
            "| program | candidates a run | slowest /s | median /s | fastest /s |",
            "|---|---|---|---|---|",
            row("thousandfold, strategy random", arguments.candidates, our_seconds),
            row(f"Optuna {optuna.__version__}, RandomSampler, ask + tell", arguments.trials, their_seconds),
            "",
            f"Ratio of the medians: {ratio:,.0f}. The machine's load was {load:.1f} before the runs: above 0, both shared their "
            "cores with other programs, and rates are lower than they could be.",
            "",
        ]
    )
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
