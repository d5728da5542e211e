r"""AttnLRP of a whole transformer, site by site backward, for one example.

The network is that of `tests/networks/gated_transformer.py`: norms before, causal
attention, a gated MLP. $s$ is the stabilizer of every denominator.
"""

from typing import Any

import numpy as np

from . import rules, transformer_rules
from .stabilizers import Array, Stabilizer


class Pass:
    """A forward pass that remembers, and the way back.

    Args:
        weights: the weights of the network, as it takes them.
        heads: the number of heads.
        floor: what is added to a variance.
        stabilize: the stabilizer of every denominator.
    """

    def __init__(self, weights: Any, heads: int, floor: float, stabilize: Stabilizer):
        self.weights, self.heads, self.floor = weights, heads, floor
        self.stabilize = stabilize
        self.memory: list[dict[str, Array]] = []

    def forward(self, x: Array) -> Array:
        """Returns the logits, and keeps what the way back needs."""
        for layer in self.weights["layers"]:
            own = {"x": x, "y": self.norm(layer["norm"], x)}
            for name in "qkv":
                y = dense(scaled(layer, name, self.heads), own["y"])
                own[name] = y.reshape(len(x), self.heads, -1)
            own["scores"] = np.einsum("thf,shf->hts", own["q"], own["k"])
            own["weights"] = np.exp(own["scores"]) * np.tril(np.ones((len(x), len(x))))
            own["weights"] /= own["weights"].sum(-1, keepdims=True)
            own["mixed"] = np.einsum("hts,shf->thf", own["weights"], own["v"])
            own["mixed"] = own["mixed"].reshape(len(x), -1)
            own["read"] = dense(layer["o"], own["mixed"])
            own["middle"] = x + own["read"]
            own["z"] = self.norm(layer["mlp_norm"], own["middle"])
            own["gate"], own["up"] = (dense(layer[n], own["z"]) for n in ("gate", "up"))
            silu = own["gate"] / (1 + np.exp(-own["gate"]))
            own["hidden"] = silu * own["up"]
            own["written"] = dense(layer["down"], own["hidden"])
            x = own["middle"] + own["written"]
            self.memory.append(own)
        self.end = x
        self.last = self.norm(self.weights["norm"], x[-1:])
        return dense(self.weights["head"], self.last)[0]

    def backward(self, logits: Array, target: int) -> list[Array]:
        """Returns the relevance of the inputs of each layer, the first one first."""
        start = np.zeros((1, len(logits)))
        start[0, target] = logits[target]
        last = self.dense_back(self.weights["head"], self.last, start)
        relevance = np.zeros_like(self.end)
        relevance[-1:] = self.norm_back(self.weights["norm"], self.end[-1:], last)
        found = []
        for layer, own in zip(
            self.weights["layers"][::-1], self.memory[::-1], strict=True
        ):
            relevance = self.layer_back(layer, own, relevance)
            found.insert(0, relevance)
        return found

    def layer_back(self, layer: Any, own: dict[str, Array], relevance: Array) -> Array:
        """Returns the relevance of the inputs of a layer."""
        kept, written = self.sum_back(own["middle"], own["written"], relevance)
        hidden = self.dense_back(layer["down"], own["hidden"], written)
        of_silu, of_up = transformer_rules.elementwise([own["gate"], own["up"]], hidden)
        of_gate = transformer_rules.identity(of_silu)
        of_z = self.dense_back(layer["gate"], own["z"], of_gate)
        of_z += self.dense_back(layer["up"], own["z"], of_up)
        relevance = kept + self.norm_back(layer["mlp_norm"], own["middle"], of_z)
        kept, read = self.sum_back(own["x"], own["read"], relevance)
        mixed = self.dense_back(layer["o"], own["mixed"], read)
        mixed = mixed.reshape(own["v"].shape)
        of = {name: np.zeros_like(own[name]) for name in "qkv"}
        product = transformer_rules.matrix_product
        for h in range(self.heads):
            weights, of["v"][:, h] = product(
                own["weights"][h], own["v"][:, h], mixed[:, h], self.stabilize
            )
            scores = np.zeros_like(weights)
            for t in range(len(weights)):
                seen = slice(t + 1)
                scores[t, seen] = transformer_rules.softmax(
                    own["scores"][h, t, seen], weights[t, seen], self.stabilize
                )
            of["q"][:, h], of_k = product(
                own["q"][:, h], own["k"][:, h].T, scores, self.stabilize
            )
            of["k"][:, h] = of_k.T
        of_y = sum(
            self.dense_back(
                scaled(layer, n, self.heads), own["y"], of[n].reshape(len(mixed), -1)
            )
            for n in "qkv"
        )
        return kept + self.norm_back(layer["norm"], own["x"], of_y)

    # --- Sites, one position at a time ------------------------------------------------

    def norm(self, pair: Any, x: Array) -> Array:
        """The layer norm of each row."""
        centred = x - x.mean(-1, keepdims=True)
        variance = (centred**2).mean(-1, keepdims=True)
        return centred / np.sqrt(variance + self.floor) * pair[0] + pair[1]

    def norm_back(self, pair: Any, x: Array, relevance: Array) -> Array:
        """Proposition 3.4 and the epsilon rule at each row."""
        rows = zip(x, relevance, strict=True)
        layer_norm = transformer_rules.layer_norm
        back = [layer_norm(a, *pair, self.floor, r, self.stabilize) for a, r in rows]
        return np.stack(back)

    def dense_back(self, pair: Any, x: Array, relevance: Array) -> Array:
        """The epsilon rule at each row."""
        rows = zip(x, relevance, strict=True)
        kernel, bias = pair
        return np.stack(
            [rules.epsilon(kernel.T, bias, a, r, self.stabilize) for a, r in rows]
        )

    def sum_back(self, a: Array, b: Array, relevance: Array) -> tuple[Array, Array]:
        """In proportion to the two summands."""
        quotient = relevance / self.stabilize(a + b)
        return a * quotient, b * quotient


def dense(pair: Any, x: Array) -> Array:
    """A dense layer."""
    return x @ pair[0] + pair[1]


def scaled(layer: Any, name: str, heads: int) -> Any:
    """A projection to heads; that of queries divides by the root of their width."""
    kernel, bias = layer[name]
    factor = (heads / kernel.shape[1]) ** 0.5 if name == "q" else 1.0
    return kernel * factor, bias * factor
