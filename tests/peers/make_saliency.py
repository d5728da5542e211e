"""Makes `tests/golden/saliency.npz`: XRAI, guided IG and blur IG of PAIR's saliency.

    smooth(x) = tanh(x.flatten() @ kernel0 + bias0) @ kernel1
    square(x) = (x.flatten() @ kernel0 + bias0) ** 2 @ kernel1

`input` (2, 8, 6, 1) and `baseline` (2, 8, 6, 1) are signed, `target` (2,) is a column
of `params/kernel1` (6, 3); `params/kernel0` is (48, 6), `params/bias0` (6,). Of three
methods:

`xrai/map` (2, 8, 6): of `square`, whose slopes change evenly along a line, so that the
    library's sum with equal weights for all points, the ends included, is the integral.
    Of `xrai/segments` (2, 8, 6), two segment maps whose regions overlap, and
    `xrai/baselines` (2, 8, 6, 1); regions have three new pixels at least.
`guided_ig/bounded/left`, `.../path` (2, 16, 8, 6, 1), `.../slopes`: of `smooth`, in 15
    steps, what the library returns; the points where it asked for slopes, then the
    input; the slopes there. `guided_ig/free/...`: of a path that is not bounded.
`blur_ig/attribution`: of `smooth`, with `blur_ig/max_sigma`. The library's left sum is
    extrapolated from those of `BLUR_STEPS` to infinitely many steps, its difference of
    blurs is over 1e-6 and not 0.01, and its Gaussians are cut at 9 deviations, not 4.
"""

import functools
import itertools
from unittest import mock

import numpy as np
import saliency.core as saliency
import torch_layouts as layouts
from saliency.core import blur_ig

SHAPE, HIDDEN, CLASSES = (8, 6, 1), 6, 3
GUIDED_STEPS, XRAI_STEPS, BLUR_STEPS, MAX_SIGMA = 15, 20, (400, 800, 1600, 3200), 3.0
KEY = saliency.base.INPUT_OUTPUT_GRADIENTS


def slopes_of(arrays, target, squared):
    """Returns the library's callback, which computes gradients."""
    kernel, bias, head = (
        arrays[f"params/{k}"] for k in ("kernel0", "bias0", "kernel1")
    )

    def call(x, call_model_args=None, expected_keys=None):
        z = x.reshape(len(x), -1) @ kernel + bias
        slope = 2 * z if squared else 1 - np.tanh(z) ** 2
        return {KEY: (slope * head[:, target] @ kernel.T).reshape(x.shape)}

    return call


def guided(call, x, baseline, max_dist):
    """Returns what guided IG returns, its path, and the slopes there."""
    path, slopes = [], []

    def recorded(point, **options):
        found = call(point, **options)
        path.append(point[0].copy())
        slopes.append(found[KEY][0])
        return found

    # NumPy has another name for the argument now.
    quantile = np.quantile

    def renamed(values, share, interpolation):
        return quantile(values, share, method=interpolation)

    with mock.patch.object(np, "quantile", renamed):
        left = saliency.GuidedIG().GetMask(
            x,
            recorded,
            x_baseline=baseline,
            x_steps=GUIDED_STEPS,
            max_dist=max_dist,
        )
    recorded(x[None])
    return {"left": left, "path": np.array(path), "slopes": np.array(slopes)}


def blurred(call, x):
    """Returns blur IG, extrapolated as a sum whose error is a series in 1/steps."""
    wide = functools.partial(blur_ig.ndimage.gaussian_filter, truncate=9.0)
    with mock.patch.object(blur_ig.ndimage, "gaussian_filter", wide):
        sums = [
            saliency.BlurIG().GetMask(
                x, call, max_sigma=MAX_SIGMA, steps=steps, grad_step=1e-6
            )
            for steps in BLUR_STEPS
        ]
    for order in (1, 2, 4):  # of the errors of a left sum, by Euler and Maclaurin
        sums = [
            (2**order * fine - coarse) / (2**order - 1)
            for coarse, fine in itertools.pairwise(sums)
        ]
    return sums[0]


def xrai(call, x, segments, baselines):
    """Returns the map of XRAI."""
    parameters = saliency.XRAIParameters(steps=XRAI_STEPS)
    parameters.experimental_params["min_pixel_diff"] = 3
    masks = [map_ == i for map_ in segments for i in range(map_.max() + 1)]
    return saliency.XRAI().GetMask(
        x,
        call,
        baselines=list(baselines),
        segments=masks,
        extra_parameters=parameters,
    )


def main() -> None:
    """Writes the golden file."""
    rng = np.random.default_rng(31)
    x, baseline = rng.normal(size=(2, 2, *SHAPE))
    entries = np.prod(SHAPE)
    arrays = {
        "params/kernel0": 1.5 * rng.normal(size=(entries, HIDDEN)) / np.sqrt(entries),
        "params/bias0": 0.5 * rng.normal(size=HIDDEN),
        "params/kernel1": rng.normal(size=(HIDDEN, CLASSES)),
        "input": x,
        "baseline": baseline,
        "target": np.array([2, 0]),
        "xrai/baselines": np.stack([np.full(SHAPE, -0.5), rng.normal(size=SHAPE)]),
        "blur_ig/max_sigma": np.array(MAX_SIGMA),
    }
    rows, columns = np.indices(SHAPE[:2])
    blocks = rows // 3 * 2 + columns // 3
    stripes = (rows + columns) // 4
    arrays["xrai/segments"] = np.stack([blocks, stripes])
    found = []
    for i, target in enumerate(arrays["target"]):
        smooth = slopes_of(arrays, target, squared=False)
        square = slopes_of(arrays, target, squared=True)
        regions = arrays["xrai/segments"], arrays["xrai/baselines"]
        bounded = guided(smooth, x[i], baseline[i], 0.05)
        free = guided(smooth, x[i], baseline[i], 1.0)
        found.append(
            {"xrai/map": xrai(square, x[i], *regions)}
            | {"blur_ig/attribution": blurred(smooth, x[i])}
            | {f"guided_ig/bounded/{k}": v for k, v in bounded.items()}
            | {f"guided_ig/free/{k}": v for k, v in free.items()}
        )
    arrays |= {k: np.stack([each[k] for each in found]) for k in found[0]}
    layouts.save("saliency.npz", arrays)


if __name__ == "__main__":
    main()
