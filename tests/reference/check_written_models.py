"""Runs the models that tests/network_ops.rs writes in ONNX Runtime, against the stored results.

    HAQ_WRITE_ONNX=FOLDER cargo test --test network_ops
    python tests/reference/check_written_models.py FOLDER
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime

arrays = np.load(Path(__file__).parent / "network_ops.npz")
failures = 0
paths = sorted(Path(sys.argv[1]).glob("*.onnx"))
for path in paths:
    name = path.name.split(".")[0]
    try:
        onnx.checker.check_model(onnx.load(path), full_check=True)
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        feeds = {node.name: arrays[f"{name}:x{index}"] for index, node in enumerate(session.get_inputs())}
        for index, found in enumerate(session.run(None, feeds)):
            np.testing.assert_allclose(found, arrays[f"{name}:y{index}"], rtol=1e-4, atol=1e-5)
    except Exception as error:
        failures += 1
        print(path.name, str(error).strip().splitlines()[0][:300])
print(f"{len(paths)} models, {failures} failures")
sys.exit(failures > 0 or not paths)
