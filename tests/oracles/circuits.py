"""A decoder whose edges have masks, lenses and dictionaries, in NumPy and slowly.

Every destination adds up what it reads: `sum_u (1 - M_vu) z_u + M_vu other_u`.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def norm(x: np.ndarray, w: dict[str, Any], epsilon: float = 1e-5) -> np.ndarray:
    """Returns the layer norm of each position."""
    out = np.empty_like(x)
    for position in range(len(x)):
        centered = x[position] - x[position].mean()
        out[position] = centered / np.sqrt((centered**2).mean() + epsilon)
    return out * w["scale"] + w["bias"]


class MaskedDecoder:
    """`models.Transformer` of one example, with ReLU, and a mask on every edge.

    Attributes:
        w: the parameters.
        heads: the number of heads.
        mask: for a pair of a source and a destination, how much comes from `other`.
        other: the activation of each source on other inputs.
        z: the activation of each source in this run.
    """

    def __init__(
        self, w: Any, heads: int, depth: int, mask: Any = None, other: Any = None
    ):
        self.w, self.heads, self.depth = w, heads, depth
        self.mask, self.other = mask or {}, other or {}
        self.z: dict[str, np.ndarray] = {}

    def written(self, source: str, z: np.ndarray) -> np.ndarray:
        """Returns what a source adds to the stream."""
        if "heads" not in source:
            return z
        block, head = source.split("/")[0], int(source[-2])
        return z @ self.w[block]["attention"]["out"]["kernel"][head]

    def read(self, destination: str) -> np.ndarray:
        """Returns the stream as a destination reads it."""
        total = np.zeros_like(self.z["residual"])
        for source, z in self.z.items():
            share = self.mask.get((source, destination), 0.0)
            total += (1 - share) * self.written(source, z)
            if share:
                total += share * self.written(source, self.other[source])
        for block in {s.split("/")[0] for s in self.z if "heads" in s}:
            total += self.w[block]["attention"]["out"]["bias"]
        return total

    def __call__(self, tokens: np.ndarray) -> np.ndarray:
        """Returns the logits after every token."""
        w, embed = self.w, self.w["token_embedding"]["embedding"]
        positions = w["position_embedding"]["embedding"]
        self.z = {"residual": embed[tokens] + positions[: len(tokens)]}
        for layer in range(self.depth):
            name = f"blocks_{layer}"
            new = {
                f"{name}/attention/heads[{h}]": self.head(name, h)
                for h in range(self.heads)
            }
            self.z |= new
            block = w[name]
            x = norm(self.read(f"{name}/mlp_norm"), block["mlp_norm"])
            up = x @ block["mlp"]["up"]["kernel"] + block["mlp"]["up"]["bias"]
            down = block["mlp"]["down"]
            self.z[f"{name}/mlp"] = np.maximum(up, 0) @ down["kernel"] + down["bias"]
        return norm(self.read("lm_head"), w["norm"]) @ embed.T

    def head(self, name: str, head: int) -> np.ndarray:
        """Returns what one head reads at every position."""
        block = self.w[name]
        q, k, v = (
            norm(self.read(f"{name}/attention/{part}[{head}]"), block["attention_norm"])
            @ block["attention"][part]["kernel"][:, head]
            + block["attention"][part]["bias"][head]
            for part in ("query", "key", "value")
        )
        out = np.zeros_like(v)
        for t in range(len(v)):
            scores = k[: t + 1] @ q[t] / np.sqrt(q.shape[-1])
            pattern = np.exp(scores - scores.max())
            out[t] = (pattern / pattern.sum()) @ v[: t + 1]
        return out

    def direct(self, tokens: np.ndarray, direction: np.ndarray) -> dict[str, float]:
        """Returns what each source adds to the last logit along a direction.

        The scale of the last norm is that of this run; `bias` is all that is constant.
        """
        self(tokens)
        embed, final = self.w["token_embedding"]["embedding"], self.w["norm"]
        stream = self.read("lm_head")[-1]
        scale = 1 / np.sqrt(((stream - stream.mean()) ** 2).mean() + 1e-5)
        weight = final["scale"] * (direction @ embed)
        parts = {}
        for source, z in self.z.items():
            written = self.written(source, z)[-1]
            parts[source] = float((written - written.mean()) * scale @ weight)
        constant = np.zeros_like(stream)
        for layer in range(self.depth):
            constant += self.w[f"blocks_{layer}"]["attention"]["out"]["bias"]
        parts["bias"] = float((constant - constant.mean()) * scale @ weight)
        parts["bias"] += float(final["bias"] @ (direction @ embed))
        return parts


def autoencoder_step(
    w: dict[str, np.ndarray], x: np.ndarray, sparsity: float, rate: float
) -> tuple[dict[str, np.ndarray], float]:
    """Returns weights after one step down the gradient, and the loss before it."""
    slopes = {name: np.zeros_like(array) for name, array in w.items()}
    loss = 0.0
    norms = np.sqrt((w["decoder"] ** 2).sum(axis=1))
    for row in x:
        centered = row - w["decoder_bias"]
        before = centered @ w["encoder"] + w["encoder_bias"]
        code = np.maximum(before, 0)
        error = code @ w["decoder"] + w["decoder_bias"] - row
        loss += (error**2).sum() + sparsity * (code * norms).sum()
        of_code = 2 * w["decoder"] @ error + sparsity * norms
        of_before = of_code * (before > 0)
        slopes["decoder"] += 2 * np.outer(code, error)
        slopes["decoder"] += sparsity * (code / norms)[:, None] * w["decoder"]
        slopes["decoder_bias"] += 2 * error - w["encoder"] @ of_before
        slopes["encoder"] += np.outer(centered, of_before)
        slopes["encoder_bias"] += of_before
    new = {name: w[name] - rate * slopes[name] / len(x) for name in w}
    return new, loss / len(x)
