r"""Relevance through the two networks of `tests/golden/zennit_*.npz`, image by image.

A network is a chain of functions that return a value and a `Back`: what sends a
relevance (or a gradient) of the value to the input. Layouts and parameter names are
those of `tests/peers/make_zennit_networks.py`. Batch norm is folded into the
convolution before it, as zennit's canonizer means to, and every affine layer is a dense
matrix.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping

import numpy as np

from . import linear_maps, relu_rules, rules
from .stabilizers import Array

Back = Callable[[Array], Array]
Parameters = Mapping[str, Array]
BATCH_NORM_EPSILON = 1e-5


def pass_relu(x: Array, relevance: Array) -> Array:
    """Sends the relevance of a relu to its input."""
    del x
    return relevance


def plain_sum(left: Array, right: Array, cotangent: Array) -> tuple[Array, Array]:
    """Sends the gradient of a sum to both branches."""
    del left, right
    return cotangent, cotangent


@dataclasses.dataclass(frozen=True)
class Composite:
    """Which rule each kind of layer gets; max pooling always has its gradient.

    Attributes:
        first: the rule of the first convolution.
        convolution: the rule of the other convolutions.
        dense: the rule of dense layers.
        last: the rule of the last layer; that of dense layers by default.
        relu: what relu does, from its input and what reaches its output.
        pool: the rule of average pooling.
        residual: how a residual sum is split.
    """

    first: rules.Rule = rules.gradient
    convolution: rules.Rule = rules.gradient
    dense: rules.Rule = rules.gradient
    relu: Callable[[Array, Array], Array] = pass_relu
    pool: rules.Rule = rules.epsilon
    residual: Callable[[Array, Array, Array], tuple[Array, Array]] = rules.ratio_sum
    last: rules.Rule | None = None

    @property
    def head(self) -> rules.Rule:
        """The rule of the last layer."""
        return self.last or self.dense


def composites(low: Array, high: Array) -> dict[str, Composite]:
    """Returns zennit's composites, for inputs between `low` and `high`."""
    alpha2_beta1 = rules.alpha_beta
    box = functools.partial(rules.z_box, low=low.reshape(-1), high=high.reshape(-1))
    gradients = {"pool": rules.gradient, "residual": plain_sum}
    return {
        "epsilon_plus": Composite(rules.z_plus, rules.z_plus, rules.epsilon),
        "epsilon_plus_flat": Composite(rules.flat, rules.z_plus, rules.epsilon),
        "epsilon_alpha2_beta1": Composite(alpha2_beta1, alpha2_beta1, rules.epsilon),
        "epsilon_alpha2_beta1_flat": Composite(rules.flat, alpha2_beta1, rules.epsilon),
        "epsilon_gamma_box": Composite(box, rules.gamma, rules.epsilon),
        "excitation_backprop": Composite(
            rules.z_plus, rules.z_plus, rules.z_plus, relu_rules.relu_gradient
        ),
        "gradient": Composite(relu=relu_rules.relu_gradient, **gradients),
        "guided_backprop": Composite(relu=relu_rules.guided, **gradients),
        "deconvnet": Composite(relu=lambda x, g: relu_rules.deconvnet(g), **gradients),
        "beta_smooth": Composite(relu=relu_rules.beta_smooth, **gradients),
    }


class Network:
    """The layers of a network with given parameters; matrices are made once."""

    def __init__(self, parameters: Parameters):
        """Takes arrays by name."""
        self.parameters = parameters
        self._matrices: dict[str, tuple[Array, Array, tuple[int, ...]]] = {}

    def folded(self, name: str, norm: str) -> tuple[Array, Array]:
        """Returns the kernel and bias of a convolution and the batch norm after it."""
        p = self.parameters
        kernel = p[f"{name}/kernel"]
        bias = p.get(f"{name}/bias", np.zeros(kernel.shape[-1]))
        scale = p[f"{norm}/scale"] / np.sqrt(p[f"{norm}/var"] + BATCH_NORM_EPSILON)
        return kernel * scale, (bias - p[f"{norm}/mean"]) * scale + p[f"{norm}/bias"]

    def convolution(
        self, name: str, norm: str, x: Array, rule: rules.Rule, stride: int = 1
    ) -> tuple[Array, Back]:
        """Applies a convolution that keeps the size, up to its stride, and its norm."""
        kernel, bias = self.folded(name, norm)
        reach = kernel.shape[0] // 2
        geometry = ((stride, stride), ((reach, reach), (reach, reach)))
        if name not in self._matrices:
            matrix, shape = linear_maps.convolution(x.shape, kernel, *geometry)
            ones = np.ones_like(kernel)
            support, _ = linear_maps.convolution(x.shape, ones, *geometry)
            self._matrices[name] = matrix, support, shape
        matrix, support, shape = self._matrices[name]
        used = support if rule is rules.flat else matrix
        biases = np.broadcast_to(bias, shape).reshape(-1)
        z = matrix @ x.reshape(-1) + biases

        def back(relevance: Array) -> Array:
            flat = rule(used, biases, x.reshape(-1), relevance.reshape(-1))
            return flat.reshape(x.shape)

        return z.reshape(shape), back

    def dense(self, name: str, x: Array, rule: rules.Rule) -> tuple[Array, Back]:
        """Applies a dense layer."""
        matrix, bias = (self.parameters[f"{name}/{k}"] for k in ("kernel", "bias"))
        return matrix.T @ x + bias, lambda r: rule(matrix.T, bias, x, r)


def relu(x: Array, rule: Callable[[Array, Array], Array]) -> tuple[Array, Back]:
    """Applies relu."""
    return np.maximum(x, 0.0), lambda upstream: rule(x, upstream)


def max_pool(x: Array, window: int, stride: int, padding: int) -> tuple[Array, Back]:
    """Takes the largest of each window; the first of equals, row by row, gets all."""
    length = linear_maps.output_length(x.shape[0], window, stride, (padding, padding))
    z = np.zeros((length, length, x.shape[2]))
    winners = {}
    for row, column, channel in np.ndindex(*z.shape):
        best = -np.inf
        for i, j in np.ndindex(window, window):
            place = (row * stride + i - padding, column * stride + j - padding, channel)
            inside = all(0 <= place[d] < x.shape[d] for d in (0, 1))
            if inside and x[place] > best:
                best = x[place]
                winners[row, column, channel] = place
        z[row, column, channel] = best

    def back(relevance: Array) -> Array:
        result = np.zeros_like(x)
        for place, winner in winners.items():
            result[winner] += relevance[place]
        return result

    return z, back


def through(backs: list[Back], relevance: Array) -> Array:
    """Sends relevance through a chain, from its end to its start."""
    for back in reversed(backs):
        relevance = back(relevance)
    return relevance


def vgg(network: Network, x: Array, composite: Composite) -> tuple[Array, Back]:
    """Returns the logits of one image, and what sends relevance back to it."""
    backs = []
    for i in range(6):
        rule = composite.first if i == 0 else composite.convolution
        x, back = network.convolution(f"conv{i}", f"bn{i}", x, rule)
        x, back_relu = relu(x, composite.relu)
        backs += [back, back_relu]
        if i in (0, 1, 3):
            x, back = max_pool(x, 2, 2, 0)
            backs.append(back)
    shape = x.shape
    x, back = network.dense("dense0", x.reshape(-1), composite.dense)
    x, back_relu = relu(x, composite.relu)
    x, back_last = network.dense("dense1", x, composite.head)
    backs += [lambda r: r.reshape(shape), back, back_relu, back_last]
    return x, functools.partial(through, backs)


def block(
    network: Network, name: str, x: Array, stride: int, composite: Composite
) -> tuple[Array, Back]:
    """Applies a basic block, whose skip is a projection if it has parameters."""
    rule = composite.convolution
    y, back0 = network.convolution(f"{name}/conv0", f"{name}/bn0", x, rule, stride)
    y, back_relu = relu(y, composite.relu)
    y, back1 = network.convolution(f"{name}/conv1", f"{name}/bn1", y, rule)
    skip, back_skip = x, None
    if f"{name}/projection/kernel" in network.parameters:
        norm = f"{name}/projection_bn"
        skip, back_skip = network.convolution(
            f"{name}/projection", norm, x, rule, stride
        )
    z, back_last = relu(skip + y, composite.relu)

    def back(relevance: Array) -> Array:
        left, right = composite.residual(skip, y, back_last(relevance))
        left = back_skip(left) if back_skip is not None else left
        return left + through([back0, back_relu, back1], right)

    return z, back


def resnet(network: Network, x: Array, composite: Composite) -> tuple[Array, Back]:
    """Returns the logits of one image, and what sends relevance back to it."""
    x, back_stem = network.convolution("stem", "stem_bn", x, composite.first)
    x, back_relu = relu(x, composite.relu)
    x, back_pool = max_pool(x, 3, 2, 1)
    backs = [back_stem, back_relu, back_pool]
    for i, stride in enumerate((1, 2, 1)):
        x, back = block(network, f"block{i}", x, stride, composite)
        backs.append(back)
    features = x
    window = features.shape[:2]
    mean, _ = linear_maps.average_pool(features.shape, window, window, ((0, 0),) * 2)
    pooled = mean @ features.reshape(-1)
    logits, back_dense = network.dense("dense", pooled, composite.head)

    def back_mean(relevance: Array) -> Array:
        no_bias = np.zeros(len(pooled))
        flat = composite.pool(mean, no_bias, features.reshape(-1), relevance)
        return flat.reshape(features.shape)

    return logits, functools.partial(through, [*backs, back_mean, back_dense])
