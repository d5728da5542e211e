"""Makes `tests/golden/shap_lime.npz`: exact Shapley values of shap, lime's local model.

The network is that of `torch_cnn.py`. `segments` (8, 6) are six regions, `baseline` (8,
6, 2) and `background` (3, 8, 6, 2) take the place of what is hidden.

`shap/exact` (2, 6) and `shap/kernel` (2, 6): values of the segments by shap's exact and
    its kernel explainer, with all coalitions. `shap/background` (2, 6): exact, of the
    mean score over the background. `shap/owen` (2, 6): a hierarchy of the pairs of
    segments, 0 and 1, 2 and 3, 4 and 5, of which the first two form a pair again.
`lime/coefficients` (2, 6), `lime/intercept` (2,): of lime's explainer of images, with
    `lime/masks` (40, 6), each segment kept or not, and `lime/width`.
"""

import numpy as np
import shap
import torch
import torch_layouts as layouts
from lime.lime_image import LimeImageExplainer
from torch_cnn import cnn

SEGMENTS, SAMPLES, WIDTH = 6, 40, 0.3


def scores_of(network, target):
    """Returns the score of images of one example, channels last, with NumPy."""

    def scores(images):
        with torch.no_grad():
            return network(layouts.to_torch(images)).numpy()[:, target]

    return scores


def game_of(scores, x, fillings, segments):
    """Returns the mean score of coalitions, over what takes the place of the rest."""

    def game(coalitions):
        kept = np.asarray(coalitions, bool)[:, segments][..., None]
        return np.mean([scores(np.where(kept, x, b)) for b in fillings], axis=0)

    return game


def exact(game, clustering=None):
    """Returns exact Shapley values, or Owen values of a hierarchy."""
    none, every = np.zeros((1, SEGMENTS)), np.ones((1, SEGMENTS))
    masker = shap.maskers.Independent(none)
    if clustering is not None:
        masker = shap.maskers.Partition(none, clustering=clustering)
    return shap.explainers.ExactExplainer(game, masker)(every).values[0]


def lime(network, x, baseline, segments, target):
    """Returns the intercept, the coefficients, and the masks of lime."""
    explainer = LimeImageExplainer(
        kernel_width=WIDTH, feature_selection="none", random_state=0
    )
    masks, data_labels = [], explainer.data_labels

    def recorded(*args, **kwargs):
        found = data_labels(*args, **kwargs)
        masks.append(found[0])
        return found

    explainer.data_labels = recorded
    with torch.no_grad():
        explanation = explainer.explain_instance(
            x,
            lambda images: network(layouts.to_torch(images)).numpy(),
            labels=(target,),
            hide_color=baseline,
            top_labels=None,
            num_samples=SAMPLES,
            segmentation_fn=lambda image: segments,
        )
    coefficients = dict(explanation.local_exp[target])
    values = np.array([coefficients[i] for i in range(SEGMENTS)])
    return explanation.intercept[target], values, masks[0]


def main() -> None:
    """Writes the golden file."""
    network, arrays = cnn(seed=41)
    rng = np.random.default_rng(42)
    shape = arrays["input"].shape[1:]
    segments = np.arange(8)[:, None] // 3 * 2 + np.arange(6)[None] // 3
    arrays |= {"segments": segments, "lime/width": np.array(WIDTH)}
    arrays["baseline"] = 0.5 * rng.normal(size=shape)
    arrays["background"] = rng.normal(size=(3, *shape))
    # Pairs of neighbors first, then the first two pairs, then all, as scipy has it.
    tree = np.array(
        [[0, 1, 0.1, 2], [2, 3, 0.2, 2], [4, 5, 0.3, 2], [6, 7, 1, 4], [8, 9, 2, 6]]
    )
    found = []
    baseline = arrays["baseline"]
    for x, target in zip(arrays["input"], arrays["target"], strict=True):
        scores = scores_of(network, target)
        alone = game_of(scores, x, baseline[None], segments)
        several = game_of(scores, x, arrays["background"], segments)
        kernel = shap.KernelExplainer(alone, np.zeros((1, SEGMENTS)))
        intercept, coefficients, masks = lime(
            network, x, baseline, segments, int(target)
        )
        found.append(
            {
                "shap/exact": exact(alone),
                "shap/background": exact(several),
                "shap/owen": exact(alone, tree),
                "shap/kernel": kernel.shap_values(
                    np.ones((1, SEGMENTS)), nsamples=2**SEGMENTS, l1_reg=False
                )[0],
                "lime/intercept": intercept,
                "lime/coefficients": coefficients,
            }
        )
    arrays["lime/masks"] = masks.astype(bool)  # the same for both examples
    arrays |= {k: np.stack([each[k] for each in found]) for k in found[0]}
    layouts.save("shap_lime.npz", arrays)


if __name__ == "__main__":
    main()
