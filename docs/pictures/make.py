"""Draws docs/pictures/tune.svg: the main job in a terminal, once while it runs and once when it has ended.

    pip install pyte==0.8.2 && cargo build --release && python docs/pictures/make.py

The program runs in a pseudo-terminal; what a terminal would show becomes text in an SVG. Nothing is written by hand.
"""

import os
import pty
import shutil
import struct
import fcntl
import tempfile
import termios
import time
from html import escape
from pathlib import Path

import pyte

ROOT = Path(__file__).resolve().parents[2]
COLUMNS, ROWS = 104, 44
CELL, LINE, MARGIN = 8.4, 19, 18
BACKGROUND, FOREGROUND = "#0f1620", "#d9e0e8"
# Blue and yellow, as src/monitor/style.rs has them.
COLOURS = {"default": FOREGROUND, "blue": "#6cb6ff", "brown": "#e8c547", "red": "#ff8f85"}
# When to look: so many seconds after the first candidates are done.
LOOK_AFTER = 30


def watch(command, folder):
    """Runs a command; the screen some seconds into its search, and the screen at its end."""
    screen = pyte.Screen(COLUMNS, ROWS)
    stream = pyte.ByteStream(screen)
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        os.environ.update(TERM="xterm-256color", NODEVICE_SELECT="1")
        os.execv(command[0], command)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    middle, began = None, None
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            break
        stream.feed(data)
        shown = lines(screen)
        if began is None and any("lanes/s" in text(line) for line in shown):
            began = time.monotonic()
        if middle is None and began and time.monotonic() - began > LOOK_AFTER and "best" in text(shown[-1]):
            middle = shown
    os.waitpid(child, 0)
    return middle or lines(screen), lines(screen)


def lines(screen):
    rows = [[screen.buffer[row][column] for column in range(COLUMNS)] for row in range(ROWS)]
    while rows and not text(rows[-1]):
        rows.pop()
    return rows


def text(row):
    return "".join(cell.data for cell in row).rstrip()


def spans(row):
    """Runs of cells that look alike: first column, text, colour, weight."""
    runs = []
    for column, cell in enumerate(row[: len(text(row))]):
        look = COLOURS.get(cell.fg, FOREGROUND), cell.bold
        if runs and runs[-1][2:] == list(look):
            runs[-1][1] += cell.data
        else:
            runs.append([column, cell.data, *look])
    return runs


def draw(rows):
    width, height = COLUMNS * CELL + 2 * MARGIN, len(rows) * LINE + 2 * MARGIN
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height}" role="img">',
        "<title>thousandfold tune configs/digits_mlp.toml</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACKGROUND}"/>',
        '<g font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,\'DejaVu Sans Mono\',monospace" font-size="14">',
    ]
    for number, row in enumerate(rows):
        y = MARGIN + number * LINE + 14
        for column, run, colour, bold in spans(row):
            if run.strip():
                x, length = MARGIN + column * CELL, len(run) * CELL
                weight = ' font-weight="bold"' if bold else ""
                parts.append(
                    f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}" fill="{colour}"{weight}'
                    f' xml:space="preserve">{escape(run)}</text>'
                )
    return "\n".join(parts + ["</g>", "</svg>"]) + "\n"


def prompt(command):
    cell = pyte.screens.Char("")
    return [cell._replace(data=letter, bold=True) for letter in f"$ {command}".ljust(COLUMNS)]


def main():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(ROOT / "configs", Path(folder) / "configs")
        arguments = ["tune", "configs/digits_mlp.toml"]
        middle, end = watch([str(ROOT / "target/release/thousandfold"), *arguments], folder)
    # The end's screen repeats what stands above the progress: from the summary on it is new.
    first = next(number for number, row in enumerate(end) if " candidates of " in text(row))
    blank = [[]]
    rows = [prompt("thousandfold " + " ".join(arguments)), *middle, *blank, *end[first:]]
    (ROOT / "docs/pictures/tune.svg").write_text(draw(rows))


if __name__ == "__main__":
    main()
