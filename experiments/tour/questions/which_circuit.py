"""Which circuit computes it? A transformer that copies what followed before."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import jaxinterp as ji
from experiments.tour.page import Section, drawing

COUNT = 32
KEPT = (1, 2, 4, 6, 8, 12, 16, 24)
PLACES = {
    "sources": {"Transformer/residual": None, "*/attention/heads": 2},
    "destinations": {
        "*/attention/query": 2,
        "*/attention/key": 2,
        "*/attention/value": 2,
        "*/lm_head": None,
    },
}


def score(logits: Any, target: Any) -> Any:
    """Returns the log-probability of the token that should be copied.

    Args:
        logits: of every position, `(batch, length, vocabulary)`.
        target: the position that is asked, and the token that follows.
    """
    position, token = target
    rows = jnp.arange(len(token))
    return jax.nn.log_softmax(logits[rows, position])[rows, token]


def answer(_: Any, key: Any) -> Section:
    """Exchanges every edge between heads, and runs the best ones alone.

    Args:
        key: the random key of the texts.
    """
    apply_fn, variables, draw = ji.models.pretrained("induction")
    data = draw(key, COUNT)
    clean, corrupted, target = _runs(data)
    measure = jax.jit(ji.mechanistic.edges(apply_fn, score=score, **PLACES))
    result = measure(variables, clean, corrupted, target)
    evaluate = ji.mechanistic.evaluate_circuit(apply_fn, score=score, **PLACES)
    masks = np.stack([np.asarray(result.top(n)) for n in KEPT])
    circuits = jax.jit(jax.vmap(evaluate, in_axes=(None, None, None, 0, None)))(
        variables, clean, corrupted, masks, target
    )
    change = np.asarray(circuits.clean - circuits.corrupted).sum(axis=1)
    shares = np.asarray(circuits.kept - circuits.corrupted).sum(axis=1) / change
    enough = next((i for i, share in enumerate(shares) if share > 0.8), -1)
    means = np.asarray(result.effects).mean(axis=0)
    figure = _draw(result.names, means, shares)
    best = result.names[int(np.argmin(means))]
    return Section(
        f"{KEPT[enough]} of {len(means)} edges carry {shares[enough]:.0%} of what "
        "tells the repeated text from another; the strongest leads from "
        f"{_short(best[0])} to {_short(best[1])}.",
        [
            drawing(
                figure,
                "Left: how much the log-probability of the right token changes when "
                "one edge is exchanged. Right: what a circuit of the strongest edges "
                "keeps, as a share of the whole difference.",
                is_wide=True,
            )
        ],
        "An edge whose work another edge can take over has no effect by itself. The "
        "circuit is one for these texts, not for all that the network does.",
    )


def _runs(data: Any) -> tuple[Any, Any, Any]:
    """Texts, the same without the first copy, and what is asked of them."""
    tokens, attend = np.asarray(data.tokens), np.asarray(data.attend)
    rows = np.arange(len(tokens))
    position = tokens.shape[1] - 1 - (attend[:, ::-1] >= 0).argmax(axis=1)
    source = attend[rows, position]
    label = tokens[rows, source]
    is_copy = np.zeros(tokens.shape, bool)
    for row, places in zip(is_copy, attend, strict=True):
        row[places[places >= 0]] = row[places[places >= 0] - 1] = True
    corrupted = np.where(is_copy, np.roll(tokens, 1, axis=0), tokens)
    return tokens, corrupted, (position, label)


def _short(name: str) -> str:
    """An address as it is read: `blocks_1/attention/key[0]` is key 1.0."""
    text = name.removeprefix("Transformer/").replace("/attention", "")
    text = text.replace("residual", "the embedding").replace("lm_head", "the logits")
    return text.replace("blocks_", "block ").replace("/", " ")


def _draw(names: Any, effects: np.ndarray, shares: np.ndarray) -> Figure:
    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    order = np.argsort(effects)[:10][::-1]
    labels = [" to ".join(map(_short, names[i])) for i in order]
    left.barh(labels, effects[order], color="tab:blue")
    left.axvline(0, color="0.3", linewidth=0.8)
    left.set_xlabel("change of the log-probability")
    right.plot(KEPT, shares, marker="o", color="tab:red")
    right.axhline(1, color="0.7", linewidth=0.8)
    right.set_xlabel("edges kept")
    right.set_ylabel("share of the difference")
    return figure
