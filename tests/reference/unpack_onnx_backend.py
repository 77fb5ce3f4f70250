#!/usr/bin/env python3
"""Writes the backend test data that the `onnx` package carries as one archive a case.

    unpack_onnx_backend.py FOLDER

FOLDER/KIND/CASE.npz holds `model` (the file's bytes), `x0`, `x1`, … in the order of the network's inputs and `y0`, …; only `model` where an input or
output is no tensor of numbers. Needs onnx and numpy.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

KINDS = ["light", "simple", "pytorch-converted", "pytorch-operator"]


def array(path):
    tensor = onnx.TensorProto()
    tensor.ParseFromString(path.read_bytes())
    return numpy_helper.to_array(tensor)


def open_inputs(graph):
    """Old files list initializers among the inputs."""
    known = {initializer.name for initializer in graph.initializer}
    return [value for value in graph.input if value.name not in known]


def ramp(value):
    """What the package's own runner feeds networks that come without inputs."""
    shape = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    n = int(np.prod(shape))
    return (np.arange(n).reshape(shape) / n).astype(np.float32)


def numbers(values):
    return all(value.type.HasField("tensor_type") and value.type.tensor_type.elem_type != onnx.TensorProto.STRING for value in values)


def read_case(kind, path):
    """The model's path, inputs and outputs; the latter none where they are no numbers."""
    if kind == "light":
        graph = onnx.load(path).graph
        inputs = [ramp(value) for value in open_inputs(graph)]
        return path, inputs, [array(path.with_name(f"{path.stem}_output_0.pb"))]
    file, data = path / "model.onnx", path / "test_data_set_0"
    graph = onnx.load(file).graph
    if not numbers(list(graph.input) + list(graph.output)):
        return file, [], []
    arrays = lambda what: [array(data / f"{what}_{i}.pb") for i in range(len(list(data.glob(f"{what}_*.pb"))))]
    return file, arrays("input"), arrays("output")


def main():
    source, target = Path(onnx.__file__).parent / "backend/test/data", Path(sys.argv[1])
    for kind in KINDS:
        (target / kind).mkdir(parents=True, exist_ok=True)
        pattern = "*.onnx" if kind == "light" else "*/"
        for path in sorted((source / kind).glob(pattern)):
            file, inputs, outputs = read_case(kind, path)
            arrays = {f"x{i}": value for i, value in enumerate(inputs)} | {f"y{i}": value for i, value in enumerate(outputs)}
            np.savez(target / kind / f"{path.stem}.npz", model=np.frombuffer(file.read_bytes(), np.uint8), **arrays)


main()
