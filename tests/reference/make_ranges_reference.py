#!/usr/bin/env python3
"""Writes ranges.json: clips, constants, allocations and codebooks in float64 with NumPy.

    python tests/reference/make_ranges_reference.py

Other ways than the program's are taken where there are some: constants by bisection and by sums over a fine grid instead of
Lambert's W and antiderivatives, shares of bits by moving a target, k-means by comparing every number with every centroid.
"""

import json
import math
from pathlib import Path

import numpy as np


def bisect(rising, low, high):
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < 0 else (low, middle)
    return (low + high) / 2


def laplace_constant(bits):
    return bisect(lambda a: a / (3 * 4.0**bits) - math.exp(-a), 0.0, 60.0)


def gauss_constant(bits):
    def slope(a):
        return a * math.erfc(a / math.sqrt(2)) + a / (3 * 4.0**bits) - math.sqrt(2 / math.pi) * math.exp(-a * a / 2)

    return bisect(slope, 0.0, 20.0)


def constants():
    return [
        {
            "bits": bits,
            "laplace": laplace_constant(bits),
            "laplace_one_sided": laplace_constant(bits + 1),
            "gauss": gauss_constant(bits),
            "gauss_one_sided": gauss_constant(bits + 1),
        }
        for bits in range(1, 9)
    ]


X = (np.arange(-800_000, 800_000) + 0.5) * 5e-5
DENSITY = {"laplace": 0.5 * np.exp(-np.abs(X)), "gauss": np.exp(-0.5 * X * X) / math.sqrt(2 * math.pi)}


def levels(points, bits, clip):
    half = 2 ** (bits - 1)
    if points == "cell-centres":
        return (np.arange(-half, half) + 0.5) * clip / half
    if points == "symmetric":
        return np.arange(1 - half, half) * clip / (half - 1)
    if points == "two's complement":
        return np.arange(-half, half) * clip / (half - 1)
    return np.arange(0, 2 * half) * clip / (2 * half - 1)


def error_of_levels(law, points, bits, clip):
    x, density = (X, DENSITY[law])
    if points == "rectified":
        x, density = x[x > 0], density[x > 0]
    grid = levels(points, bits, clip)
    step = grid[1] - grid[0]
    nearest = grid[np.clip(np.round((x - grid[0]) / step), 0, len(grid) - 1).astype(int)]
    return float(np.sum((x - nearest) ** 2 * density) * 5e-5)


def golden(f, low, high):
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if f(a) < f(b) else (a, high)
    return (low + high) / 2


def finite():
    cases = []
    for law, about in [("laplace", laplace_constant), ("gauss", gauss_constant)]:
        for points in ["cell-centres", "symmetric", "two's complement", "rectified"]:
            for bits in [2, 3, 4, 5, 6, 8]:
                middle = about(bits + (points == "rectified"))
                clip = golden(lambda a: error_of_levels(law, points, bits, a), 0.5 * middle, 1.4 * middle)
                error = error_of_levels(law, points, bits, clip)
                cases.append({"distribution": law, "points": points, "bits": bits, "clip": clip, "error": error})
    return cases


def affine_grid(bits, low, high):
    low, high = min(low, 0.0), max(high, 0.0)
    last = 2**bits - 1
    scale = (high - low) / last
    return {"scale": scale, "zero_point": int(np.clip(np.round(-low / scale), 0, last)), "low": 0, "high": last}


def rounded(x, grid):
    q = np.clip(np.round(x / grid["scale"]) + grid["zero_point"], grid["low"], grid["high"])
    return (q - grid["zero_point"]) * grid["scale"]


def mse_error(x, bits):
    """The least squared error over the ranges that are tried."""
    low, high = min(x.min(), 0.0), max(x.max(), 0.0)
    shares = np.arange(1, 101) / 100

    def error(low, high):
        return float(np.sum((x - rounded(x, affine_grid(bits, low, high))) ** 2))

    together = min(shares, key=lambda s: error(low * s, high * s))
    best_low, best_high = low * together, high * together
    if low < 0:
        for _ in range(2):
            best_low = min((low * s for s in shares), key=lambda end: error(end, best_high))
            best_high = min((high * s for s in shares), key=lambda end: error(best_low, end))
    return error(best_low, best_high)


def kl_threshold(x, n_levels, bins=2048, stride=8, smoothing=1e-4):
    largest = np.abs(x).max()
    counts = np.histogram(np.abs(x), bins=bins, range=(0, largest))[0].astype(float)
    counts[0] = counts[1]
    best = (math.inf, bins)
    for end in range(-(-n_levels // stride) * stride, bins + 1, stride):
        whole = counts[:end].copy()
        whole[-1] += counts[end:].sum()
        edges = [level * end // n_levels for level in range(n_levels + 1)]
        spread = np.zeros(end)
        for start, stop in zip(edges, edges[1:]):
            part = counts[start:stop]
            if np.any(part > 0):
                spread[start:stop] = np.where(part > 0, part.sum() / np.count_nonzero(part), 0)
        pair = []
        for shares in (whole, spread):
            empty = np.count_nonzero(shares == 0)
            if empty == end:
                break
            taken = smoothing * empty / (end - empty)
            pair.append(np.where(shares == 0, smoothing, shares / shares.sum() - taken))
        if len(pair) < 2 or min(pair[0].min(), pair[1].min()) <= 0:
            continue
        divergence = np.sum(pair[0] * np.log(pair[0] / pair[1]))
        if divergence <= best[0]:
            best = (divergence, end)
    return float(largest * best[1] / bins)


def haq_threshold(x, n_points):
    magnitudes = np.abs(x)
    bins = math.ceil(math.sqrt(len(x)))
    if n_points + 1 > bins:
        return float(magnitudes.max())
    counts = np.histogram(magnitudes, bins=bins, range=(0, magnitudes.max()))[0]
    cumulated = np.cumsum(counts / counts.sum())
    best = (math.inf, bins)
    for end in range(n_points + 1, bins + 1):
        clipped = cumulated.copy()
        clipped[end - 1 :] = 1
        even, coarse = np.linspace(0, 1, end), np.linspace(0, 1, n_points)
        seen = clipped.copy()
        seen[:end] = np.interp(even, coarse, np.interp(coarse, even, clipped[:end]))
        unequal = cumulated != seen
        c, q = cumulated[unequal], seen[unequal]
        divergence = np.sum((c - q) * np.log2(c / q)) if np.all(c * q > 0) else math.inf
        if divergence < best[0]:
            best = (divergence, end)
    return float((best[1] + 0.5) * magnitudes.max() / bins)


def haq_grid(x, bits):
    half_wave = x.min() >= 0
    searched = bits if half_wave else bits - 1
    limit = haq_threshold(x, 2 ** (searched - 1)) if searched < 5 else np.abs(x).max()
    limit = min(limit, np.abs(x).max(), 6.0)
    high = 2**searched - 1
    return {"scale": float(limit / high), "zero_point": 0, "low": 0 if half_wave else -high, "high": high}


def aciq_grid(x, before, bits, finite_cases):
    rectified = x.min() >= 0
    if not rectified:
        fitted, mean = x, x.mean()
    elif before is None:
        fitted, mean = x[x > 0], 0.0
    else:
        fitted, mean = before, before.mean()
    b, s = np.abs(fitted - mean).mean(), math.sqrt(((fitted - mean) ** 2).mean())
    likely_laplace = -math.log(2 * b) - 1 > -0.5 * math.log(2 * math.pi * s * s) - 0.5
    law, unit = ("laplace", b) if likely_laplace else ("gauss", s)
    grids = []
    for form in ["closed", "finite"]:
        if form == "closed":
            alpha = {"laplace": laplace_constant, "gauss": gauss_constant}[law](bits + rectified)
        else:
            points = "rectified" if rectified else "cell-centres"
            alpha = next(
                c["clip"] for c in finite_cases if (c["distribution"], c["points"], c["bits"]) == (law, points, bits)
            )
            alpha *= 1 if rectified else 1 - 0.5**bits
        low = 0.0 if rectified else max(x.min(), mean - alpha * unit)
        high = min(x.max(), (max(mean, 0) if rectified else mean) + alpha * unit)
        grids.append(affine_grid(bits, low, high))
    return grids


def ranges(random, finite_cases):
    signed = random.laplace(loc=0.3, scale=0.7, size=800)
    before = random.normal(loc=-0.2, scale=1.3, size=800)
    tail = np.maximum(random.laplace(scale=1.1, size=800), 0)
    tail[7] = 40.0
    cases = []
    for name, x, before in [("signed", signed, None), ("rectified", np.maximum(before, 0), before), ("tail", tail, None)]:
        x = x.astype(np.float32).astype(float)
        before = None if before is None else before.astype(np.float32).astype(float)
        batches = [(b.min(), b.max()) for b in np.split(x, 5)]
        low, high = batches[0]
        for batch_low, batch_high in batches[1:]:
            low, high = 0.9 * low + 0.1 * batch_low, 0.9 * high + 0.1 * batch_high
        ordered = np.sort(x)
        place = lambda share: ordered[int(np.round((len(x) - 1) * share))]
        cut = 0.01
        ends = (place(0.0), place(1 - cut)) if x.min() >= 0 else (place(cut / 2), place(1 - cut / 2))
        at_bits = []
        for bits in [2, 3, 4, 8]:
            threshold = kl_threshold(x, 2**bits if x.min() >= 0 else 2 ** (bits - 1))
            closed, finite_form = aciq_grid(x, before, bits, finite_cases)
            at_bits.append({
                "bits": bits,
                "min_max": affine_grid(bits, x.min(), x.max()),
                "percentile": affine_grid(bits, *ends),
                "ema": affine_grid(bits, low, high),
                "mse_error": mse_error(x, bits),
                "kl": affine_grid(bits, max(x.min(), -threshold), min(x.max(), threshold)),
                "haq": haq_grid(x, bits),
                "aciq": closed,
                "aciq_finite": finite_form,
            })
        cases.append({
            "name": name,
            "values": ordered.tolist(),
            "batches": batches,
            "before": None if before is None else before.tolist(),
            "at_bits": at_bits,
        })
    return cases


def weight_values(random):
    cases = []
    for bits in [2, 3, 5, 8]:
        row = random.laplace(loc=0.05, scale=0.1, size=25).astype(np.float32).astype(float)
        half, largest = 2 ** (bits - 1), np.abs(row).max()
        scale = largest / (half - 1)
        cases.append({
            "bits": bits,
            "row": row.tolist(),
            "full": (np.clip(np.round(row / scale), -half, half - 1) * scale).tolist(),
            "narrow": (np.clip(np.round(row / scale), 1 - half, half - 1) * scale).tolist(),
            "affine": rounded(row, affine_grid(bits, row.min(), row.max())).tolist(),
        })
    return cases


def allocation(random):
    cases = []
    for n, average in [(16, 4), (7, 3), (40, 2), (5, 1), (3, 8)]:
        spreads = random.gamma(0.7, size=n)
        quota = n * 2.0**average
        share = np.log2(quota * spreads ** (2 / 3) / np.sum(spreads ** (2 / 3)))
        bits_at = lambda shift: np.clip(np.floor(share + shift + 0.5), 0, 8)
        shift = bisect(lambda shift: bits_at(shift).sum() - average * n + 0.5, -80, 80)
        for moved in np.linspace(-1e-9, 1e-9, 3):
            if bits_at(shift + moved).sum() == average * n:
                bits = bits_at(shift + moved)
        cases.append({"spreads": spreads.tolist(), "average": average, "bits": bits.astype(int).tolist()})
    return cases


def moments(random):
    cases = []
    for bits in [2, 3, 4]:
        row = random.laplace(loc=0.02, scale=0.1, size=30).astype(np.float32).astype(float)
        half, scale = 2 ** (bits - 1), float(np.float32(0.11))
        levels_of_row = np.clip(np.round(row / scale), -half, half - 1) * scale
        stretched = (levels_of_row - levels_of_row.mean()) * (row.std() / levels_of_row.std())
        cases.append({"bits": bits, "row": row.tolist(), "scale": scale, "corrected": (stretched + row.mean()).tolist()})
    return cases


def k_means(random):
    cases = []
    for n, k, steps in [(60, 4, 3), (200, 8, 50), (30, 16, 10)]:
        values = random.laplace(size=n).astype(np.float32).astype(float)
        start = np.sort(random.choice(values, size=k, replace=False))
        centroids = start.copy()
        for _ in range(steps):
            nearest = np.argmin(np.abs(values[:, None] - centroids[None, :]), axis=1)
            centroids = np.array([values[nearest == j].mean() if np.any(nearest == j) else c for j, c in enumerate(centroids)])
        cases.append({"values": values.tolist(), "start": start.tolist(), "steps": steps, "centroids": centroids.tolist()})
    return cases


def main():
    random = np.random.default_rng(11)
    finite_cases = finite()
    reference = {
        "constants": constants(),
        "finite": finite_cases,
        "ranges": ranges(random, finite_cases),
        "weights": weight_values(random),
        "allocation": allocation(random),
        "moments": moments(random),
        "k_means": k_means(random),
    }
    path = Path(__file__).with_name("ranges.json")
    path.write_text(json.dumps(reference) + "\n")


if __name__ == "__main__":
    main()
