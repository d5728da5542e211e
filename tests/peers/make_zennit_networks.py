"""Makes `tests/golden/zennit_vgg.npz` and `zennit_resnet.npz`: composites of zennit.

Two tiny networks with random weights and random batch-norm statistics (some scales are
negative), float64, 3 signed images of 16 x 16 x 3, 5 classes. Nothing but the
parameters below is needed to replay them with channels-last arrays.

Both files have

* `input` (3, 16, 16, 3), `target` (3,), `output` (3, 5);
* `low`, `high` (1, 1, 1, 3): the box of `epsilon_gamma_box`;
* `<composite>/relevance` (3, 16, 16, 3), for each of `RELEVANCES` and `GRADIENTS`, and
  `gradient/relevance`, the gradient of the target's logit;
* `params/...`: convolution kernels HWIO, dense kernels (inputs, features), and batch
  norm as `scale`, `bias`, `mean`, `var`, with epsilon 1e-5: `(x - mean) / sqrt(var +
  1e-5) * scale + bias`.

VGG, after torchvision's vgg11_bn:

    for i in range(6):
        x = relu(bn{i}(conv{i}(x)))        # 3 x 3, stride 1, padding 1, with a bias
        if i in (0, 1, 3): x = max_pool(x) # 2 x 2, stride 2: 16 -> 8 -> 4 -> 2
    x = x.reshape(3, -1)                   # of NHWC: dense0's rows were permuted for it
    x = relu(dense0(x))
    output = dense1(x)

ResNet, after torchvision's resnet18, convolutions without a bias:

    x = relu(stem_bn(stem(x)))             # 3 x 3, stride 1, padding 1
    x = max_pool(x)                        # 3 x 3, stride 2, padding 1: 16 -> 8
    for i, stride in enumerate((1, 2, 1)):
        y = relu(block{i}/bn0(block{i}/conv0(x)))   # 3 x 3, stride, padding 1
        y = block{i}/bn1(block{i}/conv1(y))         # 3 x 3, stride 1, padding 1
        if i == 1: x = block1/projection_bn(block1/projection(x))  # 1 x 1, stride 2
        x = relu(x + y)
    x = x.mean((1, 2))
    output = dense(x)

What flows back starts as `output * one_hot(target)` for `RELEVANCES`, and as
`one_hot(target)` for `GRADIENTS`, which only change the gradient of relu. `README.md`
says how zennit maps rules to layers.
"""

import itertools
from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch_layouts as layouts
from zennit import canonizers, composites, core
from zennit.layer import Sum

BATCH, SIZE, CLASSES = 3, 16, 5
EPSILON = 1e-5  # of batch norm
RELEVANCES: dict[str, Callable[..., core.Composite]] = {
    "epsilon_plus": composites.EpsilonPlus,
    "epsilon_plus_flat": composites.EpsilonPlusFlat,
    "epsilon_alpha2_beta1": composites.EpsilonAlpha2Beta1,
    "epsilon_alpha2_beta1_flat": composites.EpsilonAlpha2Beta1Flat,
    "epsilon_gamma_box": composites.EpsilonGammaBox,
    "excitation_backprop": composites.ExcitationBackprop,
}
GRADIENTS: dict[str, Callable[..., core.Composite]] = {
    "gradient": lambda canonizers: core.Composite(canonizers=canonizers),
    "guided_backprop": composites.GuidedBackprop,
    "deconvnet": composites.DeconvNet,
    "beta_smooth": composites.BetaSmooth,
}
VGG_CHANNELS = (3, 4, 6, 8, 8, 10, 10)
VGG_POOLED = (0, 1, 3)
RESNET_CHANNELS = (4, 4, 6, 6)
RESNET_STRIDES = (1, 2, 1)

Arrays = dict[str, np.ndarray]


def kernel(rng: np.random.Generator, *shape: int) -> np.ndarray:
    """Returns a kernel whose outputs have about the scale of its inputs."""
    return rng.normal(size=shape) * np.sqrt(1.5 / np.prod(shape[:-1]))


def batch_norm(rng: np.random.Generator, channels: int) -> Arrays:
    """Returns random statistics, and scales of which a fifth is negative."""
    sign = np.where(rng.uniform(size=channels) < 0.2, -1.0, 1.0)
    return {
        "scale": sign * rng.uniform(0.5, 1.5, channels),
        "bias": 0.3 * rng.normal(size=channels),
        "mean": 0.3 * rng.normal(size=channels),
        "var": rng.uniform(0.5, 1.5, channels),
    }


def nested(name: str, arrays: Mapping[str, np.ndarray]) -> Arrays:
    """Prefixes the keys of `arrays`."""
    return {f"{name}/{key}": value for key, value in arrays.items()}


def vgg_parameters(rng: np.random.Generator) -> Arrays:
    """Returns the VGG's parameters."""
    arrays = {}
    for i, (before, after) in enumerate(itertools.pairwise(VGG_CHANNELS)):
        arrays[f"conv{i}/kernel"] = kernel(rng, 3, 3, before, after)
        arrays[f"conv{i}/bias"] = 0.3 * rng.normal(size=after)
        arrays |= nested(f"bn{i}", batch_norm(rng, after))
    for i, (before, after) in enumerate(((4 * VGG_CHANNELS[-1], 16), (16, CLASSES))):
        arrays[f"dense{i}/kernel"] = kernel(rng, before, after)
        arrays[f"dense{i}/bias"] = 0.3 * rng.normal(size=after)
    return arrays


def resnet_parameters(rng: np.random.Generator) -> Arrays:
    """Returns the ResNet's parameters."""
    stem = RESNET_CHANNELS[0]
    arrays = {"stem/kernel": kernel(rng, 3, 3, 3, stem)}
    arrays |= nested("stem_bn", batch_norm(rng, stem))
    for i, (before, after) in enumerate(itertools.pairwise(RESNET_CHANNELS)):
        arrays[f"block{i}/conv0/kernel"] = kernel(rng, 3, 3, before, after)
        arrays |= nested(f"block{i}/bn0", batch_norm(rng, after))
        arrays[f"block{i}/conv1/kernel"] = kernel(rng, 3, 3, after, after)
        arrays |= nested(f"block{i}/bn1", batch_norm(rng, after))
        if before != after:
            arrays[f"block{i}/projection/kernel"] = kernel(rng, 1, 1, before, after)
            arrays |= nested(f"block{i}/projection_bn", batch_norm(rng, after))
    arrays["dense/kernel"] = kernel(rng, RESNET_CHANNELS[-1], CLASSES)
    arrays["dense/bias"] = 0.3 * rng.normal(size=CLASSES)
    return arrays


def convolution(arrays: Arrays, name: str, stride: int = 1) -> torch.nn.Module:
    """Returns a convolution that keeps the size (up to its stride)."""
    array = arrays[f"{name}/kernel"]
    return layouts.convolution(
        array,
        arrays.get(f"{name}/bias"),
        strides=(stride, stride),
        padding=(array.shape[0] // 2,) * 2,
        dilation=(1, 1),
    )


def normalization(arrays: Arrays, name: str) -> torch.nn.Module:
    """Returns a batch norm in inference mode, its epsilon added to the variance.

    zennit's canonizer folds a batch norm and leaves an identity behind, with mean 0 and
    variance 1, but with its epsilon: every layer's output would be divided by
    `sqrt(1 + 1e-5)`, and relevances be off by up to 4e-4. With an epsilon of zero the
    function is the same, and so is the canonized one.
    """
    channels = len(arrays[f"{name}/scale"])
    module = torch.nn.BatchNorm2d(channels, eps=0.0, dtype=torch.float64)
    layouts.assign(module.weight, arrays[f"{name}/scale"])
    layouts.assign(module.bias, arrays[f"{name}/bias"])
    module.running_mean = torch.from_numpy(arrays[f"{name}/mean"])
    module.running_var = torch.from_numpy(arrays[f"{name}/var"] + EPSILON)
    return module.eval()


def vgg(arrays: Arrays) -> torch.nn.Module:
    """Returns the VGG of the module's docstring."""
    modules: list[torch.nn.Module] = []
    for i in range(len(VGG_CHANNELS) - 1):
        modules += [convolution(arrays, f"conv{i}"), normalization(arrays, f"bn{i}")]
        modules += [torch.nn.ReLU()]
        modules += [torch.nn.MaxPool2d(2)] if i in VGG_POOLED else []
    rows = arrays["dense0/kernel"]  # ours are ordered by height, width, channel
    by_channel = rows.reshape(2, 2, -1, rows.shape[-1]).transpose(2, 0, 1, 3)
    head = layouts.dense(by_channel.reshape(rows.shape), arrays["dense0/bias"])
    last = layouts.dense(arrays["dense1/kernel"], arrays["dense1/bias"])
    return torch.nn.Sequential(
        *modules, torch.nn.Flatten(), head, torch.nn.ReLU(), last
    ).eval()


class Block(torch.nn.Module):
    """A basic block whose sum is a module, as zennit needs it."""

    def __init__(self, arrays: Arrays, name: str, stride: int):
        """Takes the parameters below `name`."""
        super().__init__()
        self.branch = torch.nn.Sequential(
            convolution(arrays, f"{name}/conv0", stride),
            normalization(arrays, f"{name}/bn0"),
            torch.nn.ReLU(),
            convolution(arrays, f"{name}/conv1"),
            normalization(arrays, f"{name}/bn1"),
        )
        self.skip = torch.nn.Sequential()
        if f"{name}/projection/kernel" in arrays:
            self.skip = torch.nn.Sequential(
                convolution(arrays, f"{name}/projection", stride),
                normalization(arrays, f"{name}/projection_bn"),
            )
        self.sum = Sum(-1)
        self.relu = torch.nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the block's output."""
        return self.relu(self.sum(torch.stack([self.skip(x), self.branch(x)], -1)))


def resnet(arrays: Arrays) -> torch.nn.Module:
    """Returns the ResNet of the module's docstring."""
    return torch.nn.Sequential(
        convolution(arrays, "stem"),
        normalization(arrays, "stem_bn"),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(3, 2, 1),
        *(Block(arrays, f"block{i}", s) for i, s in enumerate(RESNET_STRIDES)),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        layouts.dense(arrays["dense/kernel"], arrays["dense/bias"]),
    ).eval()


def attribute(
    network: torch.nn.Module,
    composite: core.Composite,
    x: torch.Tensor,
    seed: torch.Tensor,
) -> torch.Tensor:
    """Returns what `composite` sends back to `x` from `seed` at the output."""
    with composite.context(network) as modified:
        leaf = x.clone().requires_grad_()
        (result,) = torch.autograd.grad(modified(leaf), leaf, seed)
    return result


def golden(
    network: torch.nn.Module, parameters: Arrays, rng: np.random.Generator
) -> Arrays:
    """Returns all arrays of one network."""
    image = rng.normal(size=(BATCH, SIZE, SIZE, 3))
    low = -5.0 - rng.uniform(size=(1, 1, 1, 3))
    high = 5.0 + rng.uniform(size=(1, 1, 1, 3))
    target = rng.permutation(CLASSES)[:BATCH]
    x = layouts.to_torch(image)
    output = network(x).detach()
    one_hot = torch.eye(CLASSES, dtype=torch.float64)[target]
    box = {"low": layouts.to_torch(low), "high": layouts.to_torch(high)}
    arrays = {"input": image, "target": target, "output": output.numpy()}
    arrays |= {"low": low, "high": high} | nested("params", parameters)
    for name, make in (RELEVANCES | GRADIENTS).items():
        options = box if name == "epsilon_gamma_box" else {}
        composite = make(canonizers=[canonizers.SequentialMergeBatchNorm()], **options)
        seed = one_hot * output if name in RELEVANCES else one_hot
        relevance = attribute(network, composite, x, seed)
        arrays[f"{name}/relevance"] = layouts.from_torch(relevance)
    return arrays


def main() -> None:
    """Writes the golden files."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    for name, draw, make in (
        ("zennit_vgg.npz", vgg_parameters, vgg),
        ("zennit_resnet.npz", resnet_parameters, resnet),
    ):
        parameters = draw(rng)
        layouts.save(name, golden(make(parameters), parameters, rng))


if __name__ == "__main__":
    main()
