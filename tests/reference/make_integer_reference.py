#!/usr/bin/env python3
"""Writes integer.json: small networks on integers, computed with Python's unbounded integers.

    python tests/reference/make_integer_reference.py

Only the rules of the papers and of gemmlowp are used: the high product and the division that round, an accumulator that is
shifted left with saturation to 22 digits behind the point of its code, the addition that shifts codes by 20. Images, weights and outputs are [c, h, w].
Scales are multiples of 2^-16, so that they are the same numbers in f32 and f64.
"""

import json
import math
import random
from pathlib import Path

RANDOM = random.Random(11)


def high_product(a, b):
    """a * b / 2^31, rounded half up."""
    return (a * b + (1 << 30)) >> 31


def divide(x, exponent):
    """x / 2^exponent, rounded half away from zero."""
    if exponent == 0:
        return x
    half = 1 << (exponent - 1)
    return (x + half) >> exponent if x >= 0 else -((-x + half) >> exponent)


def multiplier(real):
    fraction, exponent = math.frexp(real)
    mantissa = math.floor(fraction * 2**31 + 0.5)
    if mantissa == 1 << 31:
        mantissa, exponent = mantissa // 2, exponent + 1
    return mantissa, exponent


def multiply(x, mantissa, exponent):
    shifted = max(-(2**31), min(2**31 - 1, x << max(exponent, 0)))
    return divide(high_product(shifted, mantissa), max(-exponent, 0))


def requantize(sums, ratio, grid, clip):
    mantissa, exponent = multiplier(ratio)
    left = min(31, max(0, 22 + exponent))
    low, high = (code(grid, bound) for bound in clip)
    codes = []
    for x in sums:
        saturated = max(-(2**31), min(2**31 - 1, x << left))
        codes.append(divide(high_product(saturated, mantissa), left - exponent) + grid["zero_point"])
    return [max(low, min(high, x)) for x in codes]


def code(grid, x):
    if math.isinf(x):
        return grid["high"] if x > 0 else 0
    return max(0, min(grid["high"], round(x / grid["scale"]) + grid["zero_point"]))


def draw_grid(high, signed=True, span=4.0):
    scale = max(1, round(span * RANDOM.uniform(0.6, 1.4) / high * 2**16)) / 2**16
    return {"scale": scale, "zero_point": RANDOM.randint(1, high) // (2 if signed else high + 1), "high": high}


def draw_clip():
    return RANDOM.choice([[-math.inf, math.inf], [0.0, math.inf], [0.0, 1.5], [-1.0, 1.25]])


def centred(image, grid):
    return [code(grid, x) - grid["zero_point"] for x in image]


def window_places(size, kernel, stride, padding, dilation):
    """Row by row of outputs: the taps that lie in the image, as (tap, place)."""
    top, left, bottom, right = padding
    height = (size[0] + top + bottom - dilation[0] * (kernel[0] - 1) - 1) // stride[0] + 1
    width = (size[1] + left + right - dilation[1] * (kernel[1] - 1) - 1) // stride[1] + 1
    for y in range(height):
        for x in range(width):
            taps = []
            for tap in range(kernel[0] * kernel[1]):
                row = y * stride[0] + tap // kernel[1] * dilation[0] - top
                column = x * stride[1] + tap % kernel[1] * dilation[1] - left
                if 0 <= row < size[0] and 0 <= column < size[1]:
                    taps.append((tap, row * size[1] + column))
            yield taps


def draw_image(channels, size):
    return [RANDOM.randint(-700, 700) / 256 for _ in range(channels * size[0] * size[1])]


def convolution(size, ins, outs, groups, kernel, stride, padding, dilation, bits, levels):
    image, grid, out = draw_image(ins, size), draw_grid(levels), draw_grid(levels, span=12.0)
    clip, area, reduction = draw_clip(), size[0] * size[1], ins // groups * kernel[0] * kernel[1]
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if bits > 1 else (-1, 1)
    pick = (lambda: RANDOM.choice([-1, 1])) if bits == 1 else (lambda: RANDOM.randint(low, high))
    weights = [[pick() for _ in range(reduction)] for _ in range(outs)]
    scales = [RANDOM.randint(200, 900) / 2**16 * 8 / 2**bits for _ in range(outs)]
    bias = [RANDOM.randint(-500, 500) for _ in range(outs)]
    codes, result = centred(image, grid), []
    for o, row in enumerate(weights):
        sums = []
        first = o // (outs // groups) * (ins // groups)
        for taps in window_places(size, kernel, stride, padding, dilation):
            sums.append(bias[o] + sum(
                row[c * kernel[0] * kernel[1] + tap] * codes[(first + c) * area + place]
                for c in range(ins // groups) for tap, place in taps))
        result += requantize(sums, grid["scale"] * scales[o] / out["scale"], out, clip)
    return {
        "kind": "conv", "channels": ins, "size": size, "image": image, "grids": [grid], "output": out, "clip": clip,
        "kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
        "weight_bits": bits, "weights": weights, "weight_scales": scales,
        "bias": [b * (grid["scale"] * s) for b, s in zip(bias, scales)], "codes": result,
    }


def addition(levels, subtract):
    size, channels = [3, 4], 2
    image, grids, out, clip = draw_image(channels, size), [draw_grid(n) for n in levels], draw_grid(255, span=8.0), draw_clip()
    twice = 2 * max(grid["scale"] for grid in grids)
    a, b = ([multiply(x << 20, *multiplier(grid["scale"] / twice)) for x in centred(image, grid)] for grid in grids)
    sums = [x - y if subtract else x + y for x, y in zip(a, b)]
    codes = requantize(sums, twice / 2**20 / out["scale"], out, clip)
    return {"kind": "sub" if subtract else "add", "channels": channels, "size": size, "image": image, "grids": grids,
            "output": out, "clip": clip, "codes": codes}


def concat(levels):
    size, channels = [3, 4], 2
    image, grids, out, clip = draw_image(channels, size), [draw_grid(n) for n in levels], draw_grid(255), draw_clip()
    codes = []
    for grid in grids:
        codes += requantize(centred(image, grid), grid["scale"] / out["scale"], out, clip)
    return {"kind": "concat", "channels": channels, "size": size, "image": image, "grids": grids, "output": out, "clip": clip,
            "codes": codes}


def average_pool(size, kernel, stride, padding, count_padding):
    channels, grid, out, clip = 3, draw_grid(255), draw_grid(255, span=3.0), draw_clip()
    image, area = draw_image(channels, size), size[0] * size[1]
    codes, windows = centred(image, grid), list(window_places(size, kernel, stride, padding, [1, 1]))
    counts = [kernel[0] * kernel[1] if count_padding else len(taps) for taps in windows]
    unit, result = math.lcm(*counts), []
    for c in range(channels):
        sums = [sum(codes[c * area + place] for _, place in taps) * (unit // n) for taps, n in zip(windows, counts)]
        result += requantize(sums, grid["scale"] / unit / out["scale"], out, clip)
    return {"kind": "average_pool", "channels": channels, "size": size, "image": image, "grids": [grid], "output": out,
            "clip": clip, "kernel": kernel, "stride": stride, "padding": padding, "dilation": [1, 1],
            "count_padding": count_padding, "codes": result}


def main():
    cases = [
        convolution([4, 5], 3, 5, 1, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 8, 255),
        convolution([5, 5], 4, 6, 2, [3, 2], [2, 1], [0, 1, 1, 0], [1, 2], 8, 255),
        convolution([5, 4], 6, 6, 6, [3, 3], [1, 2], [1, 0, 1, 1], [1, 1], 8, 255),
        convolution([3, 3], 5, 4, 1, [1, 1], [1, 1], [0, 0, 0, 0], [1, 1], 4, 15),
        convolution([4, 4], 2, 3, 1, [2, 2], [1, 1], [1, 1, 0, 0], [2, 1], 3, 7),
        convolution([4, 4], 3, 4, 1, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 2, 3),
        convolution([4, 4], 4, 4, 1, [3, 3], [1, 1], [1, 1, 1, 1], [1, 1], 1, 255),
        addition([255, 255], False), addition([255, 15], False), addition([3, 255], True),
        concat([255, 255]), concat([255, 7]),
        average_pool([4, 4], [2, 2], [2, 2], [0, 0, 0, 0], False),
        average_pool([5, 4], [3, 3], [1, 1], [1, 1, 1, 1], False),
        average_pool([5, 4], [3, 3], [2, 1], [1, 1, 1, 1], True),
        average_pool([5, 7], [5, 7], [1, 1], [0, 0, 0, 0], True),
    ]
    for case in cases:
        # JSON has no infinity.
        case["clip"] = [None if math.isinf(bound) else bound for bound in case["clip"]]
    path = Path(__file__).with_name("integer.json")
    path.write_text(json.dumps(cases) + "\n")
    print(path, path.stat().st_size)


if __name__ == "__main__":
    main()
