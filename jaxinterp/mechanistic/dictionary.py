r"""Sparse autoencoders: an activation as a sum of few out of many directions.

$x \in \mathbb R^d$ is an activation, $f \in \mathbb R^m_{\ge 0}$ its features, of which
few are active, and $\hat x$ what the dictionary makes of them.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from jaxinterp.checks import checked_integer, checked_real, shown
from jaxinterp.keys import check_key
from jaxinterp.loop.stream import everywhere, first_invalid, over_stream
from jaxinterp.pytree import pytree
from jaxinterp.tracing.call import trace_call
from jaxinterp.tracing.program.evaluate import Changes
from jaxinterp.tracing.select import select_one
from jaxinterp.tracing.split import check_can_start
from jaxinterp.types import ApplyFn, Inputs, Key, Sites, Variables


@pytree
class SparseAutoencoder:
    r"""A dictionary of directions, and how activations are encoded in it.

    $$f = \mathrm{relu}((x - b_d)\,W_e + b_e), \qquad \hat x = f\,W_d + b_d$$

    Attributes:
        encoder: $W_e$, `(d, features)`.
        encoder_bias: $b_e$, `(features,)`.
        decoder: $W_d$, the direction of each feature, `(features, d)`.
        decoder_bias: $b_d$, `(d,)`.

    Example:
        >>> eye = jnp.eye(2)
        >>> dictionary = SparseAutoencoder(eye, jnp.zeros(2), eye, jnp.zeros(2))
        >>> dictionary(jnp.array([[1.0, -1.0]])).tolist()
        [[1.0, 0.0]]

    References:
        Bricken et al., 2023, appendix [bricken2023monosemanticity].
    """

    encoder: Any
    encoder_bias: Any
    decoder: Any
    decoder_bias: Any

    def encode(self, x: Any) -> Any:
        """Returns the features of activations, `(..., features)`.

        Args:
            x: activations, `(..., d)`.

        Raises:
            ValueError: if the activations have another width.
        """
        width = self.decoder_bias.shape[-1]
        if jnp.shape(x)[-1:] != (width,):
            raise ValueError(
                f"The dictionary encodes activations (..., {width}), and they have the "
                f"shape {jnp.shape(x)}."
            )
        return jax.nn.relu(
            (x - _like(self.decoder_bias, x)) @ self.encoder
            + _like(self.encoder_bias, x)
        )

    def decode(self, features: Any) -> Any:
        """Returns the activations that features stand for, `(..., d)`.

        Args:
            features: features, `(..., features)`.
        """
        return features @ self.decoder + _like(self.decoder_bias, features)

    def __call__(self, x: Any) -> Any:
        """Returns activations as the dictionary has them, in their dtype.

        Args:
            x: activations, `(..., d)`.
        """
        return self.decode(self.encode(x)).astype(x.dtype)

    def spliced(self, x: Any) -> Any:
        r"""Returns activations unchanged, whose derivative is that of the dictionary.

        $\hat x + \mathrm{stop}(x - \hat x)$, an edit for `jaxinterp.intervene` under
        which a model keeps its outputs, and what flows backward passes the features.

        Args:
            x: activations, `(..., d)`.
        """
        made = self(x)
        return made + jax.lax.stop_gradient(x - made)


def _like(bias: Any, x: Any) -> Any:
    """A bias with as many axes as the activations that it is added to."""
    return bias.reshape((1,) * (x.ndim - 1) + bias.shape)


@pytree
class TrainedDictionary:
    """A dictionary, and what a later call needs to go on with its training.

    Attributes:
        dictionary: the sparse autoencoder.
        state: the state of the optimizer.
        n_steps: the number of steps, one for each batch.
        n_silent: for each feature, the number of activations since it was last active,
            `(features,)`. A feature that stays silent is dead.
        loss: the loss on the last batch.
    """

    dictionary: SparseAutoencoder
    state: Any
    n_steps: Any
    n_silent: Any
    loss: Any


def train_dictionary(
    apply_fn: ApplyFn,
    site: Sites,
    variables: Variables,
    batches: Iterable[Inputs],
    *,
    key: Key,
    features: int,
    sparsity: float = 0.1,
    optimizer: optax.GradientTransformation | None = None,
    resume: TrainedDictionary | None = None,
    progress: bool = True,
) -> TrainedDictionary:
    r"""Trains a sparse autoencoder on the activations at a site.

    $$\mathcal L = \|x - \hat x\|^2 + \lambda \sum_i f_i\,\|W_{d,i}\|$$

    The loss is a mean over the activations of a batch; the norms make it independent of
    how a feature and its direction share their scale. The directions start at random
    with norm 0.1, and the encoder as the transpose of the decoder. Each batch is one
    step. The dictionary with the smallest error is not the best one: a weak penalty
    explains more variance, by features that mean nothing.

    Args:
        apply_fn: the model, `apply_fn(variables, inputs) -> outputs`.
        site: whose activations are encoded: an address, or a selector of one site. The
            last axis of the activation is encoded; all others are examples.
        variables: the weights of the model.
        batches: the inputs of the model, with the examples on the first axis.
        key: the random key from which the first directions are drawn; it is not used
            if training is resumed.
        features: the number of features $m$.
        sparsity: $\lambda$, in units of the activation.
        optimizer: the optimizer of `optax`; Adam with a learning rate of 1e-3 by
            default. A schedule of it counts batches.
        resume: the result of an earlier call, to go on from.
        progress: whether to show a progress bar, if `batches` has a length.

    Returns:
        The dictionary, and the state to go on from.

    Raises:
        AddressError: if there is no such site.
        AmbiguousAddressError: if there are several such sites.
        FloatingPointError: if the loss is not finite; names the batch.
        TypeError: if `key` is no random key, `optimizer` is none, a batch is no array,
            or `resume` is no `TrainedDictionary`.
        ValueError: if a hyperparameter is out of range; if the activation is in a loop,
            or has no axis but that of the examples; if there is no batch; if `resume`
            has another number of features, or is of activations of another width.

    Example:
        >>> directions = jnp.eye(3)
        >>> codes = jax.random.bernoulli(jax.random.key(0), 0.2, (50, 64, 3))
        >>> trained = train_dictionary(
        ...     lambda w, x: jnp.tanh(x @ w), "tanh", directions,
        ...     list(codes.astype(jnp.float32)), key=jax.random.key(1), features=4,
        ...     optimizer=optax.adam(0.01), progress=False)
        >>> trained.dictionary.decoder.shape, int(trained.n_steps)
        ((4, 3), 50)

    References:
        Bricken et al., 2023, appendix [bricken2023monosemanticity]; Conerly et al.,
        2024 (the norm of the directions in the penalty) [conerly2024update].
    """
    call = "train_dictionary"
    check_key(call, key)
    features = checked_integer("features", features, 1, call=call)
    sparsity = checked_real("sparsity", sparsity, 0, call=call)
    rule = optax.adam(1e-3) if optimizer is None else optimizer
    if not isinstance(rule, optax.GradientTransformation):
        raise TypeError(
            f"{call}: `optimizer` is one of optax, such as `optax.adam(1e-3)`, and is "
            f"{shown(rule)}."
        )

    def start(examples: Any) -> tuple[Any, TrainedDictionary]:
        vectors = jax.eval_shape(
            lambda v, x: _activation(apply_fn, site, v, x), variables, examples
        )
        state = _first_state(vectors, key, features, rule)
        if resume is not None:
            _check_resume(resume, state)
            state = resume

        def step(
            state: TrainedDictionary, variables: Any, examples: Any, count: Any
        ) -> Any:
            x = _activation(apply_fn, site, variables, examples)
            return _next_state(state, rule, sparsity, x, count)

        jitted = jax.jit(step, out_shardings=everywhere(examples))

        def update(state: TrainedDictionary, examples: Any, count: Any) -> Any:
            return jitted(state, variables, examples, count)

        return update, state

    return over_stream(
        *(call, batches, start),
        constants=variables,
        invalid="not finite",
        name="dictionary" if progress else "",
    )


def _activation(
    apply_fn: ApplyFn, site: Sites, variables: Variables, examples: Any
) -> Any:
    """The activations at a site, in single precision at least, `(batch, n, d)`."""
    traced = trace_call(apply_fn, variables, examples)
    place = select_one(traced.graph, site)
    check_can_start(traced.graph, place)
    _, arrays = traced.run(Changes(captures=frozenset({place.value})))
    x = arrays[place.value]
    if x.ndim < 2 or not jnp.issubdtype(x.dtype, jnp.floating):
        raise ValueError(
            f"The activation at {place.address!r} is {x.dtype}{list(x.shape)}, and a "
            "dictionary encodes real vectors, on the last axis of two or more."
        )
    if x.shape[0] != examples.shape[0]:
        raise ValueError(
            f"The activation at {place.address!r} has the shape {x.shape}, whose first "
            f"axis is not that of the {examples.shape[0]} examples.\nTake a site "
            "before examples are merged with others."
        )
    wide = jnp.promote_types(x.dtype, jnp.float32)
    return x.astype(wide).reshape(x.shape[0], -1, x.shape[-1])


def _first_state(
    vectors: Any, key: Key, features: int, rule: optax.GradientTransformation
) -> TrainedDictionary:
    dtype, width = vectors.dtype, vectors.shape[-1]
    directions = jax.random.normal(key, (features, width), dtype)
    norms = jnp.linalg.norm(directions, axis=1, keepdims=True)
    decoder = 0.1 * directions / norms
    dictionary = SparseAutoencoder(
        decoder.T, jnp.zeros(features, dtype), decoder, jnp.zeros(width, dtype)
    )
    return TrainedDictionary(
        dictionary,
        rule.init(_weights(dictionary)),
        jnp.zeros((), jnp.int32),
        jnp.zeros(features, jnp.int32),
        jnp.full((), jnp.nan, dtype),
    )


def _weights(dictionary: SparseAutoencoder) -> Any:
    """The weights of a dictionary, in a pytree that every optimizer takes."""
    return dict(vars(dictionary))


def _next_state(
    state: TrainedDictionary,
    rule: optax.GradientTransformation,
    sparsity: float,
    x: Any,
    count: Any,
) -> tuple[TrainedDictionary, Any]:
    """The state after one batch, and which example has an invalid loss."""
    is_real = jnp.arange(x.shape[0]) < count

    def loss(weights: Any) -> Any:
        dictionary = SparseAutoencoder(**weights)
        codes = dictionary.encode(x)
        error = ((x - dictionary.decode(codes)) ** 2).sum(axis=-1)
        norms = jnp.linalg.norm(dictionary.decoder, axis=1)
        each = (error + sparsity * codes @ norms).mean(axis=1)
        total = jnp.where(is_real, each, 0).sum() / count.astype(x.dtype)
        return total, (each, codes)

    weights = _weights(state.dictionary)
    (total, (each, codes)), slopes = jax.value_and_grad(loss, has_aux=True)(weights)
    updates, optimizer_state = rule.update(slopes, state.state, weights)
    updated: Any = optax.apply_updates(weights, updates)
    is_active = ((codes > 0) & is_real[:, None, None]).any(axis=(0, 1))
    n_new = count.astype(jnp.int32) * x.shape[1]
    following = TrainedDictionary(
        SparseAutoencoder(**updated),
        optimizer_state,
        state.n_steps + 1,
        jnp.where(is_active, 0, state.n_silent + n_new),
        total,
    )
    return following, first_invalid(~jnp.isfinite(each)[None], count)


def _check_resume(resume: Any, expected: TrainedDictionary) -> None:
    if not isinstance(resume, TrainedDictionary):
        raise TypeError(
            "`resume` is what an earlier call returned, and is "
            f"{type(resume).__name__}."
        )
    before, now = (state.dictionary.decoder.shape for state in (resume, expected))
    structures = [jax.tree.structure(state.state) for state in (resume, expected)]
    if before != now or structures[0] != structures[1]:
        raise ValueError(
            f"`resume` has {before[0]} features of activations of width {before[1]}, "
            f"and this call {now[0]} of width {now[1]}.\nGo on with the arguments of "
            "the earlier call, its optimizer included."
        )


# --- How good a dictionary is ---------------------------------------------------------


class DictionaryQuality(NamedTuple):
    """How sparse a dictionary is, and how much it leaves unexplained.

    Attributes:
        n_active: the mean number of active features (L0).
        unexplained: the share of the variance that is not explained (FVU): the squared
            error over the squared distance from the mean, so that a dictionary that
            always returns the mean has 1.
        shrinkage: the mean norm of what the dictionary makes of activations, over the
            mean norm of these; below 1 where the penalty makes features too small.
        frequencies: for each feature, the share of activations in which it is active,
            `(features,)`; 0 for a dead one.
    """

    n_active: Any
    unexplained: Any
    shrinkage: Any
    frequencies: Any


def dictionary_quality(
    dictionary: SparseAutoencoder, activations: Any
) -> DictionaryQuality:
    r"""Says how sparse a dictionary is on some activations, and what it leaves out.

    $$\mathrm{FVU} = \frac{\sum \|x - \hat x\|^2}{\sum \|x - \bar x\|^2}$$

    None of these numbers says whether a feature means anything: on data with planted
    directions, the smallest FVU belongs to the worst dictionary.

    Args:
        dictionary: the sparse autoencoder.
        activations: activations that it was not trained on, `(..., d)`.

    Returns:
        Four figures; nan where the activations do not vary, or one is not a number.

    Raises:
        TypeError: if `dictionary` is none.
        ValueError: if the activations have another width than the dictionary.

    Example:
        >>> eye = jnp.eye(2)
        >>> dictionary = SparseAutoencoder(eye, jnp.zeros(2), eye, jnp.zeros(2))
        >>> x = jnp.array([[1.0, 0.0], [0.0, 3.0]])
        >>> quality = dictionary_quality(dictionary, x)
        >>> float(quality.n_active), float(quality.unexplained)
        (1.0, 0.0)
    """
    if not isinstance(dictionary, SparseAutoencoder):
        raise TypeError(
            "dictionary_quality takes a dictionary, `trained.dictionary`, and was "
            f"given {type(dictionary).__name__}."
        )
    activations = jnp.asarray(activations)
    width = dictionary.decoder.shape[1]
    if np.ndim(activations) < 2 or activations.shape[-1] != width:
        raise ValueError(
            f"The dictionary encodes activations (..., {width}), and they have the "
            f"shape {np.shape(activations)}."
        )
    x = activations.reshape(-1, width)
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    codes = dictionary.encode(x)
    made = dictionary.decode(codes)
    error = ((x - made) ** 2).sum()
    spread = ((x - x.mean(axis=0, keepdims=True)) ** 2).sum()
    norms = [jnp.linalg.norm(rows, axis=1).mean() for rows in (made, x)]
    is_active = jnp.where(jnp.isnan(codes), jnp.nan, (codes > 0).astype(x.dtype))
    is_constant = spread == 0
    return DictionaryQuality(
        is_active.sum(axis=1).mean(),
        error / jnp.where(is_constant, jnp.nan, spread),
        norms[0] / jnp.where(is_constant, jnp.nan, norms[1]),
        is_active.mean(axis=0),
    )
