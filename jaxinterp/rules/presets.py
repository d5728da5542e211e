"""Composites by name, with the mappings of zennit's composites of the same names.

zennit gives the plain derivative to layers that a composite does not mention, which is
no relevance. Here every role has a line, except quotients of two activations, which are
an error. All relevance presets share the lines for which zennit has no rule:
normalizations pass relevance on, products and attention share it equally among their
factors, softmax in proportion to contributions (Achtibat et al., 2024, propositions 3.1
to 3.4 [achtibat2024attnlrp]); in a gated product the signal gets all (Arras et al.,
2017, section 3.2 [arras2017explaining]). `attn_lrp` and `cp_lrp` change the lines of
normalizations and products; `attn_lrp_gradient` and `relp` are the same as gradients.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jaxinterp.checks import check_choice
from jaxinterp.rules.activations import BetaSmooth, DeconvReLU, GuidedReLU, RectGrad
from jaxinterp.rules.affine import Epsilon, Gamma
from jaxinterp.rules.any_site import AbsRatio, FixedStatistics, Gradient, Norm, Pass
from jaxinterp.rules.coefficients import (
    FixedStatisticsGradient,
    SecantGradient,
    UniformGradient,
)
from jaxinterp.rules.composite import Composite
from jaxinterp.rules.first_layer import Flat, WSquare, ZBox
from jaxinterp.rules.products import FixedAttention, SignalTakesAll, Uniform
from jaxinterp.rules.redirected import RedirectedReLU, SmoothMaxPool, Weighting
from jaxinterp.rules.rule import Rule
from jaxinterp.rules.signed import AlphaBeta, RelativeInfluence, ZPlus
from jaxinterp.rules.stabilize import Stabilizer
from jaxinterp.tracing.errors import CompositeError
from jaxinterp.tracing.selectors import first, last, of_role
from jaxinterp.types import Sites

# Which site gets which rule: a composite, its lines, or the name of a preset.
Rules = Composite | Sequence[tuple[Sites, Rule]] | str


def _base() -> Composite:
    """The lines for everything that has no kernel."""
    return Composite(
        [
            (of_role("activation", "pointwise", "scale", "normalization"), Pass()),
            (of_role("add", "linear", "softmax", "log_softmax", "logsumexp"), Norm()),
            (of_role("product"), SignalTakesAll()),
            (of_role("matmul"), Uniform()),
            (of_role("max_pool", "selection"), Gradient()),
        ]
    )


def _by_kernel(convolution: Rule, dense: Rule) -> Composite:
    lines = [(of_role("convolution"), convolution), (of_role("dense"), dense)]
    return Composite(lines) + _base()


def epsilon_plus(epsilon: float | Stabilizer = 1e-6) -> Composite:
    """LRP with z-plus in convolutions and epsilon in dense layers.

    Args:
        epsilon: stabilizer of the dense layers.

    Example:
        >>> print(epsilon_plus().lines[1][1])
        Epsilon()
    """
    return _by_kernel(ZPlus(), Epsilon(epsilon))


def epsilon_plus_flat(epsilon: float | Stabilizer = 1e-6) -> Composite:
    """`epsilon_plus` with the flat rule in the first layer.

    Args:
        epsilon: stabilizer of the dense layers.

    Example:
        >>> print(epsilon_plus_flat().lines[0][0])
        first()
    """
    return Composite([(first(), Flat())]) + epsilon_plus(epsilon)


def epsilon_alpha2_beta1(epsilon: float | Stabilizer = 1e-6) -> Composite:
    """LRP with alpha-beta (2, 1) in convolutions and epsilon in dense layers.

    Args:
        epsilon: stabilizer of the dense layers.

    Example:
        >>> epsilon_alpha2_beta1().lines[0][1].beta
        1.0
    """
    return _by_kernel(AlphaBeta(2.0, 1.0), Epsilon(epsilon))


def epsilon_alpha2_beta1_flat(epsilon: float | Stabilizer = 1e-6) -> Composite:
    """`epsilon_alpha2_beta1` with the flat rule in the first layer.

    Args:
        epsilon: stabilizer of the dense layers.

    Example:
        >>> epsilon_alpha2_beta1_flat().lines[0][1]
        Flat(epsilon=1e-06)
    """
    return Composite([(first(), Flat())]) + epsilon_alpha2_beta1(epsilon)


def epsilon_gamma_box(
    low: Any, high: Any, gamma: float = 0.25, epsilon: float | Stabilizer = 1e-6
) -> Composite:
    """LRP: z-box in the first convolution, gamma in others, epsilon in dense layers.

    As in zennit the box is for a first *convolution*: a dense first layer gets epsilon.

    Args:
        low: smallest possible input, a number or one per channel.
        high: largest possible input, a number or one per channel.
        gamma: the weight that contributions of the output's sign get in addition.
        epsilon: stabilizer of the dense layers.

    Example:
        >>> epsilon_gamma_box(low=-1.0, high=1.0).lines[0][1].low
        -1.0
    """
    box = Composite([(first() & of_role("convolution"), ZBox(low, high))])
    return box + _by_kernel(Gamma(gamma), Epsilon(epsilon))


def excitation_backprop() -> Composite:
    """Excitation backpropagation: z-plus in every layer with a kernel.

    References:
        Zhang et al., 2018, eq. 3 [zhang2018topdown].

    Example:
        >>> excitation_backprop().lines[0][1].convention
        'zennit'
    """
    return _by_kernel(ZPlus(), ZPlus())


def rap() -> Composite:
    """Relative attributing propagation: by influence in the last layer, then relative.

    The last layer shares by magnitude, so that all relevance has the sign of the score;
    every other layer takes away what each entry would get on average. A first
    convolution gets z-box, with the range of each example for its box: for pixels,
    whose range is known, put `(first(), ZBox(0.0, 1.0))` in front. A negative entry is
    one of less influence than others, and says nothing about the sign of its effect.

    References:
        Nam et al., 2020 [nam2020relative].

    Example:
        >>> print(Composite(rap().lines[:3]))
        1  last()                              AbsRatio(keep_bias=False)
        2  (first() & of_role('convolution'))  ZBox()
        3  of_role('convolution')              RelativeInfluence()
    """
    special: list[tuple[Sites, Rule]] = [
        (last(), AbsRatio(keep_bias=False)),
        (first() & of_role("convolution"), ZBox()),
    ]
    relative = RelativeInfluence()
    return Composite(special) + _by_kernel(relative, relative)


def deep_taylor(low: Any = None, high: Any = None) -> Composite:
    """Deep Taylor decomposition: z-plus without bias, z-box or w-square at the input.

    Args:
        low: smallest possible input, a number or one per channel. Without bounds,
            inputs may be any real numbers, and the first layer gets w-square.
        high: largest possible input, a number or one per channel.

    Raises:
        ValueError: if one bound is `None` and the other is not.

    References:
        Montavon et al., 2017, table 1 [montavon2017explaining]. iNNvestigate instead
        gives z-plus to an unbounded first layer that has an activation.

    Example:
        >>> deep_taylor(0.0, 1.0).lines[0][1].high
        1.0
    """
    if (low is None) != (high is None):
        raise ValueError(
            f"deep_taylor: give both bounds or none, not low={low}, high={high}.\n"
            "Write `deep_taylor(low=0.0, high=1.0)` for pixels in [0, 1]."
        )
    entry = WSquare(keep_bias=False) if low is None else ZBox(low, high)
    plus = ZPlus(keep_bias=False)
    return Composite([(first(), entry)]) + _by_kernel(plus, plus)


def attn_lrp(epsilon: float | Stabilizer = 1e-6) -> Composite:
    """LRP for transformers: epsilon in layers, statistics of norms held fixed.

    Softmax shares in proportion to contributions, each product equally, gates included,
    and activations pass relevance on. Tokens have no gradient: explain the embedding.

    Args:
        epsilon: stabilizer of dense layers, convolutions, normalizations and products.

    References:
        Achtibat et al., 2024, propositions 3.1 to 3.4 [achtibat2024attnlrp].

    Example:
        >>> print(Composite(attn_lrp().lines[:3]))
        1  of_role('convolution', 'dense')  Epsilon()
        2  of_role('normalization')         FixedStatistics()
        3  of_role('product', 'matmul')     Uniform()
    """
    lines = [
        (of_role("convolution", "dense"), Epsilon(epsilon)),
        (of_role("normalization"), FixedStatistics(epsilon)),
        (of_role("product", "matmul"), Uniform(epsilon)),
    ]
    return Composite(lines) + _base()


def cp_lrp(epsilon: float | Stabilizer = 1e-6) -> Composite:
    """LRP for transformers: weights of attention and statistics of norms held fixed.

    Attention is then a linear map of its values, and nothing goes back to queries and
    keys. Where a head looks is taken for granted; `attn_lrp` explains that too. Other
    products share equally, and activations pass relevance on. Tokens have no gradient:
    explain the embedding.

    Args:
        epsilon: stabilizer of dense layers, convolutions, normalizations and products.

    References:
        Ali et al., 2022, section 4 [ali2022xai].

    Example:
        >>> print(Composite(cp_lrp().lines[:3]))
        1  of_role('convolution', 'dense')  Epsilon()
        2  of_role('normalization')         FixedStatistics()
        3  of_role('product', 'matmul')     FixedAttention()
    """
    line = (of_role("product", "matmul"), FixedAttention(epsilon))
    first_two = attn_lrp(epsilon).lines[:2]
    return Composite([*first_two, line]) + _base()


def attn_lrp_gradient() -> Composite:
    """The gradient of the model whose product with the input is `attn_lrp`.

    `input_x_gradient(ji.with_rules(apply_fn, attn_lrp_gradient()))` is `lrp` with
    `attn_lrp(0.0)`, but that shifts, such as the embeddings of positions, keep their
    share. Any method that takes gradients takes these instead.

    References:
        Arras et al., 2025 [arras2025close]; Achtibat et al., 2024
        [achtibat2024attnlrp].

    Example:
        >>> print(attn_lrp_gradient())
        1  of_role('normalization')            FixedStatisticsGradient()
        2  of_role('product', 'matmul')        UniformGradient()
        3  of_role('activation', 'pointwise')  SecantGradient()
        4  at('*')                             Gradient()
    """
    return _of_coefficients(UniformGradient())


def relp() -> Composite:
    """The gradient of relevance patching, whose product with the input is `cp_lrp`.

    Weights of attention and statistics of norms are held fixed, and a gate and its
    signal get half each. In place of the plain gradient it makes attribution patching
    relevance patching: `ji.with_rules(apply_fn, relp())`.

    References:
        Jafari et al., 2025, table 1 [jafari2025relp].

    Example:
        >>> print(relp())
        1  of_role('normalization')            FixedStatisticsGradient()
        2  of_role('product', 'matmul')        UniformGradient(is_attention_fixed=True)
        3  of_role('activation', 'pointwise')  SecantGradient()
        4  at('*')                             Gradient()
    """
    return _of_coefficients(UniformGradient(is_attention_fixed=True))


def _of_coefficients(product: Rule) -> Composite:
    return Composite(
        [
            (of_role("normalization"), FixedStatisticsGradient()),
            (of_role("product", "matmul"), product),
            (of_role("activation", "pointwise"), SecantGradient()),
            ("*", Gradient()),
        ]
    )


def _of_activations(rule: Rule) -> Composite:
    return Composite([(of_role("activation"), rule), ("*", Gradient())])


def guided_backprop() -> Composite:
    """Guided backpropagation, at activations of every kind.

    Example:
        >>> print(guided_backprop())
        1  of_role('activation')  GuidedReLU()
        2  at('*')                Gradient()
    """
    return _of_activations(GuidedReLU())


def deconvnet() -> Composite:
    """Deconvnet, at activations of every kind.

    Example:
        >>> deconvnet().lines[0][1]
        DeconvReLU()
    """
    return _of_activations(DeconvReLU())


def rect_grad(percentile: float = 98.0) -> Composite:
    """Rectified gradients, at activations of every kind.

    Args:
        percentile: the percentage of entries that each activation lets nothing through.

    Example:
        >>> rect_grad().lines[0][1]
        RectGrad(percentile=98.0)
    """
    return _of_activations(RectGrad(percentile))


def beta_smooth(beta: float = 10.0) -> Composite:
    """The gradient of the model with its kinks smoothed.

    Args:
        beta: sharpness of the smoothed kinks.

    Example:
        >>> beta_smooth().lines[0][1]
        BetaSmooth(beta=10.0)
    """
    return _of_activations(BetaSmooth(beta))


def redirected() -> Composite:
    """The gradient of the model, redirected for examples whose gradient vanishes.

    Example:
        >>> print(redirected())
        1  of_role('activation')  RedirectedReLU()
        2  at('*')                Gradient()
    """
    return _of_activations(RedirectedReLU())


def smooth_max_pool(weighting: Weighting = "l2", epsilon: float = 1e-2) -> Composite:
    """The gradient of the model, with that of means in place of max pooling.

    Its last line matches every site, so lines must be added in front of it:
    `Composite([(of_role("activation"), RedirectedReLU())]) + smooth_max_pool()`.

    Args:
        weighting: how the entries of a window share, as in `SmoothMaxPool`.
        epsilon: the number that is added to the mean size, as in `SmoothMaxPool`.

    Example:
        >>> print(smooth_max_pool())
        1  of_role('max_pool')  SmoothMaxPool()
        2  at('*')              Gradient()
    """
    rule = SmoothMaxPool(weighting, epsilon)
    return Composite([(of_role("max_pool"), rule), ("*", Gradient())])


def linearized() -> Composite:
    """The gradient of the model as if activations were linear and max pooling a mean.

    References:
        Olah et al., 2018, lucid's `linearization_overrides` [olah2018building].

    Example:
        >>> print(linearized())
        1  of_role('max_pool')    SmoothMaxPool(weighting='average')
        2  of_role('activation')  Pass()
        3  at('*')                Gradient()
    """
    return Composite(
        [
            (of_role("max_pool"), SmoothMaxPool("average")),
            (of_role("activation"), Pass()),
            ("*", Gradient()),
        ]
    )


PRESETS: Mapping[str, Callable[[], Composite]] = types.MappingProxyType(
    {
        preset.__name__: preset
        for preset in (
            attn_lrp,
            attn_lrp_gradient,
            beta_smooth,
            cp_lrp,
            deconvnet,
            deep_taylor,
            epsilon_alpha2_beta1,
            epsilon_alpha2_beta1_flat,
            epsilon_plus,
            epsilon_plus_flat,
            excitation_backprop,
            guided_backprop,
            linearized,
            rap,
            rect_grad,
            redirected,
            relp,
            smooth_max_pool,
        )
    }
)


def as_composite(rules: Rules, call: str) -> Composite:
    """Returns the composite that an argument means.

    Args:
        rules: a composite, a list of pairs `(selector, rule)`, or the name of a preset
            that needs no arguments, such as `"epsilon_plus"`.
        call: how to write the call correctly, for the error message.

    Raises:
        ValueError: if there is no preset of that name, or one that needs arguments.
        CompositeError: if the argument is none of these.
        TypeError: if a line of the list is not a pair of a selector and a rule.

    Example:
        >>> print(as_composite([("*", Norm())], "lrp(apply_fn)"))
        1  at('*')  Norm()
    """
    if isinstance(rules, str):
        if rules == epsilon_gamma_box.__name__:
            raise ValueError(
                f"The preset {rules!r} needs the range of the inputs. Write "
                f"`composite=jaxinterp.rules.{rules}(low=0.0, high=1.0)`."
            )
        check_choice("composite", rules, tuple(PRESETS))
        return PRESETS[rules]()
    if isinstance(rules, list | tuple):
        return Composite(rules)
    if not isinstance(rules, Composite):
        raise CompositeError(rules, call)
    return rules
