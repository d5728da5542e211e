r"""Patterns of units, and the two backward passes of which they are a part.

Kindermans et al., 2018. A unit is $y = w^\top x$; its bias is left out of $y$, and says
with it in which regime the unit is. The network is the `cnn` of `tests.networks`:
convolution with batch norm, relu, max pooling, residual sum, relu, mean, dense layer.
"""

import numpy as np

from .stabilizers import Array


def patches(x: Array, size: int = 3) -> Array:
    """What a convolution that keeps the size reads at each position, a row for each."""
    edge = size // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    rows = []
    for b, i, j in np.ndindex(*x.shape[:3]):
        rows.append(padded[b, i : i + size, j : j + size].reshape(-1))
    return np.array(rows)


def pattern(inputs: Array, weights: Array, bias: Array, regime: str) -> Array:
    """The pattern of each unit of a dense layer, `(inputs, units)`."""
    result = np.zeros_like(weights)
    for unit in range(weights.shape[1]):
        w = weights[:, unit]
        y = np.array([x @ w for x in inputs])
        fires = y + bias[unit] > 0
        chosen = {
            "linear": np.ones(len(y), bool),
            "relu.positive": fires,
            "relu.negative": ~fires,
        }[regime]
        if not chosen.any():
            continue
        mean_xy = np.mean([y[n] * inputs[n] for n in np.flatnonzero(chosen)], axis=0)
        mean_x = np.mean(inputs[chosen], axis=0)
        c = mean_xy - mean_x * y.mean()
        result[:, unit] = c / (w @ c)
    return result


def quality(x: Array, w: Array, a: Array, ridge: float) -> float:
    r"""The quality $\rho$ of one unit; `a` is one pattern for each row of `x`."""
    y = x @ w
    left = x - a * y[:, None]
    half = len(x) // 2
    covariance = np.cov(left[:half].T, bias=True).reshape(len(w), len(w))
    penalty = ridge * np.diag(covariance).mean()
    along = [np.cov(column, y[:half], bias=True)[0, 1] for column in left[:half].T]
    v = np.linalg.inv(covariance + penalty * np.eye(len(w))) @ along
    return 1 - np.corrcoef(y[half:], left[half:] @ v)[0, 1]


class Network:
    """The weights of `cnn` as plain matrices, and its forward pass."""

    def __init__(self, v: dict):
        scale = v["norm"]["scale"].reshape(-1)
        self.first = v["conv"]["w"].reshape(-1, len(scale)) * scale
        self.first_bias = v["conv"]["b"].reshape(-1) * scale
        self.first_bias = self.first_bias + v["norm"]["shift"].reshape(-1)
        self.second = v["skip"]["w"].reshape(-1, len(scale))
        self.head, self.head_bias = v["head"]["w"], v["head"]["b"].reshape(-1)

    def run(self, x: Array) -> dict[str, Array]:
        """Returns all activations of a batch of images."""
        batch, height, width, _ = x.shape
        rows = patches(x)
        z = (rows @ self.first + self.first_bias).reshape(batch, height, width, -1)
        blocks = np.maximum(z, 0).reshape(batch, height // 2, 2, width // 2, 2, -1)
        pooled = blocks.max(axis=(2, 4))
        branch = (patches(pooled) @ self.second).reshape(pooled.shape)
        total = pooled + branch
        mean = np.maximum(total, 0).mean(axis=(1, 2))
        y = mean @ self.head + self.head_bias
        return {"z": z, "pooled": pooled, "total": total, "mean": mean, "y": y}

    def patterns(self, x: Array, regime: str) -> dict[str, Array]:
        """Returns the patterns of the three affine maps, as matrices."""
        run = self.run(x)
        none = np.zeros(self.second.shape[1])
        return {
            "conv": pattern(patches(x), self.first, self.first_bias, regime),
            "skip": pattern(patches(run["pooled"]), self.second, none, regime),
            "head": pattern(run["mean"], self.head, self.head_bias, "linear"),
        }

    def explained(self, x: Array, target: Array, a: dict[str, Array], kind: str):
        """The signal, `"net"`, or the relevance, `"attribution"`, of the inputs."""
        run = self.run(x)
        ours = {"conv": self.first, "skip": self.second, "head": self.head}
        if kind == "attribution":  # two components are pairs of matrices
            a = {site: np.asarray(a[site]) * weights for site, weights in ours.items()}
        result = np.zeros_like(x)
        for b in range(len(x)):
            g = run["y"][b, target[b]] * a["head"][:, target[b]]
            size = run["total"][b].shape
            g = np.broadcast_to(g / (size[0] * size[1]), size)
            g = g * (run["total"][b] > 0)
            g = g + self.of_branch(g, run, b, a["skip"])
            g = _to_winners(g, run["z"][b]) * (run["z"][b] > 0)
            first = a["conv"] if np.ndim(a["conv"]) == 2 else a["conv"][0]
            result[b] = _scattered(g, first)  # where z is positive, see above
        return result

    def of_branch(self, g: Array, run: dict[str, Array], b: int, a) -> Array:
        """What the residual branch sends back, by the pattern of each unit's sign."""
        if np.ndim(a) == 2:
            return _scattered(g, a)
        is_on = run["total"][b] - run["pooled"][b] > 0
        on, off = np.where(is_on, g, 0.0), np.where(is_on, 0.0, g)
        return _scattered(on, a[0]) + _scattered(off, a[1])


def _scattered(g: Array, matrix: Array) -> Array:
    """Adds up what each position of a convolution sends to the patch it reads."""
    height, width, units = g.shape
    channels = matrix.shape[0] // 9
    padded = np.zeros((height + 2, width + 2, channels))
    for i, j, unit in np.ndindex(height, width, units):
        patch = matrix[:, unit].reshape(3, 3, channels)
        padded[i : i + 3, j : j + 3] += g[i, j, unit] * patch
    return padded[1:-1, 1:-1]


def _to_winners(g: Array, z: Array) -> Array:
    """Sends to the largest entry of each 2 x 2 block what the block has."""
    result = np.zeros_like(z)
    for i, j, c in np.ndindex(*g.shape):
        block = z[2 * i : 2 * i + 2, 2 * j : 2 * j + 2, c]
        row, column = np.unravel_index(block.argmax(), block.shape)
        result[2 * i + row, 2 * j + column, c] = g[i, j, c]
    return result
