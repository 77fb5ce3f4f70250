#!/usr/bin/env python3
"""Exports torchvision networks with random weights by both of torch's exporters, for tests/exported_networks.rs.

    scripts/export_networks.py FOLDER [NAME …]

FOLDER/NAME-dynamo.onnx and FOLDER/NAME-script.onnx each have an .npz beside them: `x` `[2, 3, 224, 224]`, `y` the logits of ONNX Runtime without
optimisation, and what torch counts: `macs` and `weights` of convolutions and linear layers for one image. Needs torch, torchvision, onnx,
onnxscript and onnxruntime.
"""

import sys
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

NAMES = [
    "resnet18", "resnet50", "mobilenet_v2", "mobilenet_v3_large", "efficientnet_b0", "shufflenet_v2_x1_0", "squeezenet1_1", "densenet121", "googlenet",
    "regnet_y_400mf", "convnext_tiny", "vit_b_16", "swin_t",
]


def network(name):
    torch.manual_seed(0)
    more = {"aux_logits": False, "init_weights": True} if name == "googlenet" else {}
    made = getattr(torchvision.models, name)(weights=None, **more).eval()
    # Statistics that say something, so that folding them does.
    generator = torch.Generator().manual_seed(1)
    for module in made.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
        # A head of zeros, as vision transformers begin with, would hide everything before it.
        elif isinstance(module, torch.nn.Linear) and not module.weight.any():
            module.weight.data.normal_(0, 0.05, generator=generator)
    return made


def counts(made):
    """Products and weights of convolutions and linear layers for one image; products of two computed tensors are none of them."""
    torch.backends.mha.set_fastpath_enabled(False)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        made(torch.zeros(1, 3, 224, 224))
    operations = counter.get_flop_counts()["Global"]
    layers = [torch.ops.aten.convolution, torch.ops.aten.addmm, torch.ops.aten.mm]
    weights = [values for name, values in made.named_parameters() if name.endswith("weight") and values.dim() > 1]
    return {
        "macs": sum(flops for operation, flops in operations.items() if operation in layers) // 2,
        "weights": sum(values.numel() for values in weights),
    }


def export(made, x, path, dynamo):
    batch = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)} if dynamo else {"dynamic_axes": {"x": {0: "batch"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(made, (x,), path, input_names=["x"], dynamo=dynamo, verbose=False, external_data=False, **batch)


def logits(path, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]


def main():
    folder, names = Path(sys.argv[1]), sys.argv[2:] or NAMES
    folder.mkdir(parents=True, exist_ok=True)
    x = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    for name in names:
        made = network(name)
        seen = counts(made)
        for exporter in ("script", "dynamo"):
            path = folder / f"{name}-{exporter}.onnx"
            try:
                export(made, x, path, exporter == "dynamo")
            except Exception as error:  # The exporter's own limits are no news of ours.
                print(f"{path.stem}: not exported: {str(error).splitlines()[0]}")
                continue
            np.savez(path.with_suffix(".npz"), x=x.numpy(), y=logits(path, x), **{key: np.int64(value) for key, value in seen.items()})
            print(path.stem, flush=True)


if __name__ == "__main__":
    main()
