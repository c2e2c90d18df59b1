"""How fast candidates are proposed: this program's strategies, and peers where they have the same method.

    python benches/search_speed.py [--runs 3] [--only tpe,smac,gp,generations,sweep,many] [--many NAME;...]

Needs `pip install -r benches/requirements.txt`. Builds examples/search.rs and the program in release mode, and writes
benches/results/search_speed.md and search_speed.svg. Evaluations of the objective are not counted, but in the sweep of 10^8
candidates, which is a whole run of the program.
"""

import argparse
import json
import math
import shutil
import statistics
import subprocess
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import common

# What is asked and told 100,000 candidates; tpe hands over to gradient half-way.
MANY = [
    "random", "grid", "sobol", "halton", "latin", "cmaes", "de", "de_rand", "pso", "pso_ring", "genetic", "nsga2", "gradient",
    "auto", "tpe", "tpe,gradient", "smac", "gp",
]
# A run that takes longer than so many seconds is not made again.
LONG = 60

# Strategies that search by whole generations, and what EvoX's method of the kind is called.
OWN = {"cmaes": "CMA-ES", "de": "DE", "pso": "PSO", "genetic": "none"}


def search(program, strategy, candidates, batch, dimensions, *sets):
    """The seconds of all proposals and of the last batch's."""
    sets = ["objective.function=sphere", f"objective.dimensions={dimensions}", "run.backend=cpu", *sets]
    result = common.run([program, strategy, candidates, 1, batch, "-", *sets])
    return result["seconds"], result["seconds_of_the_last_batch"]


MEMBERS, DIMENSIONS = 10_000, 100


def pycma_generations(generations):
    """Seconds of a generation of separable CMA-ES by pycma on the sphere; it has no other that is as fast."""
    import cma
    import numpy as np

    options = {"popsize": MEMBERS, "verbose": -9, "seed": 1, "CMA_diagonal": True}
    strategy = cma.CMAEvolutionStrategy(DIMENSIONS * [2.5], 1.25, options)
    begun = time.perf_counter()
    for _ in range(generations):
        rows = strategy.ask()
        strategy.tell(rows, (np.asarray(rows) ** 2).sum(axis=1))
    return (time.perf_counter() - begun) / generations


def evox_generations(name, is_compiled, generations):
    """Seconds of a generation by EvoX on the sphere, PyTorch on every core of the processor; none where it cannot be compiled."""
    import evox.algorithms
    import torch
    from evox.problems.numerical import Sphere
    from evox.workflows import StdWorkflow

    torch.set_num_threads(common.CORES)
    torch.manual_seed(1)
    low, high = -5 * torch.ones(DIMENSIONS), 5 * torch.ones(DIMENSIONS)
    if name == "CMAES":
        algorithm = evox.algorithms.CMAES(mean_init=2.5 * torch.ones(DIMENSIONS), sigma=1.25, pop_size=MEMBERS)
    else:
        algorithm = getattr(evox.algorithms, name)(MEMBERS, low, high)
    workflow = StdWorkflow(algorithm, Sphere())
    workflow.init_step()
    step = torch.compile(workflow.step) if is_compiled else workflow.step
    try:
        step()
    except Exception as error:  # whatever its compiler says
        if not is_compiled:
            raise
        print(f"EvoX {name} is not compiled: {str(error).splitlines()[0]}", flush=True)
        return math.inf
    begun = time.perf_counter()
    for _ in range(generations):
        step()
    return (time.perf_counter() - begun) / generations


def own_generations(program, strategy, generations):
    """Seconds of a generation of a whole run of the program: what a longer one takes more than a shorter one."""
    def run(generations):
        folder = Path(tempfile.mkdtemp())
        try:
            command = [program, "tune", "--function", "sphere", "--dimensions", DIMENSIONS, "--strategy", strategy, "-q"]
            command += ["--candidates", MEMBERS * generations, "--set", f"search.population={MEMBERS}"]
            command += ["--set", "run.history=best:1", "--backend", "cpu", "--run-dir", folder / "run"]
            begun = time.perf_counter()
            subprocess.run([str(word) for word in command], check=True, stdout=subprocess.DEVNULL)
            return time.perf_counter() - begun
        finally:
            shutil.rmtree(folder)

    few = 5
    return (run(few + generations) - run(few)) / generations


def sweep(program, candidates):
    """Seconds and peak memory in MiB of a whole run that keeps the best 1,000."""
    folder = Path(tempfile.mkdtemp())
    try:
        command = [program, "tune", "--function", "rastrigin", "--dimensions", "10", "--strategy", "random", "-q"]
        command += ["--candidates", candidates, "--set", "run.history=best:1000", "--backend", "cpu", "--run-dir", folder / "run"]
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


def growth(program, strategy, runs):
    """Seconds of the proposals of 10,000 and of 100,000 candidates of 10 floats, in batches of 1,000."""
    found = []
    for candidates in (10_000, 100_000):
        seconds = [search(program, strategy, candidates, 1000, 10)[0]]
        while len(seconds) < runs and seconds[0] < LONG:
            seconds.append(search(program, strategy, candidates, 1000, 10)[0])
        found.append(statistics.median(seconds))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--only", default="tpe,smac,gp,generations,sweep,many")
    parser.add_argument("--many", default=";".join(MANY), help="what is asked for 100,000 candidates, by semicolons")
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
        peers = {"EvoX PSO": ("PSO", False), "EvoX DE": ("DE", False), "EvoX CMA-ES": ("CMAES", False)}
        peers |= {f"{name}, compiled": (method, True) for name, (method, _) in peers.items()}
        # In turns, so that what else the machine does meets all alike.
        turns = defaultdict(list)
        for _ in range(arguments.runs):
            turns["pycma, separable"].append(pycma_generations(3))
            for name, (method, is_compiled) in peers.items():
                turns[name].append(evox_generations(method, is_compiled, 10))
            for strategy in OWN:
                turns[strategy].append(own_generations(binary, strategy, 100))
        medians = {name: statistics.median(found) for name, found in turns.items()}
        for name, seconds in medians.items():
            aim = ""
            if name in OWN:
                beaten = [peer for peer in medians if peer not in OWN and OWN[name] in peer and math.isfinite(medians[peer])]
                beaten += ["pycma, separable"] if name == "cmaes" else []
                times = {peer: medians[peer] / seconds for peer in beaten}
                aim = "; ".join(f"{ratio:.1f} times {peer}" for peer, ratio in times.items()) + (" (aim 5)" if times else "")
            if math.isfinite(seconds):
                row(f"{name}: a generation of 10,000 in 100 dimensions", seconds, aim)
    if "sweep" in only:
        measured = [sweep(binary, 10**8) for _ in range(arguments.runs)]
        seconds = statistics.median(seconds for seconds, _ in measured)
        most = max(most for _, most in measured)
        row("random: 10^8 candidates of rastrigin in 10 dimensions, a whole run", seconds, f"under 30 s; {most:.0f} MiB at most")

    grown = []
    for strategy in arguments.many.split(";") if "many" in only else []:
        few, many = growth(program, strategy, arguments.runs)
        grown.append([f"`{strategy}`", f"{few:.3g}", f"{many:.3g}", f"{many / few:.1f}"])
        print(*grown[-1], flush=True)

    where = (
        f"Median of {arguments.runs} runs on {common.machine()}. Seconds of tpe, smac and gp are those of proposals alone; of a "
        "generation those of sphere's evaluations too, and of 10^8 candidates those of the whole run, which keeps the best 1,000 "
        "and the values' distribution (`run.history = \"best:1000\"`). Generations took turns, pycma's NumPy and EvoX's PyTorch with all cores."
    )
    table = common.table(["what", "seconds", "aim"], rows)
    of_many = (
        "Proposals of so many candidates of the sphere in 10 dimensions, asked for a thousand at a time and told, in seconds. Ten "
        "times as many take 10 times as long where a proposal costs the same however many came before, and 12.5 times where all "
        f"are sorted once. Runs of more than {LONG} s are made once."
    )
    parts = [where, table]
    if grown:
        parts += [of_many, common.table(["strategy", "10,000 candidates", "100,000 candidates", "ratio"], grown)]
    plot = common.plot("Proposals", f"seconds, {common.machine()}", bars, log=True)
    common.write("search_speed", "How fast candidates are proposed", parts, plot)


if __name__ == "__main__":
    main()
