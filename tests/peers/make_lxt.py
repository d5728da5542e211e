"""Makes `tests/golden/lxt_transformer.npz`: AttnLRP of a transformer by LXT.

The network is that of `tests/networks/gated_transformer.py`, written with the functions
of `lxt.explicit`, whose stabilizers are zero here: norms before causal attention of
`HEADS` heads and before a gated MLP, and a head that reads the last position.

`input` (2, 4, 4) is signed, `target` (2,) a column of the head. Kernels are (in, out):
`params/<layer>/<name>/kernel`, `.../bias`, with `<name>` one of `NAMES`;
`params/<layer>/norm/gain`, `.../shift`, and of `mlp_norm` likewise; `params/norm/...`
and `params/head/...`. `relevance/<layer>` (2, 4, 4) is that of the inputs of a layer,
`logits` (2, 3) what the network computes.
"""

import numpy as np
import torch
import torch_layouts as layouts
from lxt.explicit import functional as lxt
from lxt.explicit.rules import identity

WIDTH, HEADS, FEATURES, HIDDEN, DEPTH, CLASSES, FLOOR = 4, 2, 3, 5, 2, 3, 1e-3
INNER = HEADS * FEATURES
NAMES = {
    **dict.fromkeys("qkv", (WIDTH, INNER)),
    "o": (INNER, WIDTH),
    "gate": (WIDTH, HIDDEN),
    "up": (WIDTH, HIDDEN),
    "down": (HIDDEN, WIDTH),
}


def draw(rng):
    """Returns the arrays of the network and its inputs."""
    arrays = {"input": rng.normal(size=(2, 4, WIDTH)), "target": np.array([0, 2])}
    shapes = {f"{i}/{n}": s for i in range(DEPTH) for n, s in NAMES.items()}
    for name, shape in {**shapes, "head": (WIDTH, CLASSES)}.items():
        kernel = rng.normal(size=shape) / shape[0] ** 0.5
        arrays[f"params/{name}/kernel"] = kernel
        arrays[f"params/{name}/bias"] = 0.2 * rng.normal(size=shape[1])
    norms = [f"{i}/{n}" for i in range(DEPTH) for n in ("norm", "mlp_norm")]
    for name in (*norms, "norm"):
        arrays[f"params/{name}/gain"] = 1 + 0.3 * rng.normal(size=WIDTH)
        arrays[f"params/{name}/shift"] = 0.2 * rng.normal(size=WIDTH)
    return arrays


def dense(p, name, x):
    """Returns a dense layer, by the epsilon rule."""
    kernel, bias = p[f"params/{name}/kernel"], p[f"params/{name}/bias"]
    return lxt.linear_epsilon(x, kernel.T, bias, 0.0)


def norm(p, name, x):
    """Returns a layer norm, whose deviation is detached."""
    gain, shift = p[f"params/{name}/gain"], p[f"params/{name}/shift"]
    return lxt.layer_norm_grad_fn.apply(x, gain, shift, FLOOR, 0.0)


def attention(p, i, x):
    """Returns what causal attention reads."""
    batch, length, _ = x.shape
    scale = {"q": FEATURES**-0.5}
    heads = []
    for name in "qkv":
        kernel, bias = p[f"params/{i}/{name}/kernel"], p[f"params/{i}/{name}/bias"]
        factor = scale.get(name, 1.0)
        y = lxt.linear_epsilon(x, (kernel * factor).T, bias * factor, 0.0)
        heads.append(y.reshape(batch, length, HEADS, FEATURES).transpose(1, 2))
    q, k, v = heads
    scores = lxt.matmul(q, k.transpose(2, 3), False, 0.0)
    unseen = torch.ones(length, length, dtype=torch.bool).triu(1)
    weights = lxt.softmax(scores.masked_fill(unseen, -torch.inf), -1)
    mixed = lxt.matmul(weights, v, False, 0.0).transpose(1, 2)
    return dense(p, f"{i}/o", mixed.reshape(batch, length, INNER))


def explain(arrays):
    """Returns the logits, and the relevance of the inputs of each layer."""
    p = {k: torch.tensor(v) for k, v in arrays.items() if k.startswith("params")}
    x = torch.tensor(arrays["input"], requires_grad=True)
    inputs = []
    for i in range(DEPTH):
        inputs.append(x)
        x = lxt.add2(x, attention(p, i, norm(p, f"{i}/norm", x)), False, 0.0)
        y = norm(p, f"{i}/mlp_norm", x)
        gate = identity(torch.nn.functional.silu, dense(p, f"{i}/gate", y))
        hidden = lxt.mul2(gate, dense(p, f"{i}/up", y))
        x = lxt.add2(x, dense(p, f"{i}/down", hidden), False, 0.0)
    logits = dense(p, "head", norm(p, "norm", x[:, -1]))
    target = arrays["target"]
    seed = torch.zeros_like(logits)
    rows = range(len(target))
    seed[rows, target] = logits.detach()[rows, target]
    relevance = torch.autograd.grad(logits, inputs, seed)
    return logits.detach().numpy(), [r.numpy() for r in relevance]


def main():
    """Writes the file."""
    torch.set_num_threads(1)
    arrays = draw(np.random.default_rng(0))
    arrays["logits"], relevance = explain(arrays)
    arrays |= {f"relevance/{i}": r for i, r in enumerate(relevance)}
    layouts.save("lxt_transformer.npz", arrays)


if __name__ == "__main__":
    main()
