"""Orthogonal cells and `sr-coupled` written out in float64 numpy: forward, gradients by hand, and RMSprop.

Nothing of the package is used, so that what the package trains can be held against it step by step.

Axes: T time, B batch, D input, H hidden, O classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Parameters = dict[str, Array]


class Problem(NamedTuple):
    """Inputs (T, B, D) and classes (B,)."""

    x: Array
    y: npt.NDArray[np.int64]


def sigmoid(z: Array) -> Array:
    return 1.0 / (1.0 + np.exp(-z))


def cross_entropy(h: Array, p: Parameters, y: npt.NDArray[np.int64]) -> tuple[float, Array, Parameters]:
    """Return the mean loss of the last state h (B, H), its gradient in h, and those of the head."""
    z = h @ p["head.weight"].T + p["head.bias"]
    z = z - z.max(1, keepdims=True)
    probability = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    loss = -float(np.log(probability[np.arange(len(y)), y]).mean())
    dz = probability.copy()
    dz[np.arange(len(y)), y] -= 1.0
    dz /= len(y)
    return loss, dz @ p["head.weight"], {"head.weight": dz.T @ h, "head.bias": dz.sum(0)}


# Orthogonal RNN: h_t = modReLU(v_t + B h_{t-1}; b), v_t = momentum v_{t-1} + step_size W x_t, B = base expm(A).


def skew_matrix(entries: Array, size: int) -> Array:
    """Return A (H, H) from its entries above the diagonal, row by row."""
    a = np.zeros((size, size))
    a[np.triu_indices(size, 1)] = entries
    return a - a.T


def exponential(a: Array) -> tuple[Array, Callable[[Array], Array]]:
    """Return expm(A) of a skew-symmetric A, and the map from a gradient in expm(A) to that in A.

    By the eigenvectors of the Hermitian iA: expm(A) = V e^μ Vᴴ with imaginary μ; the derivative has the divided
    differences of e^μ in the eigenbasis (Daleckii and Krein).
    """
    values, v = np.linalg.eigh(1j * a)
    mu = -1j * values
    e = np.exp(mu)
    gap = mu[:, None] - mu[None, :]
    close = np.abs(gap) < 1e-9
    divided = np.where(close, e[:, None], (e[:, None] - e[None, :]) / np.where(close, 1.0, gap))

    def adjoint(gradient: Array) -> Array:
        return np.real(v @ ((v.conj().T @ gradient @ v) * divided.conj()) @ v.conj().T)

    return np.real(v * e @ v.conj().T), adjoint


def orthogonal_gradients(
    problem: Problem, p: Parameters, base: Array, momentum: float, step_size: float
) -> tuple[float, Parameters, Array]:
    """Return the loss, the gradients, and B.

    Args:
        problem: Inputs and classes.
        p: ``weight_ih (H, D), skew (H (H - 1) / 2,), bias_hh (H,)`` and the head.
        base: (H, H).
        momentum: Decay of the velocity; 0 without a dynamics.
        step_size: Weight of the input; 1 without a dynamics.
    """
    steps, batch, _ = problem.x.shape
    size = len(p["bias_hh"])
    rotation, adjoint = exponential(skew_matrix(p["skew"], size))
    matrix = base @ rotation
    h, v = np.zeros((steps + 1, batch, size)), np.zeros((batch, size))
    z = np.zeros((steps, batch, size))
    for t in range(steps):
        v = momentum * v + step_size * problem.x[t] @ p["weight_ih"].T
        z[t] = v + h[t] @ matrix.T
        h[t + 1] = np.sign(z[t]) * np.maximum(np.abs(z[t]) + p["bias_hh"], 0.0)
    loss, dh, gradients = cross_entropy(h[-1], p, problem.y)
    d_matrix, d_bias, d_weight = np.zeros_like(matrix), np.zeros(size), np.zeros_like(p["weight_ih"])
    dv = np.zeros((batch, size))
    for t in reversed(range(steps)):
        active = np.abs(z[t]) + p["bias_hh"] > 0.0
        dz = dh * active
        d_bias += (dh * active * np.sign(z[t])).sum(0)
        d_matrix += dz.T @ h[t]
        dv = dz + momentum * dv
        d_weight += step_size * dv.T @ problem.x[t]
        dh = dz @ matrix
    da = adjoint(base.T @ d_matrix)
    above = np.triu_indices(size, 1)
    gradients |= {"weight_ih": d_weight, "bias_hh": d_bias, "skew": da[above] - da.T[above]}
    return loss, gradients, matrix


# sr-coupled: p_t = W_hh h + b_hh - s (W_ih x + b_ih); gates = p_t + c_t (p_t - p_{t-1}), c = (k - 1) / (k + 2).


def coupled_gradients(problem: Problem, p: Parameters, step_size: float, restart: int) -> tuple[float, Parameters]:
    """Return the loss and the gradients of ``weight_ih (4H, D), weight_hh (4H, H), bias_ih, bias_hh (4H,)``, head."""
    steps, batch, _ = problem.x.shape
    size = p["weight_hh"].shape[1]
    h, c = np.zeros((steps + 1, batch, size)), np.zeros((steps + 1, batch, size))
    before = np.zeros((batch, 4 * size))
    kept = []
    for t in range(steps):
        k = t % restart + 1
        ahead = (k - 1) / (k + 2)
        now = h[t] @ p["weight_hh"].T + p["bias_hh"] - step_size * (problem.x[t] @ p["weight_ih"].T + p["bias_ih"])
        i, f, g, o = np.split(now + ahead * (now - before), 4, axis=1)
        i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
        c[t + 1] = f * c[t] + i * g
        h[t + 1] = o * np.tanh(c[t + 1])
        kept.append((ahead, i, f, g, o))
        before = now
    loss, dh, gradients = cross_entropy(h[-1], p, problem.y)
    dc, d_before = np.zeros((batch, size)), np.zeros((batch, 4 * size))
    gradients |= {name: np.zeros_like(p[name]) for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    for t in reversed(range(steps)):
        ahead, i, f, g, o = kept[t]
        tanh = np.tanh(c[t + 1])
        dc = dc + dh * o * (1.0 - tanh**2)
        gates = (dc * g * i * (1 - i), dc * c[t] * f * (1 - f), dc * i * (1 - g**2), dh * tanh * o * (1 - o))
        d_gates = np.concatenate(gates, axis=1)
        # p_t is in the gates of its own step and, as the value before, in those of the next.
        d_now = (1.0 + ahead) * d_gates + d_before
        d_before = -ahead * d_gates
        gradients["weight_hh"] += d_now.T @ h[t]
        gradients["bias_hh"] += d_now.sum(0)
        gradients["weight_ih"] -= step_size * d_now.T @ problem.x[t]
        gradients["bias_ih"] -= step_size * d_now.sum(0)
        dh, dc = d_now @ p["weight_hh"], dc * f
    return loss, gradients


class RMSprop:
    """RMSprop without momentum or centring: ``v = α v + (1 - α) g²``, ``p -= lr g / (sqrt(v) + 1e-8)``."""

    def __init__(self, rates: dict[str, float], alpha: float) -> None:
        self.rates, self.alpha = rates, alpha
        self.square: Parameters = {}

    def step(self, p: Parameters, gradients: Parameters) -> None:
        for name, gradient in gradients.items():
            square = self.alpha * self.square.get(name, np.zeros_like(gradient)) + (1.0 - self.alpha) * gradient**2
            self.square[name] = square
            p[name] = p[name] - self.rates[name] * gradient / (np.sqrt(square) + 1e-8)
