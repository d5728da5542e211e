r"""Rules for the first affine site, which reads the input: z-box, w-square, flat, sign.

Notation as in `affine.py`; $\mathbf{1}$ is an input of ones.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxinterp.checks import is_traced
from jaxinterp.rules.affine import need_affine
from jaxinterp.rules.rule import Absorbed, Rule, of_example
from jaxinterp.rules.signed import Convention, default_stabilizer
from jaxinterp.rules.stabilize import Stabilizer, stabilizer
from jaxinterp.tracing.layer.layer import Layer


@dataclasses.dataclass(frozen=True)
class ZBox(Rule):
    r"""LRP-$z^B$: for inputs that lie in a box, such as pixels.

    $$R_x = x \odot L_W^\top q - l \odot L_{W^+}^\top q - h \odot L_{W^-}^\top q, \quad
      q = \frac{R_z}{s(L_W(x) - L_{W^+}(l) - L_{W^-}(h))}$$

    Attributes:
        low: smallest possible input $l$: a number, or nested tuples that broadcast
            against one example (per channel, say) in the layout that the site reads,
            without the axis of the batch. In the units of the inputs. `None` is the
            smallest input of each example.
        high: largest possible input $h$, in the same form; `None` is the largest input.
        epsilon: stabilizer, in the units of the pre-activation $z$.

    Raises:
        ValueError: if `low` exceeds `high` anywhere; in the backward pass, if an input
            of the site lies outside of the box by more than a hundredth of its width.
            Under `jax.jit`, and other transformations that hide the values of the
            inputs, that cannot be checked: try one batch without.
        BatchAxisError: in the backward pass, if a bound is `None` and it cannot be told
            along which axis examples lie.

    References:
        Montavon et al., 2017, eq. 21 [montavon2017explaining]. The box of each example
        itself: Nam et al., 2020, in their code [nam2020relative].

    Example:
        >>> ZBox(low=(-2.0, -1.0, 0.0), high=3.0).high
        3.0
    """

    low: Any = None
    high: Any = None
    epsilon: float | Stabilizer = 1e-6

    def __post_init__(self) -> None:
        stabilizer(self.epsilon)
        for name in ("low", "high"):
            object.__setattr__(self, name, _as_tuples(getattr(self, name)))
        is_given = self.low is not None and self.high is not None
        if is_given and np.any(np.asarray(self.low) > np.asarray(self.high)):
            raise ValueError(
                f"ZBox: `low` must nowhere exceed `high`, and is {self.low} where "
                f"`high` is {self.high}.\n"
                "Write `ZBox(low=0.0, high=1.0)` for pixels in [0, 1]."
            )

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        need_affine(self, layer)
        low, high = self._box(layer)
        _check_inside(self, layer, low, high)
        quotient, _ = self._quotient(layer, relevance)
        w_p, w_n = jnp.maximum(layer.kernel, 0), jnp.minimum(layer.kernel, 0)
        from_low, from_high = layer.transpose_each([w_p, w_n], quotient)
        # W = W+ + W-, so the term of x needs no pass of its own.
        return (layer.x - low) * from_low + (layer.x - high) * from_high

    def _box(self, layer: Layer) -> tuple[Any, Any]:
        return tuple(
            _extreme(name, layer)
            if getattr(self, name) is None
            else _fill(getattr(self, name), layer, "ZBox", name)
            for name in ("low", "high")
        )

    def _quotient(self, layer: Layer, relevance: Any) -> tuple[Any, Any]:
        low, high = self._box(layer)
        w_p, w_n = jnp.maximum(layer.kernel, 0), jnp.minimum(layer.kernel, 0)
        corner = layer.linear(low, w_p) + layer.linear(high, w_n)
        z = layer.z - layer.bias - corner
        return relevance.astype(layer.dtype) / stabilizer(self.epsilon).at(layer)(z), z

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the stabilizer keeps."""
        quotient, z = self._quotient(layer, relevance)
        in_stabilizer = jnp.sum(quotient * (stabilizer(self.epsilon).at(layer)(z) - z))
        return Absorbed(jnp.zeros(()), in_stabilizer)


@dataclasses.dataclass(frozen=True)
class WSquare(Rule):
    r"""LRP-$w^2$: relevance in proportion to squared weights, whatever the input.

    $$R_x = L_{W^2}^\top \frac{R_z}{s(L_{W^2}(\mathbf{1}) + b^2)}$$

    Attributes:
        epsilon: stabilizer of the denominator; by default that of the convention.
        keep_bias: whether the squared bias takes part in the denominator; it never
            does in iNNvestigate.
        convention: `"zennit"` or `"innvestigate"`, see `signed.py`.

    References:
        Montavon et al., 2017, eq. 14 [montavon2017explaining].

    Example:
        >>> WSquare().convention
        'zennit'
    """

    epsilon: float | Stabilizer | None = None
    keep_bias: bool = True
    convention: Convention = "zennit"

    def __post_init__(self) -> None:
        default_stabilizer(self.epsilon, self.convention, "WSquare")

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        need_affine(self, layer)
        quotient, _, _ = self._quotient(layer, relevance)
        return layer.transpose(layer.kernel**2, quotient)

    def _quotient(self, layer: Layer, relevance: Any) -> tuple[Any, Any, Any]:
        safe = default_stabilizer(self.epsilon, self.convention, "WSquare").at(layer)
        drops_bias = not self.keep_bias or self.convention == "innvestigate"
        bias = jnp.zeros((), layer.dtype) if drops_bias else layer.bias**2
        z = layer.linear(layer.uniform(1.0), layer.kernel**2) + bias
        return relevance.astype(layer.dtype) / safe(z), z, bias

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the squared bias and the stabilizer keep."""
        safe = default_stabilizer(self.epsilon, self.convention, "WSquare").at(layer)
        quotient, z, bias = self._quotient(layer, relevance)
        in_stabilizer = jnp.sum(quotient * (safe(z) - z))
        return Absorbed(jnp.sum(quotient * bias), in_stabilizer)


@dataclasses.dataclass(frozen=True)
class Flat(Rule):
    r"""LRP-flat: every input that an output reads gets the same share.

    $$R_x = L_{\mathbf{1}}^\top \frac{R_z}{s(L_{\mathbf{1}}(\mathbf{1}))}$$

    where the kernel and the input are ones; padding gets nothing.

    Attributes:
        epsilon: stabilizer of the number of inputs that an output reads.

    References:
        Lapuschkin et al., 2019, supplement [lapuschkin2019unmasking].

    Example:
        >>> Flat()
        Flat(epsilon=1e-06)
    """

    epsilon: float | Stabilizer = 1e-6

    def __post_init__(self) -> None:
        stabilizer(self.epsilon)

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns the relevance of the input."""
        need_affine(self, layer)
        quotient, _ = self._quotient(layer, relevance)
        return layer.transpose_ones(quotient)

    def _quotient(self, layer: Layer, relevance: Any) -> tuple[Any, Any]:
        z = layer.linear_ones()
        return relevance.astype(layer.dtype) / stabilizer(self.epsilon).at(layer)(z), z

    def absorbed(self, layer: Layer, relevance: Any) -> Absorbed:
        """Returns what the stabilizer keeps."""
        quotient, z = self._quotient(layer, relevance)
        in_stabilizer = jnp.sum(quotient * (stabilizer(self.epsilon).at(layer)(z) - z))
        return Absorbed(jnp.zeros(()), in_stabilizer)


@dataclasses.dataclass(frozen=True)
class Sign(Rule):
    r"""LRP-SIGN: the side of a threshold on which an input lies, not how far from it.

    $$R_x = \mathrm{sign}_\mu(x) \odot L_W^\top \frac{R_z}{s(L_W(x) + b)}$$

    with $\mathrm{sign}_\mu(x) = 1$ where $x \ge \mu$ and $-1$ elsewhere. It is
    `Epsilon` with the sign in place of the input: dark pixels get as much as bright
    ones. Nothing is conserved: the result is in units of the score for each unit of
    the input, and the ledger counts the difference as unexplained. With `Zero` in all
    other layers of a relu network, and no stabilizer, it is the gradient times the
    sign.

    Attributes:
        mu: the threshold $\mu$ in units of the inputs: a number, or nested tuples that
            broadcast against one example, as the bounds of `ZBox`.
        epsilon: stabilizer, in the units of the pre-activation $z$.
        keep_bias: whether the bias takes part in the denominator.

    References:
        Gumpfer et al., 2023, LRP-SIGN and its variant with a threshold
        [gumpfer2023signed]. Their stabilizer is `Stabilizer(1e-7, only_zeros=True)`.

    Example:
        >>> rules = [(ji.first(), Sign(epsilon=0.0))] + ji.rules.epsilon_plus()
        >>> attribute = ji.attribution.lrp(lambda w, x: x @ w, composite=rules)
        >>> w = jnp.array([[2.0], [2.0], [3.0]])
        >>> attribute(w, jnp.array([[8.0, -1.0, 0.0]]), jnp.array([0])).tolist()
        [[2.0, -2.0, 3.0]]
    """

    mu: Any = 0.0
    epsilon: float | Stabilizer = 1e-6
    keep_bias: bool = True

    def __post_init__(self) -> None:
        stabilizer(self.epsilon)
        object.__setattr__(self, "mu", _as_tuples(self.mu))

    def __call__(self, layer: Layer, relevance: Any) -> Any:
        """Returns what one unit of each input contributes, with the input's sign."""
        need_affine(self, layer)
        z = layer.z if self.keep_bias else layer.z - layer.bias
        safe = stabilizer(self.epsilon).at(layer)(z)
        share = layer.transpose(layer.kernel, relevance.astype(layer.dtype) / safe)
        mu = _fill(self.mu, layer, "Sign", "mu")
        return jnp.where(layer.x >= mu, share, -share)


def _as_tuples(value: Any) -> Any:
    """A number or an array of numbers as nested tuples, which compare and hash."""
    if isinstance(value, int | float | tuple):
        return value
    nested = np.asarray(value).tolist()

    def freeze(item: Any) -> Any:
        return tuple(map(freeze, item)) if isinstance(item, list) else item

    return freeze(nested)


def _fill(bound: Any, layer: Layer, rule: str, name: str) -> Any:
    """A bound in the layout of the site's input, of size 1 where the map repeats."""
    uniform = layer.uniform(1.0)
    value = np.asarray(bound)
    if value.ndim == 0:
        return uniform * value.astype(layer.dtype)
    axis = layer.batch_axis(
        layer.node.inputs[0], f"{rule} with `{name}` of shape {value.shape}", True
    )
    shape = tuple(n for i, n in enumerate(layer.x.shape) if i != axis)
    try:
        example = np.broadcast_to(value, shape)
    except ValueError:
        raise ValueError(
            f"{rule}: `{name}` has shape {value.shape}, which does not "
            f"broadcast against one example of shape {shape}.\n"
            "Write a number, or one value per channel: of shape (3, 1, 1) where the "
            "layer reads channels first."
        ) from None
    full = np.expand_dims(example, axis).astype(layer.dtype)
    sizes = (*shape[:axis], uniform.shape[axis], *shape[axis:])
    return jnp.asarray(np.broadcast_to(full, sizes)) * (uniform != 0)


def _extreme(name: str, layer: Layer) -> Any:
    """The smallest or the largest entry of each example, in the layout of the input."""
    is_low, is_entry = name == "low", layer.uniform(1.0) != 0
    x = jnp.where(is_entry, layer.x, jnp.inf if is_low else -jnp.inf)
    needed = f"ZBox({name}=None)"
    return of_example(jnp.min if is_low else jnp.max, x, layer, needed) * is_entry


def _check_inside(box: ZBox, layer: Layer, low: Any, high: Any) -> None:
    """Raises if the input of a site leaves the box; what is traced cannot be read."""
    x = layer.x
    if is_traced(x, low, high):
        return
    slack = 1e-2 * (high - low)  # inputs are rounded, to half precision say
    if bool(jnp.any((x < low - slack) | (x > high + slack))):
        raise ValueError(
            f"{box!r} at {layer.node.address}: the inputs leave the box, they are in "
            f"[{float(x.min()):g}, {float(x.max()):g}].\nGive the smallest and the "
            "largest value that an input can have, as the model reads it: pixels that "
            "were normalized lie in `low=(0 - mean) / std`, `high=(1 - mean) / std`, "
            "and noise makes the box wider."
        )
