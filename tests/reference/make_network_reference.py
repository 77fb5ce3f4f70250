"""Writes what ONNX Runtime computes for the shared models, for tests/network.rs.

    python tests/reference/make_network_reference.py [SHARED_DATA]

Needs numpy, onnxruntime and Pillow. Each output file holds `input` (the first images of the
model's test data, normalised as its card says; left out where it would be large) and `logits`.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image

HERE = Path(__file__).parent
SHARED = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE.parents[1].parent / "shared" / "data"


def normalised(images, card):
    mean, std = (np.array(card["input"][key], np.float32)[:, None, None] for key in ("mean", "std"))
    return ((images - mean) / std).astype(np.float32)


def cifar10(count):
    record = np.fromfile(SHARED / "cifar10" / "test_batch.bin", np.uint8, count * 3073)
    return record.reshape(count, 3073)[:, 1:].reshape(count, 3, 32, 32).astype(np.float32) / 255


def digits(count):
    with gzip.open(SHARED / "digits" / "digits.csv.gz", "rt") as file:
        rows = np.loadtxt(file, delimiter=",", dtype=np.float32)
    return rows[1437 : 1437 + count, :64].reshape(count, 1, 8, 8) / 16


def imagenet(count):
    names = sorted(path.name for path in (SHARED / "imagenet_sample" / "images").iterdir())
    images = [
        np.asarray(Image.open(SHARED / "imagenet_sample" / "images" / name).convert("RGB"))
        for name in names[:count]
    ]
    return np.stack(images).transpose(0, 3, 1, 2).astype(np.float32) / 255


for model, load, count, keep_input in [
    ("digits_cnn", digits, 8, True),
    ("resnet20_cifar10", cifar10, 8, True),
    # A fixed picture instead of photographs, which are not ours to copy.
    ("efficientnet_lite0_imagenet", None, 2, False),
]:
    path = SHARED / "models" / f"{model}.onnx"
    card = json.loads(path.with_suffix(".json").read_text())
    if load is None:
        # The same numbers as `waves` in tests/network.rs.
        index = np.arange(count * 3 * 224 * 224, dtype=np.float64)
        batch = np.sin(index * 0.37).astype(np.float32).reshape(count, 3, 224, 224)
    else:
        batch = normalised(load(count), card)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (logits,) = session.run(None, {"input": batch})
    arrays = {"logits": logits}
    if keep_input:
        arrays["input"] = batch
    np.savez_compressed(HERE / f"network_{model}.npz", **arrays)
    print(model, logits.shape)
