"""How fast candidates are proposed: this program's strategies, and peers where they have the same method.

    python benches/search_speed.py [--runs 3] [--only NAME,...]

Needs `pip install -r benches/requirements.txt`. Builds examples/search.rs and the program in release mode, and writes
benches/results/search_speed.md and search_speed.svg. Evaluations of the objective are not counted, but in the sweep of 10^8
candidates, which is a whole run of the program.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import common

common.one_thread_a_process()


def search(program, strategy, candidates, batch, dimensions, *sets):
    """The seconds of all proposals and of the last batch's."""
    sets = ["objective.function=sphere", f"objective.dimensions={dimensions}", *sets]
    result = common.run([program, strategy, candidates, 1, batch, "-", *sets])
    return result["seconds"], result["seconds_of_the_last_batch"]


def pycma_generations(population, dimensions, generations):
    """Seconds of pycma for so many generations on the sphere, without the evaluations."""
    import cma
    import numpy as np

    options = {"popsize": population, "verbose": -9, "seed": 1, "CMA_diagonal": dimensions >= 100}
    strategy = cma.CMAEvolutionStrategy(dimensions * [0.5], 0.25, options)
    seconds = 0.0
    for _ in range(generations):
        begun = time.perf_counter()
        rows = strategy.ask()
        seconds += time.perf_counter() - begun
        values = (np.asarray(rows) ** 2).sum(axis=1)
        begun = time.perf_counter()
        strategy.tell(rows, values)
        seconds += time.perf_counter() - begun
    return seconds


def sweep(program, candidates):
    """Seconds and peak memory in MiB of a whole run that keeps the best 1,000."""
    folder = Path(tempfile.mkdtemp())
    try:
        command = [program, "tune", "--function", "rastrigin", "--dimensions", "10", "--strategy", "random", "-q"]
        command += ["--candidates", candidates, "--set", "run.history=best:1000", "--run-dir", folder / "run"]
        begun = time.perf_counter()
        child = subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL)
        most = 0
        while child.poll() is None:
            try:
                lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
                most = max(most, *(int(line.split()[1]) for line in lines if line.startswith("VmHWM")))
            except (OSError, ValueError, TypeError):
                pass
            time.sleep(0.05)
        seconds = time.perf_counter() - begun
        assert child.returncode == 0
        kept = json.loads((folder / "run" / "result.json").read_text())
        assert kept["counts"]["complete"] == candidates
        return seconds, most / 1024
    finally:
        shutil.rmtree(folder)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="tpe,smac,gp,generations,sweep")
    arguments = parser.parse_args()
    only = arguments.only.split(",")
    program = common.build("search")
    binary = program.parent.parent / "thousandfold"
    median = lambda measure: statistics.median(measure() for _ in range(arguments.runs))
    rows, bars = [], []

    def row(what, seconds, aim):
        rows.append([what, f"{seconds:.3g} s", aim])
        bars.append((what, (seconds, seconds, seconds), True))
        print(what, f"{seconds:.3g} s", aim, flush=True)

    if "tpe" in only:
        row("tpe: 10,000 candidates of 10 floats, batches of 50", median(lambda: search(program, "tpe", 10_000, 50, 10)[0]), "under 5 s")
        row("tpe: a batch of 1,000 after 100,000", median(lambda: search(program, "tpe", 101_000, 1000, 10)[1]), "under 0.5 s")
    if "smac" in only:
        row("smac: 10,000 candidates of 10 floats, batches of 50", median(lambda: search(program, "smac", 10_000, 50, 10)[0]), "")
        row("smac: a batch of 1,000 after 100,000", median(lambda: search(program, "smac", 101_000, 1000, 10)[1]), "")
    if "gp" in only:
        row("gp: 500 candidates of 10 floats, batches of 10", median(lambda: search(program, "gp", 500, 10, 10)[0]), "under 60 s")
    if "generations" in only:
        population, dimensions, generations = 10_000, 100, 10
        sets = [f"search.population={population}"]
        theirs = median(lambda: pycma_generations(population, dimensions, generations)) / generations
        row("pycma, separable: a generation of 10,000 in 100 dimensions", theirs, "")
        for strategy in ["cmaes", "de_rand", "pso", "genetic"]:
            own = median(lambda: search(program, strategy, population * generations, population, dimensions, *sets)[0])
            own /= generations
            row(f"{strategy}: a generation of 10,000 in 100 dimensions", own, f"{theirs / own:.1f} times as fast as pycma (aim 5)")
    if "sweep" in only:
        measured = [sweep(binary, 10**8) for _ in range(arguments.runs)]
        seconds = statistics.median(seconds for seconds, _ in measured)
        most = max(most for _, most in measured)
        row("random: 10^8 candidates of rastrigin in 10 dimensions, a whole run", seconds, f"under 30 s; {most:.0f} MiB at most")

    where = (
        f"Median of {arguments.runs} runs on {common.machine()}; seconds of proposals alone, without the evaluations, but for the "
        "whole run of 10^8 candidates, which keeps the best 1,000 and the values' distribution (`run.history = \"best:1000\"`)."
    )
    table = common.table(["what", "seconds", "aim"], rows)
    plot = common.plot("Proposals", f"seconds, {common.machine()}", bars, log=True)
    common.write("search_speed", "How fast candidates are proposed", [where, table], plot)


if __name__ == "__main__":
    main()
