"""Writes small quantized ONNX models and what ONNX Runtime computes for them, for tests/network_quantized.rs.

    python tests/reference/make_quantized_reference.py

Needs numpy, onnx and onnxruntime. The archive holds, for every case, `NAME:model` (the file's bytes), `NAME:x0` and `NAME:y0`.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
rng = np.random.default_rng(8)
cases = {}
node = helper.make_node


def case(name, nodes, x, constants, *, opset=21):
    """Nodes from `x0` to `y0`; constants are arrays, or tensors where numpy has no such type."""
    def tensor(key, value):
        if isinstance(value, TensorProto):
            value.name = key
            return value
        return numpy_helper.from_array(np.asarray(value), key)

    declared = helper.make_tensor_value_info("x0", TensorProto.FLOAT, ["batch", *x.shape[1:]])
    initializers = [tensor(key, value) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, [declared], [helper.make_empty_tensor_value_info("y0")], initializers)
    domains = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=domains)
    model.ir_version = 10 if opset < 25 else 13
    data = onnx.shape_inference.infer_shapes(model).SerializeToString()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x0": x})
    assert len(np.unique(y)) > 8, f"{name} says little"
    cases[f"{name}:model"] = np.frombuffer(data, np.uint8)
    cases[f"{name}:x0"], cases[f"{name}:y0"] = x, y


def codes(low, high, *shape):
    return rng.integers(low, high + 1, shape)


def narrow(kind, values):
    """A tensor of 2 or 4 bits."""
    return helper.make_tensor("", kind, values.shape, values.flatten().tolist())


image = rng.standard_normal((2, 3, 6, 6)).astype(np.float32)
rows = rng.standard_normal((4, 8)).astype(np.float32)
scale = lambda *values: np.float32(values) if len(values) > 1 else np.float32(values[0])

quantized_input = [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["qx"]),
    node("DequantizeLinear", ["qx", "sx", "zx"], ["x"]),
]
input_scaling = {"sx": scale(0.02), "zx": np.uint8(121)}
conv_weight = {"w": codes(-127, 127, 5, 3, 3, 3).astype(np.int8), "sw": scale(0.01, 0.02, 0.005, 0.03, 0.01)}
bias = {"b": codes(-900, 900, 5).astype(np.int32), "sb": scale(2e-4, 4e-4, 1e-4, 6e-4, 2e-4)}
conv_and_bias = [
    node("DequantizeLinear", ["w", "sw"], ["wf"], axis=0),
    node("DequantizeLinear", ["b", "sb"], ["bf"], axis=0),
    node("Conv", ["x", "wf", "bf"], ["c"], pads=[1, 1, 1, 1]),
]
case("qdq_conv", [*quantized_input, *conv_and_bias, node("Relu", ["c"], ["y0"])], image,
     {**input_scaling, **conv_weight, **bias})
case("qdq_weight_of_4_bits", [*quantized_input, *conv_and_bias, node("Relu", ["c"], ["y0"])], image,
     {**input_scaling, **conv_weight, **bias, "w": narrow(TensorProto.INT4, codes(-7, 7, 5, 3, 3, 3))})
case("qdq_weight_of_2_bits", [*quantized_input, *conv_and_bias, node("Relu", ["c"], ["y0"])], image,
     {**input_scaling, **conv_weight, **bias, "w": narrow(TensorProto.INT2, codes(-2, 1, 5, 3, 3, 3))}, opset=25)
case("qdq_weight_with_zero_points", [
    *quantized_input,
    node("DequantizeLinear", ["w", "sw", "zw"], ["wf"], axis=0),
    node("Conv", ["x", "wf"], ["y0"]),
], image, {**input_scaling, "w": narrow(TensorProto.UINT4, codes(0, 15, 5, 3, 3, 3)), "sw": conv_weight["sw"],
           "zw": narrow(TensorProto.UINT4, np.array([0, 3, 8, 11, 15]))})
case("qdq_odd_width", [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["q"]),
    node("Clip", ["q", "low", "high"], ["qx"]),
    node("DequantizeLinear", ["qx", "sx", "zx"], ["x"]),
    node("DequantizeLinear", ["w", "sw"], ["wf"], axis=0),
    node("Conv", ["x", "wf"], ["y0"]),
], image, {"sx": scale(0.4), "zx": np.uint8(3), "low": np.uint8(0), "high": np.uint8(7), **conv_weight})
case("qdq_weight_quantized_in_the_file", [
    *quantized_input,
    node("QuantizeLinear", ["w", "sw", "zw"], ["qw"], axis=0),
    node("DequantizeLinear", ["qw", "sw", "zw"], ["wf"], axis=0),
    node("Conv", ["x", "wf"], ["y0"]),
], image, {**input_scaling, "w": rng.standard_normal((5, 3, 3, 3)).astype(np.float32), "sw": conv_weight["sw"],
           "zw": np.zeros(5, np.int8)})
case("qdq_two_readers", [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["qx"]),
    node("DequantizeLinear", ["qx", "sx", "zx"], ["x"]),
    node("DequantizeLinear", ["qx", "sx", "zx"], ["again"]),
    node("DequantizeLinear", ["w", "sw"], ["wf"], axis=0),
    node("Conv", ["x", "wf"], ["c"]),
    node("Slice", ["again", "one", "five", "axes"], ["cut"]),
    node("ReduceMean", ["cut", "channel"], ["mean"], keepdims=1),
    node("Add", ["c", "mean"], ["y0"]),
], image, {**input_scaling, **conv_weight, "one": np.int64([1, 1]), "five": np.int64([5, 5]),
           "axes": np.int64([2, 3]), "channel": np.int64([1])})
case("qdq_moved_between", [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["qx"]),
    node("MaxPool", ["qx"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
    node("Reshape", ["pooled", "shape"], ["flat"]),
    node("DequantizeLinear", ["flat", "sx", "zx"], ["x"]),
    node("DequantizeLinear", ["w", "sw"], ["wf"], axis=1),
    node("MatMul", ["x", "wf"], ["y0"]),
], image, {**input_scaling, "shape": np.int64([-1, 27]), "w": codes(-127, 127, 27, 5).astype(np.int8),
           "sw": conv_weight["sw"]})
case("qdq_channels_of_the_input", [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["qx"], axis=1),
    node("DequantizeLinear", ["qx", "sx", "zx"], ["x"], axis=1),
    node("Sigmoid", ["x"], ["y0"]),
], image, {"sx": scale(0.02, 0.1, 0.3), "zx": np.int8([0, 3, -4])})
case("qdq_blocks", [
    node("DequantizeLinear", ["w", "sw"], ["wf"], axis=0, block_size=4),
    node("MatMul", ["x0", "wf"], ["y0"]),
], rows, {"w": codes(-8, 7, 8, 6).astype(np.int8), "sw": np.abs(rng.standard_normal((2, 6))).astype(np.float32)})
case("codes_conv_chain", [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["qx"]),
    node("QLinearConv", ["qx", "sx", "zx", "w", "sw", "zw", "sc", "zc", "b"], ["qc"], pads=[1, 1, 1, 1]),
    node("MaxPool", ["qc"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
    node("QLinearConv", ["pooled", "sc", "zc", "v", "sv", "zv", "so", "zo"], ["qo"]),
    node("DequantizeLinear", ["qo", "so", "zo"], ["y0"]),
], image, {**input_scaling, **conv_weight, "zw": np.zeros(5, np.int8), "sc": scale(0.1), "zc": np.uint8(0),
           "b": bias["b"], "v": codes(-127, 127, 4, 5, 1, 1).astype(np.int8), "sv": scale(0.01), "zv": np.int8(0),
           "so": scale(0.2), "zo": np.uint8(128)})
case("codes_matmul", [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["qx"]),
    node("QLinearMatMul", ["qx", "sx", "zx", "w", "sw", "zw", "so", "zo"], ["qo"]),
    node("DequantizeLinear", ["qo", "so", "zo"], ["y0"]),
], rows, {**input_scaling, "w": codes(-127, 127, 8, 6).astype(np.int8), "sw": scale(0.01), "zw": np.int8(0),
          "so": scale(0.05), "zo": np.uint8(120)})
case("codes_sum_pool_and_gemm", [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["qx"]),
    node("QLinearConv", ["qx", "sx", "zx", "w", "sw", "zw", "sc", "zc"], ["qc"], pads=[1, 1, 1, 1]),
    node("QLinearAdd", ["qc", "sc", "zc", "qc", "sc", "zc", "sa", "za"], ["qa"], domain="com.microsoft"),
    node("QLinearGlobalAveragePool", ["qa", "sa", "za", "sa", "za"], ["qp"], domain="com.microsoft"),
    node("Flatten", ["qp"], ["flat"]),
    node("QGemm", ["flat", "sa", "za", "g", "sg", "zg", "bg"], ["y0"], domain="com.microsoft", transB=1),
], image, {**input_scaling, **conv_weight, "zw": np.zeros(5, np.int8), "sc": scale(0.05), "zc": np.uint8(100),
           "sa": scale(0.1), "za": np.uint8(100), "g": codes(-127, 127, 6, 5).astype(np.int8), "sg": scale(0.02),
           "zg": np.int8(0), "bg": codes(-99, 99, 6).astype(np.int32)})
case("dynamic_matmul", [
    node("DynamicQuantizeLinear", ["x0"], ["qx", "sx", "zx"]),
    node("MatMulInteger", ["qx", "w", "zx"], ["sums"]),
    node("Cast", ["sums"], ["floats"], to=TensorProto.FLOAT),
    node("Mul", ["sx", "sw"], ["s"]),
    node("Mul", ["floats", "s"], ["y0"]),
], rows, {"w": codes(-127, 127, 8, 6).astype(np.int8), "sw": scale(0.01)})
case("integer_conv", [
    node("QuantizeLinear", ["x0", "sx", "zx"], ["qx"]),
    node("ConvInteger", ["qx", "w", "zx"], ["sums"]),
    node("Cast", ["sums"], ["y0"], to=TensorProto.FLOAT),
], image, {**input_scaling, "w": codes(0, 255, 5, 3, 3, 3).astype(np.uint8)})

np.savez_compressed(HERE / "quantized.npz", **cases)
print(len({name.split(":")[0] for name in cases}), "cases")
