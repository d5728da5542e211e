"""Makes `tests/golden/captum_ig.npz`: captum's integrated gradients of a smooth MLP.

    h = tanh(x @ kernel0 + bias0)
    h = softplus(h @ kernel1 + bias1)
    output = h @ kernel2 + bias2

Arrays, float64: `input` (4, 5), `target` (4,), `output` (4, 3), `params/kernel0`
(inputs, features) to `params/bias2`, `baseline/scalar` (), `baseline/tensor` (4, 5),
and for each baseline, method and number of steps
`<baseline>/<method>/<steps>/attribution` (4, 5), e.g.
`tensor/gausslegendre/50/attribution`.

captum multiplies by quadrature weights **rounded to float32**, whatever the dtype of
the gradients, so its numbers are right to about 1e-7 relative only; the Riemann sums
with 8 steps, whose weights 1/8 are exact, are right to float64's precision. Its nodes
are made with `torch.linspace`, in torch's default dtype, which is therefore set to
float64 here.
captum's `riemann_trapezoid` is left out: its weights add up to (n - 1) / n.
"""

import numpy as np
import torch
import torch_layouts as layouts
from captum.attr import IntegratedGradients

METHODS = ("gausslegendre", "riemann_left", "riemann_right", "riemann_middle")
STEPS = (7, 8, 50)
WIDTHS = (5, 8, 6, 3)
BATCH = 4


def main() -> None:
    """Writes the golden file."""
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    rng = np.random.default_rng(2)
    arrays, modules = {}, []
    activations = (torch.nn.Tanh(), torch.nn.Softplus(), torch.nn.Identity())
    for i, activation in enumerate(activations):
        kernel = rng.normal(size=(WIDTHS[i], WIDTHS[i + 1]))
        bias = rng.normal(size=WIDTHS[i + 1])
        arrays |= {f"params/kernel{i}": kernel, f"params/bias{i}": bias}
        modules += [layouts.dense(kernel, bias), activation]
    network = torch.nn.Sequential(*modules)
    x = rng.normal(size=(BATCH, WIDTHS[0]))
    target = rng.integers(WIDTHS[-1], size=BATCH)
    output = network(torch.from_numpy(x)).detach().numpy()
    arrays |= {"input": x, "target": target, "output": output}
    baselines = {"scalar": np.array(0.25), "tensor": rng.normal(size=x.shape)}
    for name, baseline in baselines.items():
        arrays[f"baseline/{name}"] = baseline
        start = baseline.item() if baseline.ndim == 0 else torch.from_numpy(baseline)
        for method in METHODS:
            for steps in STEPS:
                attribution = IntegratedGradients(network).attribute(
                    torch.from_numpy(x),
                    start,
                    target=torch.from_numpy(target),
                    n_steps=steps,
                    method=method,
                )
                key = f"{name}/{method}/{steps}/attribution"
                arrays[key] = attribution.detach().numpy()
    layouts.save("captum_ig.npz", arrays)


if __name__ == "__main__":
    main()
