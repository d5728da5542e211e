"""Every attribution method that there is, in the order of the tables.

`methods` are those that take a few passes; `more_methods` want to know more of their
subject, or take hundreds.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import numpy as np

import jaxinterp as ji
from jaxinterp.attribution import Attribution
from jaxinterp.types import ApplyFn

SAMPLES = 25
STEPS = 25
AT_ONCE = 5
# What is drawn to take segments away.
MASKS = 500
PERMUTATIONS = 10
DESIGNS = 8


def methods(
    apply_fn: ApplyFn, low: Any = None, high: Any = None
) -> dict[str, Attribution]:
    """Returns the methods by name.

    Args:
        apply_fn: the network.
        low: smallest possible input, a number or one per channel, for the rules that
            want it; without bounds these are left out.
        high: largest possible input.
    """
    a, rules = ji.attribution, ji.rules
    gradient = a.gradient(apply_fn)

    def smooth(statistic: Any) -> Attribution:
        return a.smooth(
            gradient, samples=SAMPLES, statistic=statistic, batch_size=AT_ONCE
        )

    found = {
        "gradient": gradient,
        "saliency": a.saliency(apply_fn),
        "SmoothGrad": smooth("mean"),
        "SmoothGrad²": smooth("square"),
        "VarGrad": smooth("variance"),
        "deconvnet": a.deconvnet(apply_fn),
        "guided backprop": a.guided_backprop(apply_fn),
        "input x gradient": a.input_x_gradient(apply_fn),
        "integrated gradients": a.integrated_gradients(
            apply_fn, steps=STEPS, batch_size=AT_ONCE
        ),
    }
    composites = {
        "epsilon plus": rules.epsilon_plus(),
        "epsilon plus flat": rules.epsilon_plus_flat(),
        "epsilon alpha2 beta1": rules.epsilon_alpha2_beta1(),
        "epsilon alpha2 beta1 flat": rules.epsilon_alpha2_beta1_flat(),
        "excitation backprop": rules.excitation_backprop(),
        "AttnLRP": rules.attn_lrp(),
    }
    if low is not None:
        composites["epsilon gamma box"] = rules.epsilon_gamma_box(low, high)
        # It has to know the examples, which a loop over tokens may merge.
        composites["RAP"] = rules.rap()
    for name, composite in composites.items():
        found[f"LRP {name}"] = a.lrp(apply_fn, composite=composite)
    hidden: dict[str, Any] = {"size": 1}
    if low is not None:
        hidden = {"size": 8, "baseline": (np.asarray(low) + np.asarray(high)) / 2}
    found["DeepLIFT"] = a.deep_lift(apply_fn)
    found["occlusion"] = a.occlusion(apply_fn, **hidden)
    found["deep Taylor"] = a.deep_taylor(apply_fn, low=low, high=high)
    return found


class Subject(NamedTuple):
    """What some methods have to know of a network and its inputs.

    Attributes:
        gray: the input that a gray pixel makes; `None` if inputs are no images.
        background: examples that stand for nothing in particular.
        segments: the map of the segments that are taken away.
        patterns: the patterns of its affine sites, if they can be fitted.
        layer: the address of the last layer with positions, of images.
    """

    gray: Any
    background: Any
    segments: Any
    patterns: Any = None
    layer: str | None = None


def more_methods(apply_fn: ApplyFn, subject: Subject) -> dict[str, Attribution]:
    """Returns the methods by name.

    Args:
        apply_fn: the network.
        subject: what these methods have to know.
    """
    a = ji.attribution
    chunks = {"batch_size": AT_ONCE}
    background = {"background": subject.background, **chunks}
    is_image = subject.gray is not None
    hidden: dict[str, Any] = {
        "segments": subject.segments,
        "baseline": subject.gray if is_image else 0.0,
    }
    found = {
        "guided IG": a.guided_integrated_gradients(apply_fn, steps=STEPS),
        "IDGI": a.idgi(apply_fn, steps=STEPS, **chunks),
        "expected gradients": a.expected_gradients(
            apply_fn, samples=SAMPLES, **background
        ),
        "DeepLIFT SHAP": a.deep_lift_shap(apply_fn, **background),
        "Shapley": a.shapley(apply_fn, samples=PERMUTATIONS, **hidden),
        "KernelSHAP": a.kernel_shap(apply_fn, samples=MASKS, **hidden),
        "LIME": a.lime(apply_fn, samples=MASKS, **hidden),
        "Sobol": a.sobol(apply_fn, samples=DESIGNS, **hidden),
        "HSIC": a.hsic(apply_fn, samples=MASKS, **hidden),
    }
    if subject.patterns is not None:
        patterns = {"patterns": subject.patterns}
        found["PatternNet"] = a.pattern_net(apply_fn, **patterns)
        found["PatternAttribution"] = a.pattern_attribution(apply_fn, **patterns)
    if is_image:
        found |= _of_images(apply_fn, subject)
    if subject.layer is not None:
        found |= _of_a_layer(apply_fn, subject.layer)
    return found


def _of_images(apply_fn: ApplyFn, subject: Subject) -> dict[str, Attribution]:
    a = ji.attribution
    path = {"steps": STEPS, "batch_size": AT_ONCE}
    return {
        "blur IG": a.blur_integrated_gradients(apply_fn, **path),
        "XRAI of patches": a.xrai(apply_fn, segments=subject.segments, **path),
        "RISE": _above_the_mean(
            a.rise(apply_fn, samples=2 * MASKS, baseline=subject.gray)
        ),
    }


def _of_a_layer(apply_fn: ApplyFn, layer: str) -> dict[str, Attribution]:
    a = ji.attribution
    cams = {
        "Grad-CAM": a.grad_cam,
        "Grad-CAM++": a.grad_cam_plus_plus,
        "LayerCAM": a.layer_cam,
        "Score-CAM": a.score_cam,
        "Ablation-CAM": a.ablation_cam,
        "Eigen-CAM": a.eigen_cam,
        "guided Grad-CAM": a.guided_grad_cam,
    }
    return {name: cam(apply_fn, at=layer) for name, cam in cams.items()}


def _above_the_mean(attribution_fn: Attribution) -> Attribution:
    """A map of scores: only its differences between positions mean anything."""

    def attribute(
        variables: Any, inputs: Any, target: Any = None, key: Any = None
    ) -> Any:
        scores = attribution_fn(variables, inputs, target, key)
        mean = scores.mean(axis=tuple(range(1, scores.ndim)), keepdims=True)
        return jax.nn.relu(scores - mean)

    return attribute
