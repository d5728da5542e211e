"""A model with calls, a checkpoint and a loop, and all that we can say of it.

JAX reads some flags once, so `python -m tests.tracing.flags` prints the same in a
process of its own.
"""

import jax
import jax.numpy as jnp
import numpy as np

import jaxinterp as ji

W = np.linspace(-1, 1, 16, dtype="float32").reshape(4, 4)
X = np.linspace(-1, 2, 8, dtype="float32").reshape(2, 4)


@jax.custom_vjp
def rounded(x: jax.Array) -> jax.Array:
    """Rounding with the gradient of the identity."""
    return jnp.round(x)


rounded.defvjp(lambda x: (jnp.round(x), None), lambda _, g: (g,))


def model(w: jax.Array, x: jax.Array) -> jax.Array:
    """Closes over its last kernel."""
    h = jax.nn.relu(x @ w)
    h = jax.checkpoint(lambda h: jnp.tanh(h @ w) + h)(h)
    h = jax.lax.scan(lambda h, _: (jax.nn.silu(h) @ w, None), h, None, length=2)[0]
    return jax.nn.relu6(rounded(3 * h)) @ jnp.asarray(W[::-1])


def answer() -> str:
    """Returns addresses, derivatives, and relevance."""
    outputs, found = ji.capture(model, "*")(W, X)
    np.testing.assert_allclose(outputs, model(W, X), rtol=1e-6)
    edited = ji.intervene(model, {"relu": lambda a: a * 0})(W, X)
    np.testing.assert_allclose(edited, model(W, X * 0), rtol=1e-6)
    gradients = [
        jax.grad(lambda x: model(W, x).sum())(X),
        jax.grad(lambda x: ji.capture(model, "*")(W, x)[0].sum())(X),
        ji.attribution.lrp(model, composite=ji.rules.epsilon_plus())(
            W, X, np.array([0, 1])
        ),
    ]
    return f"{list(found)} {np.round(np.stack(gradients), 3).tolist()}"


if __name__ == "__main__":
    print(answer())
