"""The convolutional network of the golden files of attribution methods.

    h = relu(conv0(x))                              # 3 x 3, padded: 4 features
    h = relu(conv1(max_pool(h)))                    # 2 x 2; 3 x 3, padded: 5 features
    h = relu(h.flatten() @ kernel2 + bias2)         # 8 features
    output = h @ kernel3 + bias3                    # 3 classes

A golden file has `input` (2, 8, 6, 2), signed and not square, `target` (2,), `output`
(2, 3), and `params/kernel0` to `params/bias3`. Everything is flattened as in JAX,
channels last.
"""

import numpy as np
import torch
import torch_layouts as layouts

SIZE, CHANNELS, CLASSES = (8, 6), 2, 3
FEATURES = (4, 5, 8)


class ChannelsLast(torch.nn.Module):
    """Flattens `(batch, channels, *spatial)` as if channels came last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns `(batch, entries)`."""
        return x.movedim(1, -1).flatten(1)


def cnn(
    seed: int, gain: float = 1.0
) -> tuple[torch.nn.Sequential, dict[str, np.ndarray]]:
    """Returns the network, in float64, and the arrays that a golden file has of it.

    Its modules are called `conv0`, `relu0`, `pool`, `conv1`, `relu1`, `flatten`,
    `dense0`, `relu2` and `dense1`.

    Args:
        seed: of weights and inputs.
        gain: by what the weights of the last layer are multiplied.
    """
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(seed)
    first, second, third = FEATURES
    entries = SIZE[0] * SIZE[1] // 4 * second
    shapes = (3, 3, CHANNELS, first), (3, 3, first, second), (entries, third)
    arrays = {}
    for i, shape in enumerate((*shapes, (third, CLASSES))):
        scale = gain if i == 3 else np.sqrt(2 / np.prod(shape[:-1]))
        arrays[f"params/kernel{i}"] = scale * rng.normal(size=shape)
        arrays[f"params/bias{i}"] = 0.3 * rng.normal(size=shape[-1])

    def weights(i: int) -> tuple[np.ndarray, np.ndarray]:
        return arrays[f"params/kernel{i}"], arrays[f"params/bias{i}"]

    def convolved(i: int) -> torch.nn.Module:
        one = (1, 1)
        return layouts.convolution(*weights(i), strides=one, padding=one, dilation=one)

    modules = {
        "conv0": convolved(0),
        "relu0": torch.nn.ReLU(),
        "pool": torch.nn.MaxPool2d(2),
        "conv1": convolved(1),
        "relu1": torch.nn.ReLU(),
        "flatten": ChannelsLast(),
        "dense0": layouts.dense(*weights(2)),
        "relu2": torch.nn.ReLU(),
        "dense1": layouts.dense(*weights(3)),
    }
    network = torch.nn.Sequential()
    for name, module in modules.items():
        network.add_module(name, module)
    x = rng.normal(size=(2, *SIZE, CHANNELS))
    output = network(layouts.to_torch(x)).detach().numpy()
    arrays |= {"input": x, "target": np.array([2, 0]), "output": output}
    return network.eval(), arrays
