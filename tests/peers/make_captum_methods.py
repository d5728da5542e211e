"""Makes `tests/golden/captum_methods.npz`: captum's other methods.

The network is that of `torch_cnn.py`; `baseline` (2, 8, 6, 2) is signed, as inputs are.
Attributions `<method>/attribution` have the shape of the input, or that of the site,
which is the second relu, (2, 4, 3, 5):

`deep_lift`, `deep_lift_multipliers`, `deep_lift_site`: Rescale, with average pooling in
    place of max pooling.
`deep_lift_max_pool`: through max pooling, with a copy between it and the relu before
    it. Without that the relu gets the gradient of the pooling in place of its
    multiplier, and captum's values do not add up.
`deep_lift_shap`: over `background` (4, 8, 6, 2).
`activations`: Rescale through one of each activation, a network of its own, with
    `activations/input` (3, 5), `/baseline`, `/target`, `/params/kernel0` to `/bias6`.
`gradient_shap`: the mean over pairs of `gradient_shap/example` (30,), the number of a
    background example, and `gradient_shap/share` (30,), how far the way from it. captum
    draws anew for each example; the generator is reset, so that all get the same.
`occlusion`: windows 4 x 3 of all channels, moved by 2 x 1, which end with the axes.
`ablation`: drops of the 6 segments of `segments` (8, 6), in the shape of the input.
`permutation`: the same with segments of the other example of the batch.
`kernel_shap`: of `kernel_shap/coalitions` (60, 6); again the same for both examples.
`shapley`: of all orders of the segments. captum adds up these two in float32.
`conductance`: `forward` and `backward`, along the path from the baseline and from the
    input, of `conductance/steps` parts.
`internal_influence`: `gausslegendre` and `riemann_middle`, with
    `internal_influence/steps` nodes.
`grad_cam`: not rectified, at the site. `guided_grad_cam`: with bilinear resizing.
"""

import copy
import itertools

import numpy as np
import torch
import torch_layouts as layouts
from captum import attr
from torch_cnn import cnn

STEPS, SAMPLES = 12, 30
COALITIONS, SEGMENTS = 60, 6
# Their rules are all "nonlinear" in captum; others would be gradients, silently.
ACTIVATIONS = (
    torch.nn.Sigmoid,
    torch.nn.Tanh,
    torch.nn.Softplus,
    torch.nn.ELU,
    torch.nn.LeakyReLU,
    torch.nn.ReLU,
)


def per_example(attribute, x, target, **options):
    """Explains each example alone, from the same state of all generators."""
    found = []
    for i in range(len(x)):
        torch.manual_seed(0)
        np.random.seed(0)
        found.append(attribute(x[i : i + 1], target=int(target[i]), **options))
    return torch.cat(found)


class Copied(torch.nn.Module):
    """An activation whose result is another tensor than what the next module reads."""

    def __init__(self, activation):
        """Takes the activation."""
        super().__init__()
        self.activation = activation

    def forward(self, x):
        """Returns the activation, multiplied by one."""
        return 1.0 * self.activation(x)


def deep_lift(network, x, baseline, background, target):
    """Returns the attributions of DeepLIFT and DeepLIFT SHAP."""
    pooled, network = copy.deepcopy(network), copy.deepcopy(network)
    pooled.relu0 = Copied(pooled.relu0)
    network.pool = torch.nn.AvgPool2d(2)
    at_site = attr.LayerDeepLift(network, network.relu1)
    multipliers = attr.DeepLift(network, multiply_by_inputs=False)
    return {
        "deep_lift": attr.DeepLift(network).attribute(x, baseline, target=target),
        "deep_lift_multipliers": multipliers.attribute(x, baseline, target=target),
        "deep_lift_site": at_site.attribute(x, baseline, target=target),
        "deep_lift_shap": attr.DeepLiftShap(network).attribute(
            x, background, target=target
        ),
        "deep_lift_max_pool": attr.DeepLift(pooled).attribute(
            x, baseline, target=target
        ),
    }


def activations(rng):
    """Returns the arrays of a network with one of each activation."""
    widths, arrays, modules = (5, *[6] * len(ACTIVATIONS), 3), {}, []
    for i, (inputs, features) in enumerate(itertools.pairwise(widths)):
        kernel = 1.5 * rng.normal(size=(inputs, features)) / np.sqrt(inputs)
        bias = 0.3 * rng.normal(size=features)
        arrays |= {f"params/kernel{i}": kernel, f"params/bias{i}": bias}
        modules += [layouts.dense(kernel, bias), *[a() for a in ACTIVATIONS[i : i + 1]]]
    x, baseline = rng.normal(size=(2, 3, 5))
    target = np.array([0, 2, 1])
    method = attr.DeepLift(torch.nn.Sequential(*modules))
    found = method.attribute(*map(torch.from_numpy, (x, baseline, target)))
    arrays |= {"input": x, "baseline": baseline, "target": target}
    return arrays | {"attribution": found.detach().numpy()}


def gradient_shap(network, x, background, target):
    """Returns the attributions, and what was drawn."""
    found = per_example(
        attr.GradientShap(network).attribute,
        x,
        target,
        baselines=background,
        n_samples=SAMPLES,
        stdevs=0.0,
    )
    np.random.seed(0)
    example = np.random.choice(len(background), SAMPLES)
    share = np.random.uniform(0.0, 1.0, SAMPLES)
    return found, {"example": example, "share": share}


def kernel_shap(network, x, baseline, target, mask):
    """Returns the attributions, and what was drawn."""
    method = attr.KernelShap(network)
    drawn, generate = [], method.kernel_shap_perturb_generator

    def recorded(*args, **kwargs):
        for coalition in generate(*args, **kwargs):
            drawn.append(coalition[0].numpy())
            yield coalition

    method.perturb_func = recorded
    found = []
    for i in range(len(x)):
        torch.manual_seed(0)
        options = {"feature_mask": mask, "n_samples": COALITIONS + 2}
        each = slice(i, i + 1)
        found.append(
            method.attribute(x[each], baseline[each], int(target[i]), **options)
        )
    rows = np.array(drawn).reshape(len(x), -1, SEGMENTS)[:, : COALITIONS + 2]
    assert np.array_equal(rows[0], rows[1])
    assert rows[0, 0].all()
    assert not rows[0, 1].any()
    return torch.cat(found), rows[0, 2:].astype(bool)


def masking(network, x, baseline, target, mask):
    """Returns the attributions of what replaces parts of the input."""
    options = {"baselines": baseline, "target": target}
    windows = {
        "sliding_window_shapes": (x.shape[1], 4, 3),
        "strides": (x.shape[1], 2, 1),
    }
    return {
        "occlusion": attr.Occlusion(network).attribute(x, **windows, **options),
        "ablation": attr.FeatureAblation(network).attribute(
            x, feature_mask=mask, **options
        ),
        "permutation": attr.FeaturePermutation(network).attribute(
            x, feature_mask=mask, target=target
        ),
        "shapley": attr.ShapleyValues(network).attribute(
            x, feature_mask=mask, **options
        ),
    }


def at_site(network, x, baseline, target):
    """Returns the attributions to the site, and guided Grad-CAM."""
    conductance = attr.LayerConductance(network, network.relu1)
    influence = attr.InternalInfluence(network, network.relu1)
    options = {"target": target, "n_steps": STEPS}
    even = {"method": "riemann_trapezoid"}  # of its nodes alone; there are no weights
    found = {
        "conductance/forward": conductance.attribute(x, baseline, **even, **options),
        "conductance/backward": conductance.attribute(baseline, x, **even, **options),
        "grad_cam": attr.LayerGradCam(network, network.relu1).attribute(x, target),
        "guided_grad_cam": attr.GuidedGradCam(network, network.relu1).attribute(
            x, target, interpolate_mode="bilinear"
        ),
    }
    for method in ("gausslegendre", "riemann_middle"):
        found[f"internal_influence/{method}"] = influence.attribute(
            x, baseline, method=method, **options
        )
    return found


def main() -> None:
    """Writes the golden file."""
    network, arrays = cnn(seed=11)
    rng = np.random.default_rng(12)
    arrays["baseline"] = 0.5 * rng.normal(size=arrays["input"].shape)
    arrays["background"] = rng.normal(size=(4, *arrays["input"].shape[1:]))
    segments = np.arange(8)[:, None] // 3 * 2 + np.arange(6)[None] // 3
    arrays["segments"] = segments
    x, baseline, background = (
        layouts.to_torch(arrays[k]) for k in ("input", "baseline", "background")
    )
    target, mask = torch.from_numpy(arrays["target"]), torch.from_numpy(segments)
    mask = mask[None, None]
    found = deep_lift(network, x, baseline, background, target)
    found |= masking(network, x, baseline, target, mask)
    found |= at_site(network, x, baseline, target)
    found["gradient_shap"], draws = gradient_shap(network, x, background, target)
    found["kernel_shap"], coalitions = kernel_shap(network, x, baseline, target, mask)
    arrays |= {f"gradient_shap/{k}": v for k, v in draws.items()}
    arrays |= {f"activations/{k}": v for k, v in activations(rng).items()}
    arrays |= {"kernel_shap/coalitions": coalitions, "steps": np.array(STEPS)}
    arrays |= {f"{k}/attribution": layouts.from_torch(v) for k, v in found.items()}
    layouts.save("captum_methods.npz", arrays)


if __name__ == "__main__":
    main()
