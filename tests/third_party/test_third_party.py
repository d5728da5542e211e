"""Models of other packages are read, edited and explained as they are."""

import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxinterp as ji
from jaxinterp.rules import UnmatchedSiteError
from jaxinterp.tracing.errors import NoDerivativeError
from tests.third_party.models import Model
from tests.third_party.peers import PEERS, Peer

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("ignore"),  # other packages may warn of their own
]
TARGET = jnp.array([0, 0])


@pytest.fixture(scope="module", autouse=True)
def any_ranks() -> Iterator[None]:
    """Other packages add arrays of different ranks."""
    with jax.numpy_rank_promotion("allow"):
        yield


@pytest.fixture(
    scope="module", params=PEERS, ids=lambda peer: f"{peer.package}-{peer.name}"
)
def peer(request: pytest.FixtureRequest) -> Peer:
    try:
        version(request.param.package)
    except PackageNotFoundError:
        pytest.skip(f"{request.param.package} is not installed")
    return request.param


@pytest.fixture(scope="module")
def model(peer: Peer, any_ranks: None) -> Model:
    """A model in the precision that it runs in."""

    def cast(leaf: Any) -> Any:
        is_real = jnp.issubdtype(getattr(leaf, "dtype", bool), jnp.floating)
        return leaf.astype(peer.dtype) if is_real else leaf

    built = peer.build()
    variables, inputs = jax.tree.map(cast, (built.variables, built.inputs))
    return Model(built.apply_fn, variables, inputs)


def without(variables: Any, pattern: str) -> Any:
    """Weights of which those whose path matches are zero."""

    def zeroed(path: Any, leaf: Any) -> Any:
        matches = re.search(pattern, jax.tree_util.keystr(path))
        return jnp.zeros_like(leaf) if matches else leaf

    return jax.tree_util.tree_map_with_path(zeroed, variables)


def test_every_site_is_read(model: Model) -> None:
    apply_fn, variables, inputs = model
    outputs, activations = jax.jit(ji.capture(apply_fn, "*"))(variables, inputs)
    np.testing.assert_allclose(outputs, jax.jit(apply_fn)(variables, inputs))
    sites = ji.trace(apply_fn, variables, inputs).sites
    assert set(activations) == {a for a, s in sites.items() if s.value.is_inexact}


def test_a_site_that_is_zero_is_a_layer_without_weights(
    peer: Peer, model: Model
) -> None:
    apply_fn, variables, inputs = model
    site, weights = peer.edit
    edited = jax.jit(ji.intervene(apply_fn, {site: jnp.zeros_like}))(variables, inputs)
    run = jax.jit(apply_fn)
    expected = run(without(variables, weights), inputs)
    np.testing.assert_allclose(edited, expected, rtol=1e-5, atol=1e-7)
    assert np.abs(expected - run(variables, inputs)).max() > 1e-6


@pytest.mark.parametrize("preset", ["epsilon_plus", "epsilon_alpha2_beta1", "attn_lrp"])
def test_relevance_is_accounted_for(
    peer: Peer, model: Model, preset: str, request: pytest.FixtureRequest
) -> None:
    composite = getattr(ji.rules, preset)()
    if peer.fault:
        mark = pytest.mark.xfail(reason=peer.fault, raises=AssertionError, strict=True)
        request.applymarker(mark)
    arguments = *model[1:], TARGET
    if peer.refusal:
        words = rf"(role \w+, primitive|input ends at)\s.*\b{peer.refusal}\b"
        with pytest.raises((UnmatchedSiteError, NoDerivativeError), match=words):
            ji.ledger(model.apply_fn, composite, *arguments, at=peer.at)
        return
    attribute = ji.attribution.lrp(model.apply_fn, composite=composite, at=peer.at)
    relevance = jax.jit(attribute)(*arguments)
    assert np.isfinite(relevance).all()
    assert np.abs(relevance).max() > 1e-9
    sums = ji.ledger(model.apply_fn, composite, *arguments, at=peer.at)
    assert ji.plan(model.apply_fn, composite, *model[1:]).coverage == 1
    largest = max(abs(sums.score), *(abs(entry.received) for entry in sums.entries))
    missing = abs(sums.score - sums.attributed - sums.absorbed)
    assert missing < 1e-5 * largest  # some layers compute in float32
    np.testing.assert_allclose(relevance.sum(), sums.attributed, rtol=1e-4)
