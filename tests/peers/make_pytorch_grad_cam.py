"""Makes `tests/golden/pytorch_grad_cam.npz`: maps of pytorch-grad-cam.

The network is that of `torch_cnn.py`; the weights of its last layer are large, such
that gradients are, beside which the library's stabilizers of 1e-6 are small. A map
`<method>/map` is what the library has before it takes the positive part, stretches to
[0, 1], resizes and rounds to float32. The site is the second relu, (2, 4, 3, 5), and
for `score_cam` and `fem` the first convolution, (2, 8, 6, 4), whose maps are as large
as the input, so that nothing has to be resized, and signed. `fem` counts positions that
are one standard deviation above the mean.
"""

import functools

import numpy as np
import pytorch_grad_cam
import torch_layouts as layouts
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from torch_cnn import cnn

METHODS = {
    "grad_cam": pytorch_grad_cam.GradCAM,
    "grad_cam_plus_plus": pytorch_grad_cam.GradCAMPlusPlus,
    "x_grad_cam": pytorch_grad_cam.XGradCAM,
    "hires_cam": pytorch_grad_cam.HiResCAM,
    "layer_cam": pytorch_grad_cam.LayerCAM,
    "eigen_cam": pytorch_grad_cam.EigenCAM,
    "ablation_cam": pytorch_grad_cam.AblationCAM,
    "score_cam": pytorch_grad_cam.ScoreCAM,
    "fem": functools.partial(pytorch_grad_cam.FEM, k=1),
}
AT_THE_FIRST = ("score_cam", "fem")


def main() -> None:
    """Writes the golden file."""
    network, arrays = cnn(seed=21, gain=30.0)
    x = layouts.to_torch(arrays["input"])
    targets = [ClassifierOutputTarget(int(t)) for t in arrays["target"]]
    for name, method in METHODS.items():
        site = network.conv0 if name in AT_THE_FIRST else network.relu1
        maps = method(network, [site])
        found, image = [], maps.get_cam_image

        def recorded(*args, found=found, image=image):
            found.append(image(*args))
            return found[-1]

        maps.get_cam_image = recorded
        maps(x, targets)
        arrays[f"{name}/map"] = np.asarray(found[0], float)
        maps.activations_and_grads.release()
    layouts.save("pytorch_grad_cam.npz", arrays)


if __name__ == "__main__":
    main()
