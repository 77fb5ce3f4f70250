#!/usr/bin/env python3
"""Writes reconstruction.json: learned rounding, equalization, absorption, analytic means and smoothing in float64.

    python tests/reference/make_reconstruction_reference.py

Needs NumPy and SciPy. Gradients are written out by hand and checked here against central differences.
"""

import json
from pathlib import Path

import numpy as np
from scipy.stats import norm

ZETA, GAMMA = 1.1, -0.1


def rectified_sigmoid(v):
    return np.clip((ZETA - GAMMA) / (1 + np.exp(-v)) + GAMMA, 0, 1)


def adaround_loss(v, case):
    h = rectified_sigmoid(v)
    weights = (case["lower"] + h) * case["scales"][:, None]
    output = np.maximum(case["inputs"] @ weights.T + case["bias"], 0)
    error = ((output - case["target"]) ** 2).sum(axis=1).mean()
    undecided = (1 - np.abs(2 * h - 1) ** case["beta"]).sum()
    return error + case["regularization"] * undecided


def adaround_gradient(v, case):
    sigmoid = 1 / (1 + np.exp(-v))
    h = rectified_sigmoid(v)
    stretched = (ZETA - GAMMA) * sigmoid + GAMMA
    slope = np.where((stretched > 0) & (stretched < 1), (ZETA - GAMMA) * sigmoid * (1 - sigmoid), 0)
    weights = (case["lower"] + h) * case["scales"][:, None]
    before = case["inputs"] @ weights.T + case["bias"]
    by_output = 2 * (np.maximum(before, 0) - case["target"]) * (before > 0) / len(case["inputs"])
    by_h = (by_output.T @ case["inputs"]) * case["scales"][:, None]
    distance = 2 * h - 1
    by_h += case["regularization"] * -case["beta"] * np.abs(distance) ** (case["beta"] - 1) * np.sign(distance) * 2
    return by_h * slope


def adaround(random):
    n_rows, n_columns, n_inputs = 3, 5, 8
    scales = np.array([0.11, 0.2, 0.07])
    weights = random.normal(size=(n_rows, n_columns)) * 0.2
    lower = np.clip(np.floor(weights / scales[:, None]), -4, 2)
    case = {
        "scales": scales,
        "weights": weights,
        "lower": lower,
        "share": np.clip(weights / scales[:, None] - lower, 0.01, 0.99),
        "inputs": random.normal(size=(n_inputs, n_columns)),
        "bias": random.normal(size=n_rows) * 0.1,
        "target": np.maximum(random.normal(size=(n_inputs, n_rows)), 0),
        "beta": 7.0,
        "regularization": 0.03,
    }
    v = -np.log((ZETA - GAMMA) / (case["share"] - GAMMA) - 1)
    gradient = adaround_gradient(v, case)
    for index in np.ndindex(v.shape):
        step = np.zeros_like(v)
        step[index] = 1e-6
        slope = (adaround_loss(v + step, case) - adaround_loss(v - step, case)) / 2e-6
        assert abs(slope - gradient[index]) < 1e-6, (index, slope, gradient[index])
    return {**case, "v": v, "loss": adaround_loss(v, case), "gradient": gradient}


def equalization(random):
    """A 1x1, a depthwise 3x3 and a 1x1 convolution, equalized pair by pair until nothing changes."""
    first = random.laplace(size=(4, 3)) * np.array([0.01, 1, 5, 0.3])[:, None]
    depthwise = random.laplace(size=(4, 9)) * np.array([3, 0.02, 1, 1])[:, None]
    last = random.laplace(size=(2, 4)) * np.array([1, 10, 0.1, 1])
    biases = [random.normal(size=n) for n in (4, 4)]
    before = [first.copy(), depthwise.copy(), last.copy()]
    before_biases = [bias.copy() for bias in biases]
    for _ in range(200):
        s = np.sqrt(np.abs(first).max(axis=1) / np.abs(depthwise).max(axis=1))
        first /= s[:, None]
        biases[0] = biases[0] / s
        depthwise *= s[:, None]
        t = np.sqrt(np.abs(depthwise).max(axis=1) / np.abs(last).max(axis=0))
        depthwise /= t[:, None]
        biases[1] = biases[1] / t
        last *= t
    return {"before": before, "biases": before_biases, "after": [first, depthwise, last], "biases_after": biases}


def absorption(random):
    mean, deviation = random.normal(size=5) * 3 + 2, np.abs(random.normal(size=5)) * 0.7
    weights, bias, next_bias = random.normal(size=(2, 5)), random.normal(size=5), random.normal(size=2)
    shift = np.maximum(0, mean - 3 * deviation)
    return {"mean": mean, "deviation": deviation, "weights": weights, "bias": bias, "next_bias": next_bias,
            "shift": shift, "lowered": bias - shift, "raised": next_bias + weights @ shift}


def analytic():
    cases = []
    for mean, deviation, low, high in [(0, 1, 0, np.inf), (-3, 0.5, 0, np.inf), (2, 1.5, 0, 6), (5, 3, 0, 6),
                                       (-0.4, 2, -1, 1), (0.3, 0.01, 0, 6), (9, 2, 0, 6), (-20, 2, 0, np.inf)]:
        a, b = (low - mean) / deviation, (high - mean) / deviation
        value = mean * (norm.cdf(b) - norm.cdf(a)) + deviation * (norm.pdf(a) - norm.pdf(b)) + low * norm.cdf(a)
        value += high * norm.sf(b) if np.isfinite(high) else 0
        cases.append({"mean": mean, "deviation": deviation, "low": low,
                      "high": high if np.isfinite(high) else None, "expected": value})
    return cases


def smoothing(random):
    activations, weights = np.abs(random.normal(size=6)) * np.array([1, 50, 1, 0.1, 3, 1]), random.normal(size=(4, 6))
    of_weights = np.abs(weights).max(axis=0)
    return {"largest": activations, "weights": weights,
            "factors": {str(alpha): activations**alpha / of_weights ** (1 - alpha) for alpha in (0.5, 0.8)}}


def plain(value):
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner) for inner in value]
    return value.ravel().tolist() if isinstance(value, np.ndarray) else value


def main():
    random = np.random.default_rng(11)
    reference = {"adaround": adaround(random), "equalization": equalization(random), "absorption": absorption(random),
                 "analytic": analytic(), "smoothing": smoothing(random)}
    path = Path(__file__).with_name("reconstruction.json")
    path.write_text(json.dumps(plain(reference)) + "\n")


if __name__ == "__main__":
    main()
