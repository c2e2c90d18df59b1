"""Times studies of a command that does nothing but print a number, against plain loops of a shell that run it as often.

    python benches/command.py [--candidates 10000] [--loop 10000] [--runs 3] [--program target/release/thousandfold]

Writes benches/results/command.md. What a study takes a trial beyond the loop is what this program adds to the command's own
start: the checkpoint directory, pipes, the group, the journal, proposals. Both are run in turns, one program at a time and as many
as there are cores. Wall time is the whole process's, its own start included; processor time is that of the process and of all
that it has started, which other programs on the machine change little.
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import common

ECHO = "/bin/echo"
LOOP = f"i=0; while [ $i -lt $1 ]; do x=$({ECHO} 1); i=$((i + 1)); done"


def timed(command, folder):
    """Wall and processor seconds of a command with its children."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    wall, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, used


def study(program, candidates, workers):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.toml"
        path.write_text(
            f"[objective]\ncommand = ['{ECHO}', '1']\nworkers = {workers}\n[space]\nx = {{ float = [0, 1] }}\n"
            f"[search]\nstrategy = 'random'\ncandidates = {candidates}\n"
        )
        times = timed([program, "tune", path, "-q"], folder)
        counts = json.loads((Path(folder) / "runs/study/result.json").read_text())["counts"]
        assert counts["complete"] == candidates, counts
        return times


def loop(count, shells):
    """Of shells that share the runs."""
    share = [str((count + shell) // shells) for shell in range(shells)]
    started = f"for n in {' '.join(share)}; do (set -- $n; {LOOP}) & done; wait"
    return timed(["/bin/sh", "-c", started], None)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=10_000, help="of each study")
    parser.add_argument("--loop", type=int, default=10_000, help="runs of each loop")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--program", type=Path, help="one that is built already; said in the results")
    arguments = parser.parse_args()
    program = arguments.program
    if program is None:
        subprocess.run(["cargo", "build", "--quiet", "--release"], check=True, cwd=common.ROOT)
        program = Path(os.environ.get("CARGO_TARGET_DIR", common.ROOT / "target")) / "release" / "thousandfold"
    load = os.getloadavg()[0]
    kinds = [
        ("a loop of a shell", 1, lambda: loop(arguments.loop, 1)),
        ("a study, one at a time", 1, lambda: study(program.absolute(), arguments.candidates, 1)),
        (f"loops of {common.CORES} shells", common.CORES, lambda: loop(arguments.loop, common.CORES)),
        (f"a study, {common.CORES} at a time", common.CORES, lambda: study(program.absolute(), arguments.candidates, common.CORES)),
        ("a study, 64 at a time", 64, lambda: study(program.absolute(), arguments.candidates, 64)),
    ]
    counts = [arguments.loop, arguments.candidates, arguments.loop, arguments.candidates, arguments.candidates]
    times = {name: [] for name, _, _ in kinds}
    for _ in range(arguments.runs):
        for (name, _, measure), count in zip(kinds, counts):
            times[name].append([1e3 * seconds / count for seconds in measure()])

    def middle(name, kind):
        return sorted(pair[kind] for pair in times[name])[arguments.runs // 2]

    def spread(name, kind):
        values = [pair[kind] for pair in times[name]]
        return f"{middle(name, kind):.2f} ({min(values):.2f} to {max(values):.2f})"

    rows = [[name, spread(name, 0), spread(name, 1)] for name in times]
    wall, used = ([middle(name, kind) for name in times] for kind in (0, 1))
    built = "" if arguments.program is None else f" The program is cargo's {arguments.program.parent.name} build."
    parts = [
        f"Studies of {arguments.candidates:,} candidates of `{ECHO} 1`, and loops of `sh` that run it {arguments.loop:,} times and "
        f"take what it prints. {arguments.runs} runs of each in turns, on {common.machine()}; load average before the first run: "
        f"{load:.1f} (above 0, other programs took a part of the cores).{built}",
        common.table(["ms a run of the command, median (least to most):", "wall time", "processor time"], rows),
        f"Beyond the command's own start a trial takes **{wall[1] - wall[0]:.2f} ms** of wall time one at a time, "
        f"{wall[3] - wall[2]:.2f} ms where {common.CORES} run at a time and {wall[4] - wall[2]:.2f} ms where 64 do; of processor time "
        f"{used[1] - used[0]:.2f}, {used[3] - used[2]:.2f} and {used[4] - used[2]:.2f} ms. What is below 0 is the shell's own work in "
        "a turn: it forks itself to take what is printed.",
    ]
    (common.RESULTS / "command.md").write_text("# Commands\n\n" + "\n\n".join(parts) + "\n")
    print("\n\n".join(parts))


if __name__ == "__main__":
    main()
