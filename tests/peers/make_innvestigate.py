"""Makes `tests/golden/innvestigate_rules.npz`: rules in iNNvestigate's conventions.

iNNvestigate needs a TensorFlow of the past, so it is not run. Its formulas are written
again, in torch, float64, by automatic differentiation of modified layers; `README.md`
lists them. This shares nothing with the oracles, which add up messages.

Keys and layouts are those of `make_zennit_rules.py`; `padding` may differ before and
behind, as TensorFlow's SAME padding does. Rules, all with `x / (z + 1e-7 [z = 0])`
except `epsilon`:

* `z`, `z_no_bias`: LRP-0;
* `epsilon`, `epsilon_no_bias`: signed epsilon of 1e-7; `epsilon_large`: 0.1, as in its
  presets;
* `alpha2_beta1`, `alpha1_beta0`: the whole bias is in both denominators;
  `alpha2_beta1_no_bias`, `alpha1_beta0_no_bias`: none;
* `zplus`: `alpha1_beta0_no_bias`;
* `zplus_fast`: inputs are not split by sign, no bias;
* `wsquare`, `flat`: without a bias;
* `bounded`: low -3, high 2.5, without a bias.

The layer `add` has the inputs `input[..., 0]` and `input[..., 1]`.
"""

from collections.abc import Callable

import numpy as np
import torch
import torch_layouts as layouts

EPSILON = 1e-7
BATCH = 3
Layer = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def safe(z: torch.Tensor) -> torch.Tensor:
    """Replaces zeros by a small number."""
    return torch.where(z == 0, z + EPSILON, z)


def signed(z: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Pushes away from zero."""
    return torch.where(z >= 0, z + epsilon, z - epsilon)


class Rules:
    """iNNvestigate's rules for `layer(x, weight, bias)`, and one batch."""

    def __init__(self, layer: Layer, x: torch.Tensor, w: torch.Tensor, b: torch.Tensor):
        """Takes a layer and what it is applied to."""
        self.layer, self.x, self.w, self.b = layer, x, w, b
        self.none = torch.zeros_like(b)

    def back(
        self, x: torch.Tensor, w: torch.Tensor, cotangent: torch.Tensor
    ) -> torch.Tensor:
        """Returns `x` times the gradient of the layer with weight `w`."""
        leaf = x.detach().clone().requires_grad_()
        (result,) = torch.autograd.grad(self.layer(leaf, w, self.none), leaf, cotangent)
        return x * result

    def z(self, r: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        """The Z rule."""
        return self.back(self.x, self.w, r / safe(self.layer(self.x, self.w, b)))

    def epsilon(self, r: torch.Tensor, b: torch.Tensor, e: float) -> torch.Tensor:
        """The epsilon rule."""
        z = self.layer(self.x, self.w, b)
        return self.back(self.x, self.w, r / signed(z, e))

    def alpha_beta(
        self, r: torch.Tensor, keep_bias: bool, alpha: float, beta: float
    ) -> torch.Tensor:
        """The alpha-beta rule: copies of the layer for weights and biases by sign."""
        xp, xn = self.x.clamp(min=0), self.x.clamp(max=0)
        wp, wn = self.w.clamp(min=0), self.w.clamp(max=0)
        b = self.b if keep_bias else self.none
        bp, bn = b.clamp(min=0), b.clamp(max=0)
        q = r / safe(self.layer(xp, wp, bp) + self.layer(xn, wn, bn))
        activator = self.back(xp, wp, q) + self.back(xn, wn, q)
        q = r / safe(self.layer(xp, wn, bn) + self.layer(xn, wp, bp))
        inhibitor = self.back(xp, wn, q) + self.back(xn, wp, q)
        return alpha * activator - beta * inhibitor

    def zplus_fast(self, r: torch.Tensor) -> torch.Tensor:
        """The z-plus rule for inputs that are not negative."""
        wp = self.w.clamp(min=0)
        return self.back(self.x, wp, r / safe(self.layer(self.x, wp, self.none)))

    def constant(self, r: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        """The Z rule of an input of ones: w-square and flat."""
        ones = torch.ones_like(self.x)
        return self.back(ones, w, r / safe(self.layer(ones, w, self.none)))

    def bounded(self, r: torch.Tensor, low: float, high: float) -> torch.Tensor:
        """The z-B rule."""
        wp, wn = self.w.clamp(min=0), self.w.clamp(max=0)
        lows, highs = torch.full_like(self.x, low), torch.full_like(self.x, high)
        parts = ((self.x, self.w, 1.0), (lows, wp, -1.0), (highs, wn, -1.0))
        q = r / safe(sum(s * self.layer(x, w, self.none) for x, w, s in parts))
        return sum(s * self.back(x, w, q) for x, w, s in parts)

    def table(self, r: torch.Tensor) -> dict[str, torch.Tensor]:
        """Returns the relevance of the input, by rule."""
        return {
            "z": self.z(r, self.b),
            "z_no_bias": self.z(r, self.none),
            "epsilon": self.epsilon(r, self.b, EPSILON),
            "epsilon_no_bias": self.epsilon(r, self.none, EPSILON),
            "epsilon_large": self.epsilon(r, self.b, 0.1),
            "alpha2_beta1": self.alpha_beta(r, True, 2.0, 1.0),
            "alpha2_beta1_no_bias": self.alpha_beta(r, False, 2.0, 1.0),
            "alpha1_beta0": self.alpha_beta(r, True, 1.0, 0.0),
            "alpha1_beta0_no_bias": self.alpha_beta(r, False, 1.0, 0.0),
            "zplus": self.alpha_beta(r, False, 1.0, 0.0),
            "zplus_fast": self.zplus_fast(r),
            "wsquare": self.constant(r, self.w**2),
            "flat": self.constant(r, torch.ones_like(self.w)),
            "bounded": self.bounded(r, -3.0, 2.5),
        }


def dense_layer(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Applies an (inputs, features) kernel."""
    return x @ w + b


def same_convolution(stride: int) -> Layer:
    """Returns a 3 x 3 convolution with TensorFlow's SAME padding for even sizes."""
    before = 1 if stride == 1 else 0

    def apply(x: torch.Tensor, w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        padded = torch.nn.functional.pad(x.permute(0, 3, 1, 2), (before, 1, before, 1))
        z = torch.nn.functional.conv2d(padded, w.permute(3, 2, 0, 1), b, stride)
        return z.permute(0, 2, 3, 1)

    return apply


def golden(
    name: str, layer: Layer, x: np.ndarray, w: np.ndarray, b: np.ndarray, r_seed: int
) -> dict[str, np.ndarray]:
    """Returns the arrays of one layer."""
    rules = Rules(layer, *map(torch.from_numpy, (x, w, b)))
    output = layer(rules.x, rules.w, rules.b).numpy()
    relevance = np.random.default_rng(r_seed).normal(size=output.shape)
    arrays = {"input": x, "kernel": w, "bias": b, "output": output}
    arrays |= {"relevance_out": relevance}
    for key, value in rules.table(torch.from_numpy(relevance)).items():
        arrays[f"{key}/relevance"] = value.numpy()
    return {f"{name}/{key}": value for key, value in arrays.items()}


def add(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Returns the arrays of a residual sum, whose rule is Z."""
    x = rng.normal(size=(BATCH, 6, 2))
    relevance = rng.normal(size=(BATCH, 6))
    q = torch.from_numpy(relevance) / safe(torch.from_numpy(x.sum(-1)))
    return {
        "add/input": x,
        "add/output": x.sum(-1),
        "add/relevance_out": relevance,
        "add/z/relevance": x * q.numpy()[..., None],
    }


def main() -> None:
    """Writes the golden file."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(BATCH, 6))
    w, b = rng.normal(size=(6, 4)), rng.normal(size=4)
    arrays = golden("dense", dense_layer, x, w, b, 4)
    arrays |= golden(  # no contribution is negative: sums that are exactly zero
        "dense_nonnegative", dense_layer, np.abs(x), np.abs(w), 0 * b, 5
    )
    for stride, padding in ((1, (1, 1)), (2, (0, 1))):
        name = f"conv2d_same_stride{stride}"
        x = rng.normal(size=(BATCH, 4, 6, 2))
        w, b = rng.normal(size=(3, 3, 2, 3)), rng.normal(size=3)
        arrays |= golden(name, same_convolution(stride), x, w, b, 5 + stride)
        arrays |= {
            f"{name}/window_strides": np.array([stride, stride]),
            f"{name}/padding": np.array([padding, padding]),
            f"{name}/lhs_dilation": np.array([1, 1]),
            f"{name}/rhs_dilation": np.array([1, 1]),
            f"{name}/groups": np.array(1),
        }
    layouts.save("innvestigate_rules.npz", arrays | add(rng))


if __name__ == "__main__":
    main()
