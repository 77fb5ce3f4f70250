"""Runs an ONNX file in ONNX Runtime, plainly and optimised, on inputs that lie in a folder.

    python verify_onnx.py MODEL FOLDER

FOLDER/inputs.json lists the inputs: name, type, shape, file. The first output of each way of
running is written there as little-endian f32; a JSON object on stdout says where and how long it took.
"""

import json
import sys
import time
from pathlib import Path

try:
    import numpy as np
    import onnxruntime as ort
except ImportError as error:
    print(f"missing {error.name}", file=sys.stderr)
    sys.exit(3)

BATCH = 64
WAYS = {
    "plain": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "optimised": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def main(model, folder):
    folder = Path(folder)
    inputs = {}
    for entry in json.loads((folder / "inputs.json").read_text()):
        array = np.fromfile(folder / entry["file"], dtype=entry["type"])
        inputs[entry["name"]] = array.reshape(entry["shape"])
    n = len(next(iter(inputs.values())))
    found = {}
    for way, level in WAYS.items():
        options = ort.SessionOptions()
        options.graph_optimization_level = level
        options.log_severity_level = 3
        try:
            session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            found[way] = {"error": str(error).splitlines()[0]}
            continue
        start, parts = time.perf_counter(), []
        for at in range(0, n, BATCH):
            batch = {name: array[at : at + BATCH] for name, array in inputs.items()}
            parts.append(session.run(None, batch)[0])
        wall_s = time.perf_counter() - start
        path = folder / f"{way}.bin"
        np.concatenate(parts).astype("<f4").tofile(path)
        found[way] = {"file": str(path), "wall_s": wall_s}
    print(json.dumps({"version": ort.__version__, "ways": found}))


main(sys.argv[1], sys.argv[2])
