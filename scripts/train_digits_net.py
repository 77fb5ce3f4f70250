#!/usr/bin/env python3
"""Trains the network that is built into haq and writes it as ONNX with its card.

The network is a small depthwise-separable classifier (MobileNet-style, two residual blocks) for
scikit-learn's digits. It learns from the even rows of the CSV only: the odd rows are what haq
calibrates, searches and tests on, so here they are only counted, at the end.

Needs torch, numpy, onnx and onnxruntime. Run it from anywhere:

    python3 scripts/train_digits_net.py
"""

import argparse
import collections
import copy
import json
import math
import pathlib

import numpy as np
import onnx
import onnxruntime
import torch
import torch.nn.functional as F
from torch import nn

ROOT = pathlib.Path(__file__).resolve().parent.parent

# (out channels, stride) of each block; a block of stride 1 that keeps its width is residual.
BLOCKS = [(8, 1), (12, 2), (12, 1), (20, 1), (40, 1)]
STEM_CHANNELS = 8


class Block(nn.Module):
    """3x3 depthwise, then 1x1 pointwise (Howard et al. 2017); the residual one adds its input."""

    def __init__(self, in_channels, out_channels, stride, residual):
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride, 1, groups=in_channels, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.pointwise_norm = nn.BatchNorm2d(out_channels)
        self.residual = residual

    def forward(self, x):
        y = F.relu6(self.depthwise_norm(self.depthwise(x)))
        y = self.pointwise_norm(self.pointwise(y))
        # As in MobileNetV2, nothing clips the sum: the block's output stays linear.
        return x + y if self.residual else F.relu6(y)


class DigitsNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(1, STEM_CHANNELS, 3, 1, 1, bias=False)
        self.stem_norm = nn.BatchNorm2d(STEM_CHANNELS)
        widths = [STEM_CHANNELS] + [width for width, _ in BLOCKS]
        for i, (width, stride) in enumerate(BLOCKS):
            block = Block(widths[i], width, stride, residual=stride == 1 and widths[i] == width)
            self.add_module(f"block{i + 1}", block)
        self.classifier = nn.Linear(widths[-1], 10)

    def blocks(self):
        return [(name, module) for name, module in self.named_children() if isinstance(module, Block)]

    def forward(self, x):
        x = F.relu6(self.stem_norm(self.stem(x)))
        for _, block in self.blocks():
            x = block(x)
        return self.classifier(F.adaptive_avg_pool2d(x, 1).flatten(1))


def load_rows(path):
    """Pixels scaled to [0, 1] as `[rows, 1, 8, 8]`, and labels."""
    table = np.loadtxt(path, delimiter=",", dtype=np.float32)
    pixels = torch.from_numpy(table[:, :64] / 16).reshape(-1, 1, 8, 8)
    return pixels, torch.from_numpy(table[:, 64]).long()


def augment(images, generator):
    """Small rotations, zooms, shears and shifts, bilinear, a fresh one for each image.

    - `images`: `[n, 1, 8, 8]`, background 0
    """
    n = len(images)

    def uniform(limit):
        return (torch.rand(n, generator=generator) * 2 - 1) * limit

    angle, zoom, shear = uniform(math.radians(12)), 1 + uniform(0.1), uniform(0.1)
    # A pixel is 1/4 of the half-width that affine_grid counts in. Digits fill the full height, so
    # they are moved less up and down.
    shift_x, shift_y = uniform(0.6 / 4), uniform(0.3 / 4)
    cos, sin = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    rows = [torch.stack([cos, -sin + shear, shift_x], 1), torch.stack([sin, cos, shift_y], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def train(pixels, labels, mean, std, options):
    """Trains on all the rows given; returns the exponential average of the weights."""
    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    network = DigitsNet()
    average = copy.deepcopy(network)
    optimizer = torch.optim.SGD(
        network.parameters(), lr=options.peak_rate, momentum=0.9, nesterov=True, weight_decay=options.weight_decay
    )
    steps = math.ceil(len(pixels) / options.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, options.peak_rate, epochs=options.epochs, steps_per_epoch=steps
    )
    for _ in range(options.epochs):
        network.train()
        order = torch.randperm(len(pixels), generator=generator)
        for batch in order.split(options.batch):
            images = (augment(pixels[batch], generator) - mean) / std
            loss = F.cross_entropy(network(images), labels[batch], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            move_average(average, network)
    return average.eval()


@torch.no_grad()
def move_average(average, network, keep=0.99):
    for kept, now in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(now, 1 - keep)
        else:
            kept.copy_(now)


class OnnxGraph:
    """Nodes and initializers in the order they are added; a node's one output bears its name."""

    def __init__(self, state):
        self.state = state
        self.nodes = []
        self.initializers = [
            onnx.numpy_helper.from_array(np.array(bound, np.float32), name)
            for name, bound in (("relu6.min", 0), ("relu6.max", 6))
        ]

    def add(self, op, name, inputs, **attributes):
        self.nodes.append(onnx.helper.make_node(op, inputs, [name], name, **attributes))
        return name

    def parameters(self, layer, *kinds):
        names = [f"{layer}.{kind}" for kind in kinds]
        self.initializers += [onnx.numpy_helper.from_array(self.state[name].numpy(), name) for name in names]
        return names

    def convolution(self, layer, module, x):
        """Convolution and its batch norm, which stays a node."""
        x = self.add(
            "Conv",
            layer,
            [x, *self.parameters(layer, "weight")],
            kernel_shape=module.kernel_size,
            strides=module.stride,
            pads=module.padding * 2,
            group=module.groups,
        )
        norm = self.parameters(f"{layer}_norm", "weight", "bias", "running_mean", "running_var")
        return self.add("BatchNormalization", f"{layer}_norm", [x, *norm], epsilon=1e-5)

    def relu6(self, layer, x):
        return self.add("Clip", f"{layer}_relu6", [x, "relu6.min", "relu6.max"])


def to_onnx(network):
    """The network as opset 17, IR 8, with a dynamic batch; nodes are named as in PyTorch."""
    graph = OnnxGraph(network.state_dict())
    x = graph.relu6("stem", graph.convolution("stem", network.stem, "input"))
    for name, block in network.blocks():
        y = graph.relu6(f"{name}.depthwise", graph.convolution(f"{name}.depthwise", block.depthwise, x))
        y = graph.convolution(f"{name}.pointwise", block.pointwise, y)
        x = graph.add("Add", f"{name}.sum", [x, y]) if block.residual else graph.relu6(f"{name}.pointwise", y)
    x = graph.add("Flatten", "flatten", [graph.add("GlobalAveragePool", "pool", [x])])
    classifier = graph.parameters("classifier", "weight", "bias")
    x = graph.add("Gemm", "classifier", [x, *classifier], transB=1)
    graph.nodes[-1].output[0] = "logits"
    value = onnx.helper.make_tensor_value_info
    model = onnx.helper.make_model(
        onnx.helper.make_graph(
            graph.nodes,
            "digits_net",
            [value("input", onnx.TensorProto.FLOAT, ["batch", 1, 8, 8])],
            [value("logits", onnx.TensorProto.FLOAT, ["batch", 10])],
            graph.initializers,
        ),
        producer_name="haq train_digits_net.py",
        opset_imports=[onnx.helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(model, full_check=True)
    return model


def count_right(logits, labels):
    return int((np.argmax(logits, axis=1) == labels.numpy()).sum())


def write_card(path, network, model, mean, std, test, options):
    """The model's card: everything a reader or `haq` needs to feed the network properly."""
    pixels, labels = test
    images = (pixels - mean) / std
    with torch.no_grad():
        by_pytorch = network(images).numpy()
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    by_runtime = session.run(["logits"], {"input": images.numpy()})[0]
    right_pytorch, right_runtime = count_right(by_pytorch, labels), count_right(by_runtime, labels)
    widths = ", ".join(f"{width} channels (stride {stride})" for width, stride in BLOCKS)
    residual = [name for name, block in network.blocks() if block.residual]
    card = {
        "name": "digits_net",
        "architecture": (
            f"Depthwise-separable CNN: conv 3x3 ({STEM_CHANNELS}), then blocks of depthwise 3x3 and pointwise 1x1 "
            f"with {widths}; {' and '.join(residual)} residual; global average pool, linear; "
            "batch normalisation after each convolution, ReLU6 except on residual sums"
        ),
        "source": {
            "made": "trained from scratch in PyTorch for this project on the even rows (0, 2, 4, ...) of "
            "digits.csv.gz by scripts/train_digits_net.py",
            "recipe": f"SGD with Nesterov momentum 0.9, weight decay {options.weight_decay:g}, one-cycle peak "
            f"{options.peak_rate:g}, batch {options.batch}, {options.epochs} epochs, label smoothing 0.05, random "
            "rotation (12 degrees), zoom (10 %), shear (10 %) and shift (0.6 by 0.3 pixels), exponential average "
            f"of the weights (0.99), seed {options.seed}",
            "seed": options.seed,
            "data_licence": "BSD-3-Clause (scikit-learn); UCI optical recognition of handwritten digits, CC BY 4.0",
            "licence": "MIT",
        },
        "parameters": sum(p.numel() for p in network.parameters()),
        "input": {
            "name": "input",
            "layout": "NCHW",
            "shape": ["batch", 1, 8, 8],
            "dtype": "float32",
            "channel_order": "grey",
            "scale": "value/16 (values are 0..16) then (x-mean)/std",
            "mean": [mean],
            "std": [std],
        },
        "output": {"name": "logits", "shape": ["batch", 10], "activation": "none (raw logits)"},
        "classes": [str(digit) for digit in range(10)],
        "onnx": {
            "opset": model.opset_import[0].version,
            "ir_version": model.ir_version,
            "batch_norm": "kept as BatchNormalization nodes (not folded)",
            "dynamic_batch": True,
            "constants": "initializers only",
            "nodes": dict(collections.Counter(node.op_type for node in model.graph.node)),
        },
        "evaluation": {
            "dataset": f"odd rows (1, 3, 5, ...) of digits.csv.gz ({len(labels)} images)",
            "top1_pytorch": round(right_pytorch / len(labels), 4),
            "top1_onnxruntime": round(right_runtime / len(labels), 4),
            "correct_pytorch": right_pytorch,
            "correct_onnxruntime": right_runtime,
            "max_abs_logit_difference": float(np.abs(by_pytorch - by_runtime).max()),
        },
    }
    path.write_text(json.dumps(card, indent=1) + "\n")
    return card["evaluation"]


def parse_options():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    assets = ROOT / "assets"
    parser.add_argument("--data", type=pathlib.Path, default=assets / "digits.csv.gz", help="64 pixels and a label a row")
    parser.add_argument("--out", type=pathlib.Path, default=assets / "digits_net.onnx", help="the card goes beside it")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=160)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--peak-rate", type=float, default=0.1)
    parser.add_argument("--weight-decay", type=float, default=5e-4)
    return parser.parse_args()


def main():
    options = parse_options()
    # One thread and fixed kernels: the same machine gives the same file again.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    pixels, labels = load_rows(options.data)
    training = (pixels[0::2], labels[0::2])
    mean, std = (round(float(f(training[0])), 4) for f in (torch.mean, torch.std))
    network = train(*training, mean, std, options)
    model = to_onnx(network)
    onnx.save(model, options.out)
    evaluation = write_card(
        options.out.with_suffix(".json"), network, model, mean, std, (pixels[1::2], labels[1::2]), options
    )
    print(f"{options.out}: {options.out.stat().st_size} bytes, {json.dumps(evaluation)}")


if __name__ == "__main__":
    main()
