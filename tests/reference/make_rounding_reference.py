#!/usr/bin/env python3
"""Writes rounding.json: second-order rounding of small layers, step by step in float64 with NumPy.

    python tests/reference/make_rounding_reference.py

The textbook form is used on purpose: after each column the inverse of the remaining second-moment matrix is made anew
(optimal brain surgeon), where the program uses one Cholesky factor for all columns.
"""

import json
from pathlib import Path

import numpy as np

DAMPING = 0.01


def nearest(weight, scale, bits):
    if bits == 1:
        return scale if weight >= 0 else -scale
    half = 2 ** (bits - 1)
    return float(np.clip(np.round(weight / scale), -half, half - 1)) * scale


def second_order(row, second, scale, bits):
    n = len(row)
    damped = second + DAMPING * np.mean(np.diag(second)) * np.eye(n)
    order = sorted(range(n), key=lambda column: (-second[column, column], column))
    row = row.copy()
    rounded = np.zeros(n)
    left = list(order)
    while left:
        column = left[0]
        inverse = np.linalg.inv(damped[np.ix_(left, left)])
        rounded[column] = nearest(row[column], scale, bits)
        error = (row[column] - rounded[column]) / inverse[0, 0]
        row[left] -= error * inverse[:, 0]
        left = left[1:]
    return rounded


def main():
    random = np.random.default_rng(7)
    cases = []
    for columns, bits in [(4, 2), (9, 3), (9, 1), (16, 4), (27, 2), (27, 8)]:
        mixing = random.normal(size=(columns, columns))
        inputs = np.maximum(random.normal(size=(4 * columns, columns)) @ mixing, 0.0)
        second = inputs.T @ inputs / len(inputs)
        rows = random.laplace(scale=0.1, size=(3, columns)).astype(np.float32)
        scales = (np.abs(rows).max(axis=1) / 2 ** (bits - 1)).astype(np.float32)
        rounded = [second_order(row.astype(float), second, float(s), bits) for row, s in zip(rows, scales)]
        cases.append({
            "bits": bits,
            "second": second.ravel().tolist(),
            "mean": inputs.mean(axis=0).tolist(),
            "rows": rows.tolist(),
            "scales": scales.tolist(),
            "rounded": [r.tolist() for r in rounded],
        })
    path = Path(__file__).with_name("rounding.json")
    path.write_text(json.dumps(cases) + "\n")


if __name__ == "__main__":
    main()
