"""How much of the trade-offs is found: `nsga2` and pymoo's NSGA2, the same operators and numbers of evaluations.

    python benches/fronts.py [--seeds 15]

Needs `pip install -r benches/requirements.txt`. Builds examples/tradeoffs.rs in release mode, and writes
benches/results/fronts.md and fronts.svg. Counted is the hypervolume of all candidates, whose reference point is 1.1 times the
greatest values on the front, as a share of what the front itself covers.
"""

import argparse
import concurrent.futures
import statistics

import common

common.one_thread_a_process()

# Function and dimensions, as the papers have them (Zitzler, Deb & Thiele 2000; Deb, Thiele, Laumanns & Zitzler 2005).
PROBLEMS = [("zdt1", 30), ("zdt2", 30), ("zdt3", 30), ("dtlz2", 12)]
BATCHES = [50, 100]
CANDIDATES, POPULATION = 10_000, 100
OURS, THEIRS = "nsga2", "pymoo"


def ours(program, function, dimensions, batch, seed):
    result = common.run([program, "nsga2", function, dimensions, CANDIDATES, seed, batch, 1.1, POPULATION])
    return result["curve"][-1][1], result["front"], result["reference"]


def pymoo(reference, function, dimensions, batch, seed):
    import numpy as np
    from pymoo.algorithms.moo.nsga2 import NSGA2
    from pymoo.indicators.hv import HV
    from pymoo.problems import get_problem
    from pymoo.util.nds.non_dominated_sorting import NonDominatedSorting

    problem = get_problem(function, n_var=dimensions, **({"n_obj": 3} if function == "dtlz2" else {}))
    algorithm = NSGA2(pop_size=POPULATION, n_offsprings=batch)
    algorithm.setup(problem, termination=("n_eval", CANDIDATES), seed=seed + 1, verbose=False)
    values = []
    while algorithm.has_next():
        asked = algorithm.ask()
        algorithm.evaluator.eval(problem, asked)
        values.append(asked.get("F"))
        algorithm.tell(infills=asked)
    # Whose every value is within the reference point, and of those the first front.
    values = np.concatenate(values)[:CANDIDATES]
    values = values[(values < reference).all(axis=1)]
    return float(HV(ref_point=np.array(reference))(values[NonDominatedSorting().do(values, only_non_dominated_front=True)]))


def search(job):
    program, function, dimensions, batch, seed = job
    own, front, reference = ours(program, function, dimensions, batch, seed)
    return own / front, pymoo(reference, function, dimensions, batch, seed) / front


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=15)
    arguments = parser.parse_args()
    program = common.build("tradeoffs")
    rows, bars = [], []
    with concurrent.futures.ProcessPoolExecutor(common.CORES) as pool:
        for function, dimensions in PROBLEMS:
            for batch in BATCHES:
                jobs = [(program, function, dimensions, batch, seed) for seed in range(arguments.seeds)]
                found = list(pool.map(search, jobs))
                own, other = ([pair[place] for pair in found] for place in (0, 1))
                ahead = sum(a > b for a, b in found)
                shares = [f"{statistics.median(shares):.4f} ({min(shares):.4f} to {max(shares):.4f})" for shares in (own, other)]
                rows.append([f"{function}, {dimensions} d", str(batch), *shares, f"{ahead} of {len(found)}"])
                for method, all in ((OURS, own), (THEIRS, other)):
                    bar = tuple(100 * share for share in (min(all), statistics.median(all), max(all)))
                    bars.append((f"{method}, {function}, batches of {batch}", bar, method == OURS))
                print(*rows[-1], flush=True)
    import pymoo as peer

    where = (
        f"Shares of the front's hypervolume that {CANDIDATES:,} evaluations cover, populations of {POPULATION}; median of "
        f"{arguments.seeds} seeds (least to most), `nsga2` against pymoo {peer.__version__}'s NSGA2 with its defaults, its offspring a "
        f"batch; on {common.machine()}, whose speed changes nothing."
    )
    header = ["problem", "batch", "`nsga2`", "pymoo", "seeds that `nsga2` leads in"]
    plot = common.plot("Trade-offs found", "per cent of the front's hypervolume", bars)
    common.write("fronts", "Trade-offs found", [where, common.table(header, rows)], plot)


if __name__ == "__main__":
    main()
