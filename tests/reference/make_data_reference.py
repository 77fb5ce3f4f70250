"""Writes data_reference.json: what PIL makes of images that tests/data compares with.

    python tests/reference/make_data_reference.py SHARED_DATA

SHARED_DATA is the folder with `imagenet_sample/` and `models/`. Needs numpy and Pillow 13.0.0.
Of the photographs only every 14th pixel is kept, and the mean of each normalised channel.
"""

import json
import pathlib
import sys

import numpy as np
from PIL import Image

FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
PHOTOGRAPHS = ["n01440764.jpg", "n07747607.jpg"]
STRIDE = 14


def pattern(height, width):
    """Smooth waves with an edge across them; integers only, so that Rust makes the same."""
    c, y, x = np.meshgrid(range(3), range(height), range(width), indexing="ij")
    waves = (x * 5 + y * 3 + c * 40) % 256
    return np.where(x * height > y * width, 255 - waves // 2, waves).astype(np.uint8)


def resized(side, crop, height, width, name):
    image = Image.fromarray(pattern(height, width).transpose(1, 2, 0))
    short = min(height, width)
    size = (width * side // short, height * side // short)
    image = image.resize(size, FILTERS[name])
    left, top = round((size[0] - crop) / 2), round((size[1] - crop) / 2)
    image = image.crop((left, top, left + crop, top + crop))
    planes = np.asarray(image).transpose(2, 0, 1)
    return {"resize": side, "crop": crop, "height": height, "width": width,
            "interpolation": name, "pixels": planes.ravel().tolist()}


def photograph(shared, name):
    card = json.loads((shared / "models/efficientnet_lite0_imagenet.json").read_text())["input"]
    image = Image.open(shared / "imagenet_sample/images" / name).convert("RGB")
    planes = np.asarray(image).transpose(2, 0, 1)
    mean = np.array(card["mean"], np.float32)[:, None, None]
    std = np.array(card["std"], np.float32)[:, None, None]
    normalised = (planes.astype(np.float32) / np.float32(255) - mean) / std
    return {"file": name, "stride": STRIDE,
            "pixels": planes[:, ::STRIDE, ::STRIDE].ravel().tolist(),
            "channel_means": normalised.mean((1, 2), dtype=np.float64).tolist()}


def main():
    shared = pathlib.Path(sys.argv[1])
    shrinking = [resized(24, 15, 40, 53, name) for name in FILTERS]
    growing = [resized(60, 16, 40, 33, name) for name in FILTERS]
    reference = {"resized": shrinking + growing,
                 "photographs": [photograph(shared, name) for name in PHOTOGRAPHS]}
    path = pathlib.Path(__file__).with_name("data_reference.json")
    lines = [f' "{key}": [\n  ' + ",\n  ".join(json.dumps(row, separators=(",", ":")) for row in rows) + "\n ]"
             for key, rows in reference.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


main()
