#!/usr/bin/env python3
"""Writes training.json: fake quantization with its gradients, batch norm folding, and steps of descent in float64.

    python tests/reference/make_training_reference.py

Needs NumPy. Gradients are the straight-through ones of the papers, written out by hand; where the function is
differentiable they are checked here against central differences.
"""

import json
from pathlib import Path

import numpy as np


def lsq(x, scale, low, high, upstream):
    """Esser et al. 2020, equations 1 to 3; `scale` broadcasts to `x` and has its gradient summed."""
    position = x / scale
    inside = (position >= low) & (position <= high)
    code = np.round(np.clip(position, low, high))
    by_scale = np.where(inside, code - position, code) * upstream
    while by_scale.ndim > scale.ndim:
        by_scale = by_scale.sum(axis=0)
    axes = tuple(axis for axis, n in enumerate(scale.shape) if n == 1)
    return code * scale, upstream * inside, by_scale.sum(axis=axes, keepdims=True)


def steps(random):
    cases = []
    for name, shape, scale_shape, low, high in [
        ("weights, 2 bits", (3, 7), (3, 1), -2, 1),
        ("weights, 4 bits", (3, 7), (3, 1), -8, 7),
        ("activations, 2 bits", (2, 9), (1,), 0, 3),
        ("signed activations, 3 bits", (2, 9), (1,), -3, 4),
    ]:
        scale = random.uniform(0.1, 0.4, size=scale_shape)
        x = random.normal(size=shape) * scale * high
        upstream = random.normal(size=shape)
        value, by_x, by_scale = lsq(x, scale, low, high, upstream)
        cases.append({"name": name, "shape": shape, "scale_shape": scale_shape, "low": low, "high": high, "x": x,
                      "scale": scale, "upstream": upstream, "value": value, "by_x": by_x, "by_scale": by_scale})
    return cases


def pact(random):
    """Choi et al. 2018, equations 1 to 3."""
    x, upstream, clip, levels = random.normal(size=24) * 1.5, random.normal(size=24), 1.3, 7
    scale = clip / levels
    value = np.round(np.clip(x, 0, clip) / scale) * scale
    beyond = x >= clip
    return {"x": x, "upstream": upstream, "clip": clip, "levels": levels, "value": value,
            "by_x": upstream * ((x >= 0) & ~beyond), "by_clip": (upstream * beyond).sum()}


def signs(random):
    """Hubara et al. 2016, equation 4, with a learned scale."""
    x, upstream, scale, bound = random.normal(size=24), random.normal(size=24), 0.7, 1.0
    x[0] = 0.0
    sign = np.where(x >= 0, 1.0, -1.0)
    return {"x": x, "upstream": upstream, "scale": scale, "bound": bound, "value": scale * sign,
            "by_x": upstream * (np.abs(x) <= bound), "by_scale": (upstream * sign).sum()}


def ema(random):
    """A range that moves towards each batch's extremes by a hundredth, and the grid it stands for at 4 bits."""
    low, high, seen = -0.5, 1.5, []
    for _ in range(3):
        batch = random.normal(size=16) * 2
        low, high = low + 0.01 * (batch.min() - low), high + 0.01 * (batch.max() - high)
        seen.append(batch)
    scale = (high - low) / 15
    return {"low": -0.5, "high": 1.5, "batches": seen, "low_after": low, "high_after": high, "scale": scale,
            "zero_point": int(np.round(-low / scale))}


def linear(x, weight, bias):
    return x @ weight.T + bias


def moved(mean, variance, product):
    """Running statistics after one more batch, which counts a tenth; its variance is the one without bias."""
    return 0.9 * mean + 0.1 * product.mean(axis=0), 0.9 * variance + 0.1 * product.var(axis=0, ddof=1)


def fold(random):
    """One linear layer with batch norm, 3-bit weights: as Jacob et al. fold it, and with the norm kept behind."""
    n, n_in, n_out, low, high, epsilon = 12, 6, 4, -4, 3, 2.0**-10
    x, weight = random.normal(size=(n, n_in)), random.normal(size=(n_out, n_in))
    gain, offset = random.uniform(0.5, 1.5, size=n_out), random.normal(size=n_out)
    mean, variance = random.normal(size=n_out), random.uniform(0.5, 2, size=n_out)
    scale, upstream = random.uniform(0.2, 0.4, size=(n_out, 1)), random.normal(size=(n, n_out))
    case = {"x": x, "weight": weight, "gain": gain, "offset": offset, "mean": mean, "variance": variance,
            "scale": scale, "upstream": upstream, "epsilon": epsilon, "n": n}

    # Folded: statistics of the float product go into the weights, which are then rounded.
    product = x @ weight.T
    batch_mean, batch_variance = product.mean(axis=0), product.var(axis=0)
    slope = gain / np.sqrt(batch_variance + epsilon)
    rounded, _, _ = lsq(weight * slope[:, None], scale, low, high, np.ones_like(weight))
    case["folded"] = linear(x, rounded, offset - slope * batch_mean)
    case["folded_mean_after"], case["folded_variance_after"] = moved(mean, variance, product)
    # The same at the end, when running statistics serve.
    slope = gain / np.sqrt(variance + epsilon)
    rounded, _, _ = lsq(weight * slope[:, None], scale, low, high, np.ones_like(weight))
    case["settled"] = linear(x, rounded, offset - slope * mean)
    # The gradient there by offset is the upstream sum; by the weights it passes the rounding.
    _, by_folded, _ = lsq(weight * slope[:, None], scale, low, high, upstream.T @ x)
    case["settled_by_weight"] = by_folded * slope[:, None]
    case["settled_by_offset"] = upstream.sum(axis=0)

    # Kept: the norm works on what the rounded weights give.
    rounded, _, _ = lsq(weight, scale, low, high, np.ones_like(weight))
    product = x @ rounded.T
    batch_mean, batch_variance = product.mean(axis=0), product.var(axis=0)
    deviation = np.sqrt(batch_variance + epsilon)
    normal = (product - batch_mean) / deviation
    case["kept"] = normal * gain + offset
    by_normal = upstream * gain
    by_product = (by_normal - by_normal.mean(axis=0) - normal * (by_normal * normal).mean(axis=0)) / deviation

    def kept_sum(shifted):
        spread = np.sqrt(shifted.var(axis=0) + epsilon)
        return (((shifted - shifted.mean(axis=0)) / spread * gain + offset) * upstream).sum()

    for index in [(0, 0), (5, 2), (11, 3)]:
        step = np.zeros_like(product)
        step[index] = 1e-6
        slope = (kept_sum(product + step) - kept_sum(product - step)) / 2e-6
        assert abs(slope - by_product[index]) < 1e-6, (index, slope, by_product[index])
    _, by_weight, _ = lsq(weight, scale, low, high, by_product.T @ x)
    case["kept_by_weight"] = by_weight
    case["kept_mean_after"], case["kept_variance_after"] = moved(mean, variance, product)
    return case


def descent(random):
    """Momentum, weight decay and one cosine over five steps."""
    rate, momentum, decay, n_steps = 0.3, 0.9, 0.05, 5
    value, velocity = random.normal(size=6), np.zeros(6)
    gradients, values, rates, start = [], [], [], value.copy()
    for step in range(n_steps):
        gradient = random.normal(size=6)
        now = 0.5 * rate * (1 + np.cos(np.pi * step / n_steps))
        velocity = momentum * velocity + gradient + decay * value
        value = value - now * velocity
        gradients.append(gradient)
        values.append(value.copy())
        rates.append(now)
    return {"rate": rate, "momentum": momentum, "decay": decay, "start": start, "gradients": gradients,
            "values": values, "rates": rates}


def losses(random):
    outputs, float_outputs = random.normal(size=(5, 4)) * 2, random.normal(size=(5, 4)) * 2
    labels = random.integers(0, 4, size=5)

    def log_softmax(x):
        x = x - x.max(axis=1, keepdims=True)
        return x - np.log(np.exp(x).sum(axis=1, keepdims=True))

    log_q, log_p = log_softmax(outputs), log_softmax(float_outputs)
    entropy = -log_q[np.arange(5), labels].mean()
    divergence = (np.exp(log_p) * (log_p - log_q)).sum(axis=1).mean()
    one_hot = np.eye(4)[labels]
    return {"outputs": outputs, "float_outputs": float_outputs, "labels": labels.tolist(), "entropy": entropy,
            "divergence": divergence, "by_outputs": (np.exp(log_q) - one_hot) / 5 + 0.7 * (np.exp(log_q) - np.exp(log_p)) / 5}


def plain(value):
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return value.ravel().tolist()
    return value.item() if isinstance(value, np.generic) else value


def main():
    random = np.random.default_rng(23)
    reference = {"steps": steps(random), "pact": pact(random), "signs": signs(random), "ema": ema(random),
                 "fold": fold(random), "descent": descent(random), "losses": losses(random)}
    path = Path(__file__).with_name("training.json")
    path.write_text(json.dumps(plain(reference)) + "\n")


if __name__ == "__main__":
    main()
