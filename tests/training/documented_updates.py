"""The updates of the optimizers as their papers and torch's documentation give them, for one weight at a time, in plain numbers."""

import math
from collections.abc import Callable

Update = Callable[[float, Callable[[float], float], int], float]
"""(first weight, gradient at a weight, steps) -> last weight"""

RATE, DECAY = 0.1, 0.01


def sgd(w: float, gradient: Callable[[float], float], steps: int) -> float:
    """Nesterov, momentum 0.9."""
    velocity = 0.0
    for step in range(steps):
        g = gradient(w) + DECAY * w
        velocity = g if step == 0 else 0.9 * velocity + g
        w -= RATE * (g + 0.9 * velocity)
    return w


def adam(w: float, gradient: Callable[[float], float], steps: int, *, decoupled: bool = False) -> float:
    m = v = 0.0
    for t in range(1, steps + 1):
        g = gradient(w) + (0.0 if decoupled else DECAY * w)
        w -= RATE * DECAY * w if decoupled else 0.0
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        w -= RATE * (m / (1 - 0.9**t)) / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


def adamw(w: float, gradient: Callable[[float], float], steps: int) -> float:
    return adam(w, gradient, steps, decoupled=True)


def adagrad(w: float, gradient: Callable[[float], float], steps: int) -> float:
    squares = 0.0
    for _ in range(steps):
        g = gradient(w) + DECAY * w
        squares += g * g
        w -= RATE * g / (math.sqrt(squares) + 1e-10)
    return w


def adadelta(w: float, gradient: Callable[[float], float], steps: int) -> float:
    squares = changes = 0.0
    for _ in range(steps):
        g = gradient(w) + DECAY * w
        squares = 0.9 * squares + 0.1 * g * g
        change = math.sqrt(changes + 1e-6) / math.sqrt(squares + 1e-6) * g
        changes = 0.9 * changes + 0.1 * change * change
        w -= RATE * change
    return w


def adamax(w: float, gradient: Callable[[float], float], steps: int) -> float:
    m = largest = 0.0
    for t in range(1, steps + 1):
        g = gradient(w) + DECAY * w
        m, largest = 0.9 * m + 0.1 * g, max(0.999 * largest, abs(g) + 1e-8)
        w -= RATE / (1 - 0.9**t) * m / largest
    return w


def nadam(w: float, gradient: Callable[[float], float], steps: int) -> float:
    m = v = 0.0
    product = 1.0
    for t in range(1, steps + 1):
        g = gradient(w) + DECAY * w
        now, following = (0.9 * (1 - 0.5 * 0.96 ** (0.004 * step)) for step in (t, t + 1))
        product *= now
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        ahead = following * m / (1 - product * following) + (1 - now) * g / (1 - product)
        w -= RATE * ahead / (math.sqrt(v / (1 - 0.999**t)) + 1e-8)
    return w


def rmsprop(w: float, gradient: Callable[[float], float], steps: int) -> float:
    """With momentum 0.5."""
    squares = velocity = 0.0
    for _ in range(steps):
        g = gradient(w) + DECAY * w
        squares = 0.99 * squares + 0.01 * g * g
        velocity = 0.5 * velocity + g / (math.sqrt(squares) + 1e-8)
        w -= RATE * velocity
    return w


UPDATES: dict[str, tuple[Update, dict[str, float | bool]]] = {
    "sgd": (sgd, {"nesterov": True}),
    "adam": (adam, {}),
    "adamw": (adamw, {}),
    "adagrad": (adagrad, {}),
    "adadelta": (adadelta, {}),
    "adamax": (adamax, {}),
    "nadam": (nadam, {}),
    "rmsprop": (rmsprop, {"momentum": 0.5}),
}
"""By name, with what a recipe says beside rate and decay."""
