"""Checks ONNX files and runs them with onnxruntime.

Standard input is JSON, a list of {"model": path, "columns": {name: cells}}, with null for a missing number and "" for a
missing category. Standard output is a list of {output: values}, NaN as null.
"""

import json
import sys

import numpy as np
import onnx
import onnxruntime

KINDS = {"tensor(double)": np.float64, "tensor(string)": object}


def plain(values):
    if values.dtype.kind == "f":
        values = np.where(np.isnan(values), None, values.astype(object))
    return values.tolist()


def run(case):
    onnx.checker.check_model(case["model"], full_check=True)
    session = onnxruntime.InferenceSession(case["model"], providers=["CPUExecutionProvider"])
    feed = {
        wanted.name: np.array(case["columns"][wanted.name], dtype=KINDS[wanted.type]).reshape(-1, 1)
        for wanted in session.get_inputs()
    }
    names = [output.name for output in session.get_outputs()]
    return {name: plain(values) for name, values in zip(names, session.run(names, feed))}


json.dump([run(case) for case in json.load(sys.stdin)], sys.stdout)
