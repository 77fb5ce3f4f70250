#!/usr/bin/env python3
"""Writes a freshly initialised network whose hidden layers are made to be binary, as ONNX with its card.

    scripts/make_binary_net.py mnist assets/binary_mnist.onnx
    scripts/make_binary_net.py digits tests/networks/binary_digits.onnx

Each convolution is followed by batch normalization and a clip to -1..1 (a hard tanh), so that one bit of what the
next layer reads is its sign. `haq finetune --bits 1,1 --pin first=8,last=8 --distill 0` trains it. Needs NumPy and onnx.
"""

import argparse
import collections
import json
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# Side of the image, largest pixel, mean and deviation, and of each convolution: channels, kernel, stride.
NETWORKS = {
    "mnist": (28, 255, 0.1307, 0.3081, [(16, 5, 2), (32, 3, 2), (64, 3, 1), (64, 3, 2)]),
    "digits": (8, 16, 0.3051, 0.3759, [(16, 3, 1), (32, 3, 2), (32, 3, 1)]),
}


def build(side, convolutions, seed):
    random = np.random.default_rng(seed)
    nodes, constants = [], []

    def constant(name, values):
        constants.append(numpy_helper.from_array(np.asarray(values, dtype=np.float32), name))
        return name

    low, high = constant("low", -1.0), constant("high", 1.0)
    read, channels = "input", 1
    for index, (width, kernel, stride) in enumerate(convolutions):
        name, pad = f"conv{index}", kernel // 2
        spread = np.sqrt(2 / (channels * kernel**2))
        weight = constant(f"{name}.weight", random.normal(size=(width, channels, kernel, kernel)) * spread)
        nodes.append(helper.make_node("Conv", [read, weight], [name], name, kernel_shape=[kernel] * 2,
                                      strides=[stride] * 2, pads=[pad] * 4))
        norm = [constant(f"norm{index}.{what}", np.full(width, value))
                for what, value in [("weight", 1), ("bias", 0), ("mean", 0), ("variance", 1)]]
        nodes.append(helper.make_node("BatchNormalization", [name, *norm], [f"norm{index}"], f"norm{index}"))
        nodes.append(helper.make_node("Clip", [f"norm{index}", low, high], [f"clip{index}"], f"clip{index}"))
        read, channels, side = f"clip{index}", width, (side - 1) // stride + 1
    nodes.append(helper.make_node("Flatten", [read], ["flat"], "flatten"))
    features = channels * side**2
    weight = constant("fc.weight", random.normal(size=(10, features)) / np.sqrt(features))
    nodes.append(helper.make_node("Gemm", ["flat", weight, constant("fc.bias", np.zeros(10))], ["logits"], "fc", transB=1))
    return nodes, constants


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("images", choices=NETWORKS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    side, scale_max, mean, std, convolutions = NETWORKS[options.images]
    nodes, constants = build(side, convolutions, options.seed)
    image = helper.make_tensor_value_info("input", TensorProto.FLOAT, ["batch", 1, side, side])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "binary", [image], [logits], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, options.out)
    widths = ", ".join(f"{width} ({kernel}x{kernel}, stride {stride})" for width, kernel, stride in convolutions)
    card = {
        "name": options.out.stem,
        "architecture": f"convolutions with {widths} channels, each with batch normalization and a clip to -1..1; linear",
        "source": {"made": "initialised, not trained, by scripts/make_binary_net.py", "seed": options.seed, "licence": "MIT"},
        "parameters": int(sum(np.prod(constant.dims) for constant in constants)),
        "input": {"name": "input", "layout": "NCHW", "shape": ["batch", 1, side, side], "dtype": "float32",
                  "channel_order": "grey", "scale": f"value/{scale_max} then (x-mean)/std", "mean": [mean], "std": [std]},
        "output": {"name": "logits", "shape": ["batch", 10], "activation": "none (raw logits)"},
        "classes": [str(digit) for digit in range(10)],
        "onnx": {"opset": 17, "ir_version": 8, "batch_norm": "kept as BatchNormalization nodes (not folded)",
                 "dynamic_batch": True, "nodes": dict(collections.Counter(node.op_type for node in nodes))},
    }
    options.out.with_suffix(".json").write_text(json.dumps(card, indent=1) + "\n")
    print(f"{options.out}: {options.out.stat().st_size} bytes")


if __name__ == "__main__":
    main()
