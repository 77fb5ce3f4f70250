"""Writes small ONNX models and what ONNX Runtime computes for them, for tests/network_ops.rs.

    python tests/reference/make_network_op_reference.py

Needs numpy, onnx and onnxruntime. The archive holds, for every case, `NAME:model` (the file's
bytes), `NAME:x0`, `NAME:x1` ... (inputs in order) and `NAME:y0` ... (outputs in order).
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

HERE = Path(__file__).parent
rng = np.random.default_rng(5)
cases = {}

TYPES = {
    np.dtype(np.float32): TensorProto.FLOAT,
    np.dtype(np.int64): TensorProto.INT64,
    np.dtype(np.bool_): TensorProto.BOOL,
}


def normal(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def case(name, op, inputs, *, opset=17, constants=(), outputs=1, open_batch=True, nodes=None, **attributes):
    """One node over named inputs x0, x1 ...; `None` leaves an optional input out.

    `constants` are positions whose value becomes an initializer; `nodes` replaces the node.
    """
    names, declared, initializers, feeds = [], [], [], {}
    for position, value in enumerate(inputs):
        if value is None:
            names.append("")
            continue
        tensor = f"x{position}"
        names.append(tensor)
        if position in constants:
            initializers.append(numpy_helper.from_array(np.asarray(value), tensor))
            continue
        shape = list(value.shape)
        if open_batch and shape and position == 0:
            shape[0] = "batch"
        declared.append(helper.make_tensor_value_info(tensor, TYPES[value.dtype], shape))
        feeds[tensor] = value
    made = [f"y{index}" for index in range(outputs)]
    nodes = nodes or [helper.make_node(op, names, made, **attributes)]
    graph = helper.make_graph(
        nodes, name, declared, [helper.make_empty_tensor_value_info(y) for y in made], initializers
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8 if opset < 21 else 10
    model = onnx.shape_inference.infer_shapes(model)
    data = model.SerializeToString()
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    results = session.run(None, feeds)
    cases[f"{name}:model"] = np.frombuffer(data, np.uint8)
    for index, value in enumerate(feeds.values()):
        cases[f"{name}:x{index}"] = value
    for index, value in enumerate(results):
        cases[f"{name}:y{index}"] = np.asarray(value)


def ints(*values):
    return np.array(values, np.int64)


image = normal(2, 4, 7, 6)
sequence = normal(2, 4, 9)

# Convolutions and pooling.
case("conv", "Conv", [image, normal(6, 4, 3, 3), normal(6)], constants=(1, 2), pads=[1, 1, 1, 1])
case("conv_weight_is_an_input", "Conv", [image, normal(6, 4, 3, 3)], strides=[2, 1])
case("conv_grouped", "Conv", [image, normal(6, 2, 3, 2)], constants=(1,), group=2, strides=[2, 2])
case("conv_depthwise", "Conv", [image, normal(4, 1, 3, 3)], constants=(1,), group=4, pads=[1, 1, 1, 1])
case("conv_dilated", "Conv", [image, normal(5, 4, 2, 2)], constants=(1,), dilations=[2, 3])
case("conv_asymmetric", "Conv", [image, normal(5, 4, 3, 3)], constants=(1,), pads=[0, 1, 2, 0], strides=[2, 2])
case("conv_same_upper", "Conv", [image, normal(5, 4, 3, 3)], constants=(1,), auto_pad="SAME_UPPER", strides=[2, 2])
case("conv_same_lower", "Conv", [image, normal(5, 4, 2, 4)], constants=(1,), auto_pad="SAME_LOWER")
case("conv_valid", "Conv", [image, normal(5, 4, 2, 2)], constants=(1,), auto_pad="VALID")
case("conv_sequence", "Conv", [sequence, normal(5, 4, 3), normal(5)], constants=(1, 2), pads=[1, 0], strides=[2])
case("max_pool", "MaxPool", [image], kernel_shape=[2, 3], strides=[2, 2])
case("max_pool_ceil", "MaxPool", [image], kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
case("max_pool_padded", "MaxPool", [image], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
case("max_pool_asymmetric", "MaxPool", [image], kernel_shape=[2, 2], pads=[0, 0, 1, 1])
case("max_pool_dilated", "MaxPool", [image], kernel_shape=[2, 2], dilations=[2, 2])
case("max_pool_sequence", "MaxPool", [sequence], kernel_shape=[3], strides=[2], pads=[1, 1])
case("average_pool", "AveragePool", [image], kernel_shape=[2, 2], strides=[2, 2])
case("average_pool_padded", "AveragePool", [image], kernel_shape=[3, 3], pads=[1, 1, 1, 1])
case("average_pool_counted", "AveragePool", [image], kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)
case("average_pool_asymmetric", "AveragePool", [image], kernel_shape=[3, 3], pads=[0, 0, 2, 2], strides=[2, 2])
case("average_pool_same", "AveragePool", [image], kernel_shape=[3, 3], auto_pad="SAME_UPPER", strides=[2, 2])
case("average_pool_ceil", "AveragePool", [image], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1, opset=19)
case("average_pool_sequence", "AveragePool", [sequence], kernel_shape=[3], strides=[2])
case("global_average_pool", "GlobalAveragePool", [image])
case("global_max_pool", "GlobalMaxPool", [image])
case("pad_attributes", "Pad", [image], opset=10, pads=[0, 1, 2, 0, 0, 0, 1, 1], value=0.5)
case("pad", "Pad", [image, ints(0, 0, 1, 2, 0, 0, 0, 1)], constants=(1,))
case("pad_value_and_crop", "Pad", [image, ints(0, 0, -1, 0, 0, 2, 1, -2), np.float32(1.5)], constants=(1, 2))
case("pad_axes", "Pad", [image, ints(1, 2, 3, 0), None, ints(-1, 1)], constants=(1, 3), opset=18)

# Matrix products and normalization.
rows = normal(3, 5)
case("gemm", "Gemm", [rows, normal(5, 4), normal(4)], constants=(1, 2))
case("gemm_scaled", "Gemm", [rows, normal(4, 5), normal(1, 4)], constants=(1, 2), transB=1, alpha=0.5, beta=2.0)
case("gemm_scalar_bias", "Gemm", [rows, normal(5, 4), np.float32(0.25)], constants=(1, 2), beta=3.0)
case("gemm_bias_by_row", "Gemm", [rows, normal(5, 4), normal(3, 1)], constants=(1, 2), open_batch=False)
case("gemm_turned", "Gemm", [normal(5, 3), normal(4, 5)], constants=(1,), transA=1, transB=1, open_batch=False)
case("gemm_no_bias", "Gemm", [rows, normal(5, 4)])
case("matmul_constant", "MatMul", [normal(2, 3, 5), normal(5, 4)], constants=(1,))
case("matmul_batched", "MatMul", [normal(2, 3, 5), normal(2, 5, 4)], open_batch=False)
case("matmul_vector", "MatMul", [rows, normal(5)])
parameters = [normal(4), normal(4), normal(4), np.abs(normal(4)) + 0.1]
case("batch_norm", "BatchNormalization", [image, *parameters], constants=(1, 2, 3, 4), epsilon=1e-3)
case("batch_norm_rows", "BatchNormalization", [normal(3, 4), *parameters], constants=(1, 2, 3, 4), opset=9)

# Functions of two and more tensors.
for op in ["Add", "Sub", "Mul", "Div"]:
    case(op.lower(), op, [image, normal(4, 1, 1)])
case("div_whole", "Div", [ints(7, -7, 9), ints(2, 2, -4)])
case("pow", "Pow", [np.abs(rows) + 0.1, np.float32(1.5)], constants=(1,))
case("pow_whole_exponent", "Pow", [rows, np.float32(2)], constants=(1,))
case("min", "Min", [rows, normal(3, 5), np.float32(0.2)], constants=(2,))
case("max", "Max", [rows, normal(1, 5)])
case("sum", "Sum", [rows, normal(3, 5), normal(5)])
for op in ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"]:
    case(op.lower(), op, [np.round(rows), np.round(normal(3, 5))])
case("where", "Where", [rows > 0, normal(3, 5), normal(5)])
for op in ["ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL2"]:
    case(op.lower(), op, [image], axes=[2, -1])
case("reduce_mean_input", "ReduceMean", [image, ints(1, 2)], constants=(1,), opset=18, keepdims=0)
case("reduce_sum", "ReduceSum", [image, ints(-1)], constants=(1,), keepdims=0)
case("reduce_sum_all", "ReduceSum", [image], keepdims=0)
case("reduce_sum_none", "ReduceSum", [image], noop_with_empty_axes=1)

# Functions of one tensor.
for op in ["Relu", "Sigmoid", "HardSigmoid", "HardSwish", "LeakyRelu", "Abs", "Ceil", "Cos", "Erf", "Exp", "Floor",
           "Neg", "Reciprocal", "Round", "Sign", "Sin", "Softplus", "Tanh"]:
    case(op.lower(), op, [rows * 4])
case("hardsigmoid_other", "HardSigmoid", [rows * 4], alpha=0.3, beta=0.4)
case("leakyrelu_other", "LeakyRelu", [rows], alpha=0.2)
case("sqrt", "Sqrt", [np.abs(rows)])
case("log", "Log", [np.abs(rows) + 0.1])
case("not", "Not", [rows > 0])
case("clip", "Clip", [rows, np.float32(-0.5), np.float32(0.75)], constants=(1, 2))
case("clip_upper", "Clip", [rows, None, np.float32(0.75)], constants=(2,))
case("clip_attributes", "Clip", [rows], opset=7, min=-0.5, max=0.25)
case("clip_whole", "Clip", [ints(1, 5, 9), ints(2), ints(7)][:1] + [np.int64(2), np.int64(7)], constants=(1, 2))
case("softmax", "Softmax", [normal(2, 3, 4)], axis=1)
case("softmax_last", "Softmax", [normal(2, 3, 4)])
case("softmax_before_13", "Softmax", [normal(2, 3, 4)], opset=11, axis=1)
case("cast_to_whole", "Cast", [rows * 3], to=TensorProto.INT64)
case("cast_to_bool", "Cast", [np.round(rows)], to=TensorProto.BOOL)
case("cast_to_float", "Cast", [ints(1, -2, 3)], to=TensorProto.FLOAT)
case("dropout", "Dropout", [rows])

# Rearrangements.
case("flatten", "Flatten", [image])
case("flatten_last", "Flatten", [image], axis=-1)
case("reshape_rest", "Reshape", [image, ints(0, -1, 6)], constants=(1,))
case("reshape_sequence", "Reshape", [sequence, ints(-1)], constants=(1,))
case("expand", "Expand", [normal(3, 1), ints(2, 1, 4)], constants=(1,), open_batch=False)
case("transpose", "Transpose", [image], perm=[0, 2, 3, 1])
case("transpose_reversed", "Transpose", [sequence])
case("concat", "Concat", [normal(2, 3), normal(2, 1), normal(2, 2)], axis=1)
case("concat_last", "Concat", [image, normal(2, 4, 7, 1)], axis=-1)
case("slice", "Slice", [image, ints(1, 0), ints(9223372036854775807, -1), ints(2, 3), ints(2, 2)], constants=(1, 2, 3, 4))
case("slice_backwards", "Slice", [sequence, ints(-1), ints(-9223372036854775808), ints(2), ints(-3)], constants=(1, 2, 3, 4))
case("slice_attributes", "Slice", [image], opset=9, starts=[1, 1], ends=[3, 1000], axes=[1, 2])
case("slice_no_axes", "Slice", [image, ints(0, 1), ints(2, 3)], constants=(1, 2))
case("slice_empty", "Slice", [sequence, ints(5), ints(2), ints(2)], constants=(1, 2, 3))
case("split_equal", "Split", [sequence], outputs=2, axis=1)
case("split_lengths", "Split", [sequence, ints(2, 3, 4)], constants=(1,), outputs=3, axis=-1)
case("split_attribute", "Split", [sequence], opset=11, outputs=2, axis=2, split=[4, 5])
case("split_uneven", "Split", [sequence], opset=18, outputs=2, axis=2, num_outputs=2)
case("gather", "Gather", [image, ints(2, -1, 0)], constants=(1,), axis=1)
case("gather_one", "Gather", [image, np.int64(1)], constants=(1,), axis=2)
case("gather_table", "Gather", [normal(6, 3), np.array([[0, 5], [-2, 1]], np.int64)], open_batch=False)
case("squeeze", "Squeeze", [normal(2, 1, 3, 1), ints(1, -1)], constants=(1,))
case("squeeze_attribute", "Squeeze", [normal(2, 1, 3)], opset=11, axes=[1])
case("squeeze_all", "Squeeze", [normal(2, 1, 3, 1)], open_batch=False)
case("unsqueeze", "Unsqueeze", [rows, ints(0, -1)], constants=(1,))
case("unsqueeze_attribute", "Unsqueeze", [rows], opset=11, axes=[2, 0])
case("shape", "Shape", [image], open_batch=False)
case("shape_part", "Shape", [image], start=-3, end=-1)
case("constant_of_shape", "ConstantOfShape", [ints(2, 3)], constants=(0,),
     value=helper.make_tensor("v", TensorProto.FLOAT, [1], [1.5]))


# Further operations of networks in use. Appended, so that the numbers above stay the same.
case("conv_transpose", "ConvTranspose", [image, normal(4, 3, 3, 3), normal(3)], constants=(1, 2), strides=[2, 2], pads=[1, 1, 1, 1])
case("conv_transpose_output_padding", "ConvTranspose", [image, normal(4, 3, 3, 3), normal(3)], constants=(1, 2),
     strides=[2, 2], pads=[1, 0, 0, 1], output_padding=[1, 1])
case("conv_transpose_grouped", "ConvTranspose", [image, normal(4, 2, 2, 3)], constants=(1,), group=2, dilations=[2, 1])
case("conv_transpose_sequence", "ConvTranspose", [sequence, normal(4, 3, 3)], constants=(1,), strides=[2])
case("layer_norm", "LayerNormalization", [normal(2, 3, 8), normal(8), normal(8)], constants=(1, 2), epsilon=1e-4)
case("layer_norm_two_axes", "LayerNormalization", [normal(2, 3, 8), normal(3, 8)], constants=(1,), axis=-2)
case("instance_norm", "InstanceNormalization", [image, normal(4), normal(4)], constants=(1, 2))
case("instance_norm_sequence", "InstanceNormalization", [sequence, normal(4), normal(4)], constants=(1, 2), epsilon=1e-2)
case("group_norm", "GroupNormalization", [image, normal(4), normal(4)], constants=(1, 2), opset=21, num_groups=2)
case("prelu", "PRelu", [image, normal(4, 1, 1)], constants=(1,))
case("prelu_one_slope", "PRelu", [rows, np.float32([0.1])], constants=(1,), opset=9)
case("elu", "Elu", [rows, ], alpha=0.7)
case("selu", "Selu", [rows])
case("celu", "Celu", [rows], alpha=0.7)
case("gelu", "Gelu", [rows], opset=20)
case("gelu_tanh", "Gelu", [rows], opset=20, approximate="tanh")
case("mish", "Mish", [rows], opset=18)
case("softsign", "Softsign", [rows])
case("log_softmax", "LogSoftmax", [normal(2, 3, 4)], axis=1)
case("log_softmax_before_13", "LogSoftmax", [normal(2, 3, 4)], opset=11)
case("mean", "Mean", [rows, normal(3, 5), normal(1, 5)])
case("mod_float", "Mod", [rows * 5, np.float32(1.5)], constants=(1,), fmod=1)
case("mod_whole", "Mod", [ints(7, -7, 9), ints(3, 3, -4)])
for op in ["And", "Or", "Xor"]:
    case(op.lower(), op, [rows > 0, normal(3, 5) > 0])
for op in ["ReduceL1", "ReduceLogSumExp", "ReduceSumSquare"]:
    case(op.lower(), op, [image], axes=[1])
case("arg_max", "ArgMax", [image], axis=1)
case("arg_max_last", "ArgMax", [rows], axis=-1, keepdims=0)
case("pad_edge", "Pad", [image, ints(0, 0, 1, 2, 0, 0, 0, 3)], constants=(1,), mode="edge")
case("pad_reflect", "Pad", [image, ints(0, 0, 3, 2, 0, 0, 1, 5)], constants=(1,), mode="reflect")
case("depth_to_space", "DepthToSpace", [normal(2, 8, 3, 2)], blocksize=2)
case("depth_to_space_crd", "DepthToSpace", [normal(2, 8, 3, 2)], blocksize=2, mode="CRD")
case("space_to_depth", "SpaceToDepth", [normal(2, 3, 4, 6)], blocksize=2)
case("tile", "Tile", [rows, ints(1, 3)], constants=(1,))
case("tile_batch", "Tile", [rows, ints(2, 1)], constants=(1,), open_batch=False)
case("size", "Size", [rows])
case("range", "Range", [np.int64(2), np.int64(11), np.int64(3)], constants=(0, 1, 2))
case("range_backwards", "Range", [np.float32(2), np.float32(-1), np.float32(-0.5)], constants=(0, 1, 2))
case("slice_computed", "Slice", [sequence, ints(1), ints(-1), ints(2)], constants=(3,), open_batch=False)
empty = np.zeros(0, np.float32)
for mode in ["nearest", "linear", "cubic"]:
    for where in ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel"]:
        # The default options of nearest neighbours, and those of PyTorch's exporter.
        case(f"resize_{mode}_{where}", "Resize", [image, empty, np.float32([1, 1, 2, 1.5])], constants=(1, 2),
             mode=mode, coordinate_transformation_mode=where, nearest_mode="floor" if where == "asymmetric" else "round_prefer_floor")
case("resize_down", "Resize", [image, empty, np.float32([1, 1, 0.5, 0.6])], constants=(1, 2), mode="linear")
case("resize_to_sizes", "Resize", [image, None, None, ints(2, 4, 5, 9)], constants=(3,), mode="linear", open_batch=False)
case("resize_nearest_ceil", "Resize", [image, None, None, ints(2, 4, 5, 9)], constants=(3,), mode="nearest", nearest_mode="ceil", open_batch=False)
case("upsample", "Upsample", [image, np.float32([1, 1, 2, 3])], constants=(1,), opset=9, mode="nearest")


def chain(name, nodes, x, constants=None, opset=17):
    """Several nodes from `x0` to `y0`."""
    constants = constants or {}
    declared = helper.make_tensor_value_info("x0", TYPES[x.dtype], ["batch", *x.shape[1:]])
    initializers = [numpy_helper.from_array(value, key) for key, value in constants.items()]
    graph = helper.make_graph(nodes, name, [declared], [helper.make_empty_tensor_value_info("y0")], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    model.ir_version = 8
    model = onnx.shape_inference.infer_shapes(model)
    data = model.SerializeToString()
    (result,) = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"]).run(None, {"x0": x})
    cases[f"{name}:model"] = np.frombuffer(data, np.uint8)
    cases[f"{name}:x0"], cases[f"{name}:y0"] = x, result


node = helper.make_node
chain("chain_batch_through_shape", [
    node("Shape", ["x0"], ["s"]),
    node("Gather", ["s", "zero"], ["n"], axis=0),
    node("Unsqueeze", ["n", "axes"], ["n1"]),
    node("Concat", ["n1", "rest"], ["target"], axis=0),
    node("Reshape", ["x0", "target"], ["y0"]),
], image, {"zero": np.int64(0), "axes": ints(0), "rest": ints(4, -1)})
chain("chain_scale_and_shift_fold_into_conv", [
    node("Conv", ["x0", "w"], ["c"], pads=[1, 1, 1, 1]),
    node("Mul", ["c", "scale"], ["m"]),
    node("Add", ["shift", "m"], ["a"]),
    node("Sub", ["a", "half"], ["s"]),
    node("Relu", ["s"], ["y0"]),
], image, {"w": normal(5, 4, 3, 3), "scale": normal(5, 1, 1), "shift": normal(1, 5, 1, 1), "half": np.float32(0.5)})
chain("chain_linear_with_bias", [
    node("MatMul", ["x0", "w"], ["m"]),
    node("Add", ["bias", "m"], ["y0"]),
], normal(2, 3, 5), {"w": normal(5, 4), "bias": normal(4)})
chain("chain_conv_read_twice_keeps_its_norm", [
    node("Conv", ["x0", "w"], ["c"]),
    node("BatchNormalization", ["c", "g", "b", "m", "v"], ["n"]),
    node("Add", ["c", "n"], ["y0"]),
], image, dict(zip("wgbmv", [normal(5, 4, 3, 3), normal(5), normal(5), normal(5), np.abs(normal(5)) + 0.1])))
chain("chain_gemm_then_norm", [
    node("Gemm", ["x0", "w", "bias"], ["c"]),
    node("BatchNormalization", ["c", "g", "b", "m", "v"], ["y0"]),
], rows, dict(zip(["w", "bias", "g", "b", "m", "v"],
                  [normal(5, 4), normal(4), normal(4), normal(4), normal(4), np.abs(normal(4)) + 0.1])))
chain("chain_padding_read_by_conv_and_pool", [
    node("Pad", ["x0", "pads"], ["p"]),
    node("Conv", ["p", "w"], ["c"]),
    node("AveragePool", ["p"], ["a"], kernel_shape=[3, 3]),
    node("Add", ["c", "a"], ["y0"]),
], image, {"pads": ints(0, 0, 0, 1, 0, 0, 2, 1), "w": normal(4, 4, 3, 3)})
chain("chain_computed_pads", [
    node("ConstantOfShape", ["four"], ["zeros"], value=helper.make_tensor("v", TensorProto.INT64, [1], [0])),
    node("Concat", ["zeros", "some"], ["long"], axis=0),
    node("Cast", ["long"], ["pads"], to=TensorProto.INT64),
    node("Pad", ["x0", "pads"], ["y0"]),
], image, {"four": ints(4), "some": ints(0, 1, 2, 0)})
chain("chain_one_tensor_added_to_itself_reshaped", [
    node("Relu", ["x0"], ["r"]),
    node("Reshape", ["r", "same"], ["v"]),
    node("Add", ["r", "v"], ["s"]),
    node("Relu", ["s"], ["y0"]),
], rows, {"same": ints(0, 5)})
chain("chain_output_is_an_alias", [
    node("Relu", ["x0"], ["r"]),
    node("Identity", ["r"], ["y0"]),
], rows)

chain("chain_hard_swish_by_hand", [
    node("Add", ["x0", "three"], ["a"]),
    node("Clip", ["a", "zero", "six"], ["c"]),
    node("Mul", ["x0", "c"], ["m"]),
    node("Div", ["m", "six"], ["y0"]),
], image, {"three": np.float32(3), "zero": np.float32(0), "six": np.float32(6)})
chain("chain_attention", [
    node("MatMul", ["x0", "wq"], ["q"]),
    node("MatMul", ["x0", "wk"], ["k"]),
    node("MatMul", ["x0", "wv"], ["v"]),
    node("Shape", ["x0"], ["s"]),
    node("Gather", ["s", "zero"], ["n"], axis=0),
    node("Concat", ["n", "heads"], ["split"], axis=0),
    node("Reshape", ["q", "split"], ["q4"]),
    node("Reshape", ["k", "split"], ["k4"]),
    node("Reshape", ["v", "split"], ["v4"]),
    node("Transpose", ["q4"], ["qt"], perm=[0, 2, 1, 3]),
    node("Transpose", ["k4"], ["kt"], perm=[0, 2, 3, 1]),
    node("Transpose", ["v4"], ["vt"], perm=[0, 2, 1, 3]),
    node("MatMul", ["qt", "kt"], ["scores"]),
    node("Softmax", ["scores"], ["p"], axis=-1),
    node("MatMul", ["p", "vt"], ["o"]),
    node("Transpose", ["o"], ["ot"], perm=[0, 2, 1, 3]),
    node("Concat", ["n", "joined"], ["merge"], axis=0),
    node("Reshape", ["ot", "merge"], ["y0"]),
], normal(2, 3, 8), {"wq": normal(8, 8), "wk": normal(8, 8), "wv": normal(8, 8), "zero": ints(0),
                     "heads": ints(3, 2, 4), "joined": ints(3, 8)})
chain("chain_class_token", [
    node("Shape", ["x0"], ["s"]),
    node("Slice", ["s", "zero", "one"], ["n"]),
    node("Concat", ["n", "token_shape"], ["wanted"], axis=0),
    node("Expand", ["token", "wanted"], ["tokens"]),
    node("Concat", ["tokens", "x0"], ["y0"], axis=1),
], normal(2, 3, 8), {"zero": ints(0), "one": ints(1), "token_shape": ints(1, 8), "token": normal(1, 1, 8)})

case("lrn", "LRN", [image], size=3, alpha=0.5, beta=0.6, bias=1.5)
case("lrn_wider_than_the_channels", "LRN", [image], size=9)
case("shrink", "Shrink", [rows], opset=9, lambd=0.4, bias=0.3)
case("scatter_nd", "ScatterND", [normal(4, 3, 2), np.array([[[0, 1]], [[-1, 2]]], np.int64), normal(2, 1, 2)], open_batch=False)
case("scatter_nd_slices", "ScatterND", [normal(4, 3), np.array([[2], [0]], np.int64), normal(2, 3)], constants=(1,), open_batch=False)

case("gather_nd", "GatherND", [normal(4, 3, 2), np.array([[[0, 1]], [[-1, 2]]], np.int64)], constants=(1,), open_batch=False)
case("gather_nd_rows", "GatherND", [normal(4, 3), np.array([[2], [0], [3]], np.int64)], open_batch=False)
case("gather_elements", "GatherElements", [normal(3, 4), np.array([[0, -1, 2], [3, 1, 0]], np.int64)], constants=(1,), axis=1, open_batch=False)
case("cumsum", "CumSum", [rows, np.int64(1)], constants=(1,))
case("cumsum_exclusive_reverse", "CumSum", [rows, np.int64(-1)], constants=(1,), exclusive=1, reverse=1)
case("einsum_attention", "Einsum", [normal(2, 3, 4, 5), normal(2, 6, 4, 5)], equation="bqhd,bkhd->bhqk", open_batch=False)
case("einsum_implicit", "Einsum", [normal(3, 4), normal(4, 5)], equation="ij,jk", open_batch=False)
case("trilu_upper", "Trilu", [normal(2, 4, 5), np.int64(1)], constants=(1,))
case("trilu_lower", "Trilu", [normal(2, 4, 4)], upper=0)
case("is_nan", "IsNaN", [np.float32([[1, np.nan, np.inf]])])
case("is_inf", "IsInf", [np.float32([[1, np.nan, np.inf, -np.inf]])])
case("is_inf_negative", "IsInf", [np.float32([[1, np.nan, np.inf, -np.inf]])], detect_positive=0)
case("arg_min", "ArgMin", [rows], axis=1, keepdims=0)
case("lp_normalization", "LpNormalization", [rows], axis=1, p=1)
case("lp_normalization_of_squares", "LpNormalization", [rows], axis=-1)
case("rms_normalization", "RMSNormalization", [normal(2, 3, 4), normal(4)], constants=(1,), opset=23, epsilon=0.1)

np.savez_compressed(HERE / "network_ops.npz", **cases)
print(len({name.split(":")[0] for name in cases}), "cases")
