"""What the benchmark scripts share: the machine's name, building and running this program's examples, runs in turns,
and results as a Markdown table with a plot beside it.
"""

import html
import json
import math
import os
import platform
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benches" / "results"
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine():
    """Such as "2 cores of AMD EPYC 9654, Linux"."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{CORES} cores of {name}, {platform.system()}"


def build(example):
    """Builds one of examples/ in release mode and gives its path."""
    # The program with it: alone, each would be built with other features of its dependencies, and anew in turns.
    command = ["cargo", "build", "--quiet", "--release", "--bin", "thousandfold", "--example", example]
    subprocess.run(command, check=True, cwd=ROOT)
    return Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release" / "examples" / example


def run(command, environment=None):
    """Runs a command that prints one line of JSON; `environment` is added to this process's, None unsets a variable."""
    variables = os.environ | (environment or {})
    variables = {name: value for name, value in variables.items() if value is not None}
    command = [str(word) for word in command]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables)
    return json.loads(done.stdout.splitlines()[-1])


def one_thread_a_process():
    """Before numpy is imported: the numerical libraries of this process and its children start no threads."""
    for variable in ["OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"]:
        os.environ[variable] = "1"


def one_process_a_core(pool, work, jobs):
    """Deals jobs to a warm pool of joblib's, each core the same mixture of slow and fast ones. `work` gives the seconds
    that count and a value: the busiest core's seconds, and all values in order."""
    from joblib import delayed

    shares = pool(delayed(lambda jobs: [work(job) for job in jobs])(jobs[core::CORES]) for core in range(CORES))
    values = [None] * len(jobs)
    for core, share in enumerate(shares):
        values[core::CORES] = [value for _, value in share]
    return max(sum(seconds for seconds, _ in share) for share in shares), values


def write_folds(folds, file, levels=None, is_scaled=False):
    """As examples/shared/folds.rs reads them. `folds`: (x, y), or (x, y, weights), of the training and of the held-out
    rows of each; y of integers are class codes. `levels`: categories of each feature, 0 for numbers. With `is_scaled`
    numbers to predict are scaled for training as a study scales them."""
    import numpy as np

    with open(file, "wb") as out:
        x, y, *weights = folds[0][0]
        has_classes = np.issubdtype(y.dtype, np.integer)
        classes = max(int(rows[1].max()) for fold in folds for rows in fold) + 1 if has_classes else 0
        out.write(np.array([len(folds), x.shape[1], classes, len(weights), is_scaled], "<u4").tobytes())
        out.write(np.array([0] * x.shape[1] if levels is None else levels, "<u4").tobytes())
        for x, y, *weights in (rows for fold in folds for rows in fold):
            out.write(np.array([len(y)], "<u4").tobytes() + np.ascontiguousarray(x, "<f4").tobytes())
            out.write(y.astype("<u4" if has_classes else "<f4").tobytes())
            for weight in weights:
                out.write(weight.astype("<f4").tobytes())


class Turns:
    """The results of several programs that ran in turns, A B C A B C: what else the machine did hit all of them."""

    def __init__(self, programs, amounts, runs, seconds=lambda result: result["seconds"]):
        """`programs`: what to call, by name; `amounts`: how much a call does, in the unit that rates count; `seconds`: how
        long a result says that it took."""
        self.load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
        self.amounts, self.runs = amounts, runs
        self.results = {name: [] for name in programs}
        self.seconds = {name: [] for name in programs}
        for _ in range(runs):
            for name, program in programs.items():
                self.results[name].append(program())
                self.seconds[name].append(seconds(self.results[name][-1]))
            print(", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in self.seconds.items()), flush=True)

    def rates(self, name):
        """Slowest, median and fastest rate of a program."""
        rates = [self.amounts[name] / seconds for seconds in self.seconds[name]]
        return min(rates), statistics.median(rates), max(rates)

    def times_as_fast(self, ours, theirs):
        """How many times as much `ours` does in the same time: the median over pairs of neighbouring runs."""
        share = self.amounts[ours] / self.amounts[theirs]
        return statistics.median(share * b / a for a, b in zip(self.seconds[ours], self.seconds[theirs]))

    def where(self):
        """The sentence that names the machine and how it was shared."""
        return (
            f"{self.runs} run{'s' * (self.runs > 1)} of each program in turns, on {machine()}; load average before the first run: "
            f"{self.load:.1f} (above 0, other programs took a part of the cores)."
        )


def table(header, rows):
    """A Markdown table; the first column is text, the others numbers."""
    lines = ["| " + " | ".join(header) + " |", "|---" + "|---:" * (len(header) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def write(name, title, parts, plot):
    """Writes benches/results/NAME.md with its plot beside it, if there is one, and prints it. `parts` are its paragraphs."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    picture = RESULTS / f"{name}.svg"
    if plot is None:
        picture.unlink(missing_ok=True)
    else:
        picture.write_text(plot)
        parts = [*parts, f"![{title}]({name}.svg)"]
    text = "\n\n".join([f"# {title}", *parts]) + "\n"
    (RESULTS / f"{name}.md").write_text(text)
    print(text)


# Blue and vermillion of Okabe and Ito's palette are told apart by every kind of colour vision, and have a contrast of 3
# or more on white and on black; the grey has 4.5 on both.
OURS, THEIRS, TEXT = "#0072B2", "#D55E00", "#767676"


def plot(title, unit, bars, log=False):
    """A picture of rates as SVG. `bars`: name, (least, median, most), whether it is this program's. With `log` the axis is
    logarithmic and a dot stands for each median, because the length of a bar means nothing there."""
    # A character of 13 pixels is 7.4 wide on average.
    left = 30 + 7.4 * max(len(name) for name, _, _ in bars)
    width, right, top, height = left + 500, 110, 58, 34
    most = max(rate for _, rates, _ in bars for rate in rates)
    ticks = decades(min(rate for _, rates, _ in bars for rate in rates), most) if log else round_ticks(most)
    first, last = ticks[0], ticks[-1]
    scale = math.log if log else float

    def x(rate):
        return left + (width - left - right) * (scale(rate) - scale(first)) / (scale(last) - scale(first))

    bottom = top + height * len(bars)
    parts = [f'<text x="16" y="26" font-size="16" font-weight="600">{html.escape(title)}</text>']
    for tick in ticks:
        parts.append(
            f'<line x1="{x(tick):.1f}" y1="{top - 8}" x2="{x(tick):.1f}" y2="{bottom}" stroke="{TEXT}" opacity="0.35"/>'
        )
        parts.append(
            f'<text x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle" font-size="11">{tick:,.10g}</text>'
        )
    parts.append(
        f'<text x="{width / 2:.0f}" y="{bottom + 34}" text-anchor="middle" font-size="12">{html.escape(unit)}</text>'
    )
    for place, (name, (least, median, most), is_ours) in enumerate(bars):
        middle, colour = top + height * (place + 0.5), OURS if is_ours else THEIRS
        parts.append(f'<text x="{left - 10:.0f}" y="{middle + 4}" text-anchor="end">{html.escape(name)}</text>')
        if log:
            parts.append(f'<circle cx="{x(median):.1f}" cy="{middle}" r="6" fill="{colour}"/>')
        else:
            parts.append(
                f'<rect x="{left:.1f}" y="{middle - 11}" width="{max(x(median) - left, 1):.1f}" height="22" rx="2" fill="{colour}"/>'
            )
        # The spread of the runs, with a mark at either end.
        parts.append(
            f'<path d="M{x(least):.1f} {middle - 5}v10m0-5H{x(most):.1f}m0-5v10" fill="none" stroke="{TEXT}" stroke-width="2"/>'
        )
        parts.append(f'<text x="{width - 16:.0f}" y="{middle + 4}" text-anchor="end">{number(median)}</text>')
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {bottom + 46}" width="{width:.0f}" role="img" '
        f'font-family="system-ui, \'DejaVu Sans\', sans-serif" font-size="13" fill="{TEXT}">\n<title>{html.escape(title)}</title>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def number(value):
    """With about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def decades(least, most):
    """Powers of ten around a range."""
    first, last = math.floor(math.log10(least)), math.ceil(math.log10(most))
    return [10.0**power for power in range(first, max(last, first + 1) + 1)]


def round_ticks(most):
    """About five round numbers from 0 to `most` or a little less, then one beyond."""
    step = 10.0 ** math.floor(math.log10(most / 4))
    step *= next(factor for factor in (1, 2, 5, 10) if most / (step * factor) <= 6)
    return [step * i for i in range(math.ceil(most / step) + 1)]
