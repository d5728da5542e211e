"""Three transformers, what each is asked, and what takes the place of a feature."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp as ji
from experiments import zoo
from experiments.zoo import sentiment
from experiments.zoo.vision import SIZE
from jaxinterp.perturbation import grid_segments
from jaxinterp.types import ApplyFn

# Examples of each network.
COUNT = 100
PATCH = 8
# The mean of the pixels, which the network of shapes reads as nothing.
GRAY = 0.35
# The first token of a story, and how many follow.
BEGIN, UNKNOWN, LENGTH = 1, 0, 32


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A network with examples, and how their features are taken away.

    Attributes:
        apply_fn: the network, which returns `(batch, classes)`.
        variables: its weights.
        inputs: images, or tokens `(batch, length)`.
        target: the class that is explained: the one that it answers.
        segments: the map of features; entries with a negative number stay.
        baseline: what takes the place of a feature: a gray, or a token.
        position: the position from which the classes are read, whose attention is
            rolled out.
        embedding: the site where tokens are explained; `None` for images.
    """

    apply_fn: ApplyFn
    variables: Any
    inputs: Any
    target: Any
    segments: Any
    baseline: float | int
    position: int
    embedding: str | None = None

    @property
    def replaced(self) -> Any:
        """The inputs without any feature, which is where all curves end."""
        stays = jnp.asarray(self.segments) < 0
        return jnp.where(stays, self.inputs, self.baseline).astype(self.inputs.dtype)


def shapes_vit(count: int) -> Subject:
    """Returns the zoo's vision transformer; a feature is one of its patches.

    Args:
        count: number of images, none of which trained it.
    """
    network = zoo.load("shapes_vit")
    images = network.held_out(count).images
    segments = grid_segments((SIZE, SIZE), PATCH)[..., None]
    return _asked(network.apply_fn, network.variables, images, segments, GRAY, 0)


def sst2_bert(count: int) -> Subject:
    """Returns the zoo's reader of sentences; a feature is a word.

    Args:
        count: number of sentences, none of which trained it.
    """
    network = zoo.load("sst2_bert")
    tokens = network.held_out(count).inputs
    # Words follow a token that stays, as padding does.
    is_padding = np.asarray(tokens) == sentiment.PADDING
    segments = np.where(is_padding, -1, np.arange(tokens.shape[1])[None] - 1)
    site = "Bert/token_embedding"
    return _asked(
        *(network.apply_fn, network.variables, tokens, segments),
        *(sentiment.UNKNOWN, 0, site),
    )


def stories260k(count: int) -> Subject:
    """Returns a small Llama at the end of texts of its own; a feature is a token.

    It wrote them from its probabilities, and is asked for the next token.

    Args:
        count: number of texts.

    Raises:
        FileNotFoundError: if its file is absent.
    """
    path = sentiment.folder() / "stories260K.bin"
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}. It is a file of "
            "https://huggingface.co/karpathy/tinyllamas, and does not come with the "
            "project. Name the folder where it lies, `JAXINTERP_DATA=FOLDER`."
        )
    llama = ji.models.load(path, model="stories260k")
    tokens = written(llama.apply_fn, llama.variables, count, LENGTH)

    def next_token(variables: Any, tokens: Any) -> Any:
        return llama.apply_fn(variables, tokens)[:, -1]

    segments = np.arange(-1, LENGTH)[None]
    site = "Llama/token_embedding"
    return _asked(next_token, llama.variables, tokens, segments, UNKNOWN, -1, site)


SUBJECTS: Mapping[str, Callable[[int], Subject]] = MappingProxyType(
    {"shapes_vit": shapes_vit, "sst2_bert": sst2_bert, "stories260k": stories260k}
)


def written(apply_fn: ApplyFn, variables: Any, count: int, length: int) -> Any:
    """Returns texts that a language model draws from its probabilities.

    Args:
        apply_fn: the model, with logits of the next token at each position.
        variables: its weights.
        count: number of texts.
        length: number of tokens after the first.

    Returns:
        Tokens `(count, 1 + length)`; the first one is `BEGIN`.
    """

    def add(i: Any, tokens: Any) -> Any:
        logits = apply_fn(variables, tokens)[:, i]
        key = jax.random.fold_in(jax.random.key(0), i)
        drawn = jax.random.categorical(key, logits).astype(tokens.dtype)
        return tokens.at[:, i + 1].set(drawn)

    start = jnp.zeros((count, 1 + length), jnp.int32).at[:, 0].set(BEGIN)
    return jax.jit(lambda tokens: jax.lax.fori_loop(0, length, add, tokens))(start)


def _asked(apply_fn: ApplyFn, variables: Any, inputs: Any, *rest: Any) -> Subject:
    """A subject that is asked why it answers what it does."""
    target = jax.jit(apply_fn)(variables, inputs).argmax(axis=1)
    return Subject(apply_fn, variables, inputs, target, *rest)
