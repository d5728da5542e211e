"""The oracles themselves: identities that a wrong sign would break."""

import functools

import numpy as np
import pytest
from scipy import signal

from . import linear_maps, paths, relu_rules, rules, stabilizers

EXACT = stabilizers.exact()


@pytest.fixture
def layer():
    """A small affine layer: matrix, bias, input and relevance of the output."""
    rng = np.random.default_rng(0)
    matrix, bias = rng.normal(size=(4, 6)), rng.normal(size=4)
    return matrix, bias, rng.normal(size=6), rng.normal(size=4)


@pytest.mark.parametrize(
    "rule",
    [
        rules.epsilon,
        rules.gamma,
        rules.alpha_beta,
        rules.innvestigate_alpha_beta,
        rules.z_plus,
        rules.z_box,
        rules.w_square,
        rules.flat,
    ],
)
def test_without_bias_relevance_is_conserved(rule, layer):
    matrix, bias, x, relevance = layer
    rule = functools.partial(rule, stabilize=EXACT)
    received = rule(matrix, np.zeros_like(bias), x, relevance)
    np.testing.assert_allclose(received.sum(), relevance.sum(), rtol=1e-12)


def test_epsilon_zero_is_input_times_gradient(layer):
    matrix, bias, x, _ = layer
    z = matrix @ x + bias
    received = rules.epsilon(matrix, bias, x, z, EXACT)
    np.testing.assert_allclose(received, x * matrix.sum(axis=0), rtol=1e-12)


def test_bias_absorbs_its_share(layer):
    matrix, bias, x, relevance = layer
    z = matrix @ x + bias
    lost = (bias / z * relevance).sum()
    received = rules.epsilon(matrix, bias, x, relevance, EXACT)
    np.testing.assert_allclose(received.sum() + lost, relevance.sum(), rtol=1e-12)


def test_stabilizer_absorbs_its_share(layer):
    matrix, _, x, relevance = layer
    z = matrix @ x
    lost = 0.5 / (np.abs(z) + 0.5) * relevance
    received = rules.epsilon(matrix, np.zeros(4), x, relevance, stabilizers.signed(0.5))
    np.testing.assert_allclose(received.sum() + lost.sum(), relevance.sum(), rtol=1e-12)


def test_z_plus_is_alpha1_beta0(layer):
    expected = rules.alpha_beta(*layer, alpha=1.0, beta=0.0)
    np.testing.assert_allclose(rules.z_plus(*layer), expected, rtol=1e-14)


def test_conventions_of_alpha_beta_differ_by_the_bias(layer):
    matrix, bias, x, relevance = layer
    without = matrix, np.zeros_like(bias), x, relevance
    ours = rules.alpha_beta(*without, stabilize=EXACT)
    np.testing.assert_allclose(rules.innvestigate_alpha_beta(*without), ours)
    ours = rules.alpha_beta(*layer, stabilize=EXACT)
    assert not np.allclose(rules.innvestigate_alpha_beta(*layer), ours)


def test_alpha_multiplies_relevance_if_nothing_is_negative():
    matrix, x, relevance = np.ones((2, 3)), np.ones(3), np.array([1.0, 2.0])
    received = rules.alpha_beta(matrix, np.zeros(2), x, relevance)
    np.testing.assert_allclose(received.sum(), 6.0, rtol=1e-6)


def test_gamma_runs_from_epsilon_to_the_contributions_of_one_sign(layer):
    matrix, bias, x, relevance = layer
    small = rules.gamma(*layer, gamma=0.0)
    np.testing.assert_allclose(small, rules.epsilon(*layer), rtol=1e-12)
    up = matrix @ x + bias > 0
    limit = rules.z_plus(matrix, bias, x, np.where(up, relevance, 0.0))
    limit += rules.z_plus(-matrix, -bias, x, np.where(up, 0.0, relevance))
    large = rules.gamma(*layer, gamma=1e8)
    np.testing.assert_allclose(large, limit, rtol=1e-5)


def test_gamma_by_hand():
    matrix, x = np.array([[1.0, -1.0]]), np.array([3.0, 1.0])
    received = rules.gamma(matrix, np.zeros(1), x, np.array([1.0]), EXACT, 1.0)
    np.testing.assert_allclose(received, [6 / 5, -1 / 5])


def test_z_box_by_hand():
    matrix, x = np.array([[1.0, -2.0]]), np.array([0.5, 0.25])
    received = rules.z_box(
        matrix, np.array([7.0]), x, np.array([1.0]), EXACT, low=-1.0, high=1.0
    )  # 0.5 + 1 and -0.5 + 2
    np.testing.assert_allclose(received, [0.5, 0.5])


def test_w_square_by_hand():
    matrix, x, relevance = np.array([[1.0, -2.0]]), np.zeros(2), np.array([1.0])
    received = rules.w_square(matrix, np.array([2.0]), x, relevance, EXACT)
    np.testing.assert_allclose(received, [1 / 9, 4 / 9])


def test_ratio_sums_conserve_and_only_the_absolute_one_is_bounded():
    left, right, relevance = np.array([1.0, 0.0]), np.array([-1.001, 0.0]), np.ones(2)
    ratio = rules.ratio_sum(left[:1], right[:1], relevance[:1], EXACT)
    np.testing.assert_allclose(sum(ratio), 1.0)
    assert np.abs(ratio[0]) > 900
    absolute = rules.absolute_ratio_sum(left, right, relevance)
    np.testing.assert_allclose(sum(absolute), [1.0, 0.0])
    np.testing.assert_allclose(absolute[0], [1 / 2.001, 0.0])


def test_stabilizers_by_hand():
    z = np.array([-3.0, 0.0, 4.0, -0.1])
    norm = np.sqrt(25.01 / 4)
    expected = {
        stabilizers.signed(0.5): [-3.5, 0.5, 4.5, -0.6],
        stabilizers.clipped(0.5): [-3.0, 0.5, 4.0, -0.5],
        stabilizers.norm_scaled(2.0): [-3 - 2 * norm, 2 * norm, 4 + 2 * norm],
        stabilizers.norm_scaled(1.0, clip=True): [-3.0, norm, 4.0, -norm],
        stabilizers.only_zeros(0.5): [-3.0, 0.5, 4.0, -0.1],
    }
    for stabilize, values in expected.items():
        np.testing.assert_allclose(stabilize(z)[: len(values)], values)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_matrix_of_a_convolution_correlates(rank):
    rng = np.random.default_rng(rank)
    x, kernel = rng.normal(size=(4,) * rank), rng.normal(size=(3,) * rank)
    matrix, shape = linear_maps.convolution(
        (*x.shape, 1), kernel[..., None, None], (1,) * rank, ((1, 1),) * rank
    )
    expected = signal.correlate(x, kernel, "same", "direct")
    np.testing.assert_allclose((matrix @ x.reshape(-1)).reshape(x.shape), expected)
    assert shape == (*x.shape, 1)


def test_matrix_of_a_strided_dilated_grouped_convolution():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(9, 4)), rng.normal(size=(3, 2, 6))
    matrix, shape = linear_maps.convolution(
        x.shape, kernel, (2,), ((1, 2),), rhs_dilation=(2,), groups=2
    )
    padded = np.pad(x, ((1, 2), (0, 0)))
    expected = np.stack(
        [
            np.concatenate(
                [
                    np.einsum("kc,kcf->f", taps[:, :2], kernel[..., :3]),
                    np.einsum("kc,kcf->f", taps[:, 2:], kernel[..., 3:]),
                ]
            )
            for taps in (padded[start : start + 5 : 2] for start in range(0, 8, 2))
        ]
    )
    assert shape == expected.shape
    np.testing.assert_allclose((matrix @ x.reshape(-1)).reshape(shape), expected)


def test_lhs_dilation_is_the_adjoint_of_a_stride():
    rng = np.random.default_rng(0)
    kernel = rng.normal(size=(3, 2, 5))
    there, shape = linear_maps.convolution((7, 2), kernel, (2,), ((1, 1),))
    flipped = np.flip(kernel, 0).swapaxes(1, 2)
    back, _ = linear_maps.convolution(shape, flipped, (1,), ((1, 1),), (2,))
    np.testing.assert_allclose(back, there.T)


def test_matrix_of_average_pooling_averages():
    matrix, shape = linear_maps.average_pool((4, 6, 2), (2, 3), (2, 3), ((0, 0),) * 2)
    x = np.random.default_rng(0).normal(size=(4, 6, 2))
    expected = x.reshape(2, 2, 2, 3, 2).mean((1, 3))
    np.testing.assert_allclose((matrix @ x.reshape(-1)).reshape(shape), expected)


def test_matrix_of_a_dense_layer_contracts_the_last_axis():
    rng = np.random.default_rng(0)
    x, kernel = rng.normal(size=(2, 3, 4)), rng.normal(size=(4, 5))
    matrix, shape = linear_maps.dense(x.shape, kernel)
    np.testing.assert_allclose((matrix @ x.reshape(-1)).reshape(shape), x @ kernel)


def test_relu_rules_by_hand():
    x = np.array([-1.0, -1.0, 1.0, 1.0, 0.0])
    upstream = np.array([-2.0, 2.0, -2.0, 2.0, 2.0])
    assert relu_rules.deconvnet(upstream).tolist() == [0, 2, 0, 2, 2]
    assert relu_rules.guided(x, upstream).tolist() == [0, 0, 0, 2, 0]
    assert relu_rules.relu_gradient(x, upstream).tolist() == [0, 0, -2, 2, 0]
    smooth = relu_rules.beta_smooth(x, upstream, beta=2.0)
    np.testing.assert_allclose(smooth, upstream / (1 + np.exp(-2 * x)), rtol=1e-14)


@pytest.mark.parametrize(
    ("method", "order"),
    [
        ("riemann_left", 0),
        ("riemann_right", 0),
        ("riemann_middle", 1),
        ("trapezoid", 1),
        ("gausslegendre", 9),
    ],
)
def test_quadrature_is_exact_up_to_its_order(method, order):
    nodes, weights = paths.quadrature(method, 5)
    for power in range(order + 1):
        integral = (weights * nodes**power).sum()
        np.testing.assert_allclose(integral, 1 / (power + 1), rtol=1e-14)
    beyond = (weights * nodes ** (order + 1)).sum()
    assert abs(beyond - 1 / (order + 2)) > 1e-7
    assert np.all((nodes >= 0) & (nodes <= 1))


def test_riemann_sums_start_and_end_where_they_say():
    assert paths.quadrature("riemann_left", 4)[0].tolist() == [0, 0.25, 0.5, 0.75]
    assert paths.quadrature("riemann_right", 4)[0].tolist() == [0.25, 0.5, 0.75, 1]
    assert paths.quadrature("trapezoid", 3)[0].tolist() == [0, 0.5, 1]
    with pytest.raises(ValueError, match="'simpson'"):
        paths.quadrature("simpson", 4)


def test_integrated_gradients_of_a_cube_are_complete():
    x, baseline = np.array([[1.0, -2.0]]), np.array([[0.5, 1.0]])
    nodes, weights = paths.quadrature("gausslegendre", 2)
    received = paths.integrated_gradients(
        lambda v: 3 * v**2, x, baseline, nodes, weights
    )
    np.testing.assert_allclose(received, x**3 - baseline**3)


def test_statistics_of_noisy_attributions():
    samples = np.random.default_rng(0).normal(size=(5, 2, 3))
    mean, square = paths.smooth(samples), paths.smooth(samples, "mean_square")
    np.testing.assert_allclose(mean, samples.mean(0))
    np.testing.assert_allclose(paths.smooth(samples, "variance"), square - mean**2)
    with pytest.raises(ValueError, match="'median'"):
        paths.smooth(samples, "median")


def test_noise_scale_is_relative_to_the_range_of_an_example():
    x = np.array([[[0.0, 2.0]], [[-1.0, 3.0]]])
    assert paths.noise_scale(x, 0.5).tolist() == [[[1.0]], [[2.0]]]
