"""Loads an AIMET encodings file into aimet-onnx, beside its float network, and says how many entries were taken.

    python scripts/check_encodings.py NETWORK.onnx NETWORK.encodings

Needs aimet-onnx. Ends with 1 where an entry names no quantizer, or a quantizer holds other bits than its entry.
"""

import json
import sys

import onnx
from aimet_onnx import quantsim


def bits_of(entry):
    return entry["bw"] if "bw" in entry else int(entry["output_dtype"].lstrip("uint"))


network, encodings = sys.argv[1:3]
document = json.load(open(encodings))
entries = document.get("encodings") or document["param_encodings"] + document["activation_encodings"]
simulation = quantsim.QuantizationSimModel(onnx.load(network))
quantsim.load_encodings_to_sim(simulation, encodings, strict=False)
quantizers = simulation.qc_quantize_op_dict
unlike = [
    entry["name"]
    for entry in entries
    if not quantizers[entry["name"]].enabled or quantizers[entry["name"]].bitwidth != bits_of(entry)
]
print(f"version {document['version']}: {len(entries) - len(unlike)} of {len(entries)} entries taken")
if unlike:
    sys.exit(f"not taken: {', '.join(unlike)}")
