"""Turns QONNX files into QCDQ by the qonnx package's own converter, for tests/export_runtime.rs.

    python convert_qonnx.py FROM.onnx TO.onnx

Fails where the converter leaves a Quant node as it is.
"""

import sys

from qonnx.core.modelwrapper import ModelWrapper
from qonnx.transformation.infer_shapes import InferShapes
from qonnx.transformation.qonnx_to_qcdq import QuantToQCDQ

model = ModelWrapper(sys.argv[1]).transform(InferShapes()).transform(QuantToQCDQ())
left = [node.name for node in model.graph.node if node.op_type in ("Quant", "IntQuant", "BipolarQuant")]
if left:
    sys.exit(f"not converted: {', '.join(left)}")
model.save(sys.argv[2])
