"""Trains scikit-learn's perceptron on its handwritten digits, an epoch a step.

Prints a line {"step": 3, "value": 0.94} after each, the share of validation rows that are right, and keeps what it needs to go on
in the checkpoint directory. Run by configs/digits_command.toml; by hand: python3 digits_command.py --rate=0.01
"""

import argparse
import json
import os
import pickle
import warnings

from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rate", type=float, default=0.001)
parser.add_argument("--hidden", type=int, default=32)
# Left out where the solver has no momentum.
parser.add_argument("--momentum", type=float, default=0.9)
options = parser.parse_args()

solver = os.environ.get("THOUSANDFOLD_solver", "adam")
budget = int(os.environ.get("THOUSANDFOLD_BUDGET", 27))
seed = int(os.environ.get("THOUSANDFOLD_SEED", 0))
checkpoint = os.path.join(os.environ.get("THOUSANDFOLD_CHECKPOINT", ""), "model.pickle")

warnings.simplefilter("ignore", ConvergenceWarning)
x, y = load_digits(return_X_y=True)
x_train, x_valid, y_train, y_valid = train_test_split(x / 16, y, test_size=0.25, random_state=0, stratify=y)


def report(model, step):
    print(json.dumps({"step": step, "value": model.score(x_valid, y_valid)}), flush=True)


if "THOUSANDFOLD_CHECKPOINT" in os.environ and os.path.exists(checkpoint):
    with open(checkpoint, "rb") as file:
        model, step = pickle.load(file)
    # Whatever stopped it last time may have come between the checkpoint and the line.
    report(model, step)
else:
    step = 0
    model = MLPClassifier(
        (options.hidden,), solver=solver, learning_rate_init=options.rate, momentum=options.momentum, random_state=seed
    )

while step < budget:
    model.partial_fit(x_train, y_train, classes=range(10))
    step += 1
    if "THOUSANDFOLD_CHECKPOINT" in os.environ:
        # Whole or not at all, whenever it is stopped.
        with open(checkpoint + ".new", "wb") as file:
            pickle.dump((model, step), file)
        os.replace(checkpoint + ".new", checkpoint)
    report(model, step)
