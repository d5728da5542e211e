"""Models of any library as a pair `(apply_fn, variables)`.

Every method of this package takes such an `apply_fn(variables, inputs, ...)`. Linen and
Keras name their scopes themselves; NNX and Equinox do not, so their adapters trace each
module under its path. The user's model is never changed: scopes are added to the copy
that each call makes anyway.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax

from jaxinterp.tracing.recognition.addresses import WITHIN
from jaxinterp.types import ApplyFn, Variables


def from_function(function: Callable[..., Any]) -> tuple[ApplyFn, None]:
    """Adapts a function of the inputs alone.

    Args:
        function: the model, `function(inputs, ...) -> outputs`, batch first.

    Returns:
        An apply function that takes and ignores `variables`, and `None`.

    Example:
        >>> apply_fn, variables = from_function(jnp.tanh)
        >>> apply_fn(variables, jnp.zeros((1, 2))).tolist()
        [[0.0, 0.0]]
    """

    @functools.wraps(function)
    def apply_fn(variables: None, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return function(inputs, *args, **kwargs)

    return apply_fn, None


def from_linen(
    module: Any, variables: Variables, **settings: Any
) -> tuple[ApplyFn, Variables]:
    """Adapts a `flax.linen` module.

    Args:
        module: the linen module.
        variables: the result of `module.init`, or trained weights in that structure.
        **settings: arguments that every call of the module gets, such as `train=False`
            or `method="encode"`.

    Returns:
        The apply function and the variables. Addresses are the module paths.

    Example:
        >>> import flax.linen as nn
        >>> module = nn.Dense(2)
        >>> apply_fn, variables = from_linen(
        ...     module, module.init(jax.random.key(0), jnp.ones((1, 3))))
        >>> apply_fn(variables, jnp.ones((4, 3))).shape
        (4, 2)
    """

    def apply_fn(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        return module.apply(variables, inputs, *args, **{**settings, **kwargs})

    return apply_fn, variables


def from_nnx(module: Any, **settings: Any) -> tuple[ApplyFn, Variables]:
    """Adapts a `flax.nnx` module.

    Dropout and batch norm must be told to be deterministic first:
    `nnx.view(module, deterministic=True, use_running_average=True)`, or `module.eval()`
    in older Flax.

    Args:
        module: the NNX module, which is not changed.
        **settings: arguments that every call of the module gets.

    Returns:
        The apply function and the state of the module. Addresses are the paths of
        attributes under the class name: `CNN/blocks/0/conv`.

    Raises:
        ImportError: if Flax is not installed.

    Example:
        >>> from flax import nnx
        >>> apply_fn, state = from_nnx(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        >>> apply_fn(state, jnp.ones((4, 3))).shape
        (4, 2)
    """
    from flax import nnx

    definition, state = nnx.split(module)
    scoper = _Scoper()

    def apply_fn(state: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        model = nnx.merge(definition, state)
        with scoper.entered(dict(nnx.iter_modules(model)), type(model).__name__):
            return model(inputs, *args, **{**settings, **kwargs})

    return apply_fn, state


def from_equinox(
    module: Any, *, is_batched: bool = False, **settings: Any
) -> tuple[ApplyFn, Variables]:
    """Adapts an `equinox` module.

    Args:
        module: the Equinox module, a function of one example.
        is_batched: whether the module takes batches itself.
        **settings: arguments that every call of the module gets, such as
            `inference=True`; they are not vmapped.

    Returns:
        The apply function, vmapped over the batch, and the arrays of the module.
        Addresses are the paths of fields under the class name: `MLP/layers/0`.

    Raises:
        ImportError: if Equinox is not installed.

    Example:
        >>> import equinox as eqx
        >>> apply_fn, arrays = from_equinox(eqx.nn.Linear(3, 2, key=jax.random.key(0)))
        >>> apply_fn(arrays, jnp.ones((4, 3))).shape
        (4, 2)
    """
    import equinox as eqx

    arrays, static = eqx.partition(module, eqx.is_array)
    scoper = _Scoper()

    def apply_fn(arrays: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        model = eqx.combine(arrays, static)
        modules = dict(_submodules(model, (), eqx.Module))

        def one(example: Any) -> Any:
            return model(example, *args, **{**settings, **kwargs})

        with scoper.entered(modules, type(model).__name__):
            return one(inputs) if is_batched else jax.vmap(one)(inputs)

    return apply_fn, arrays


def from_keras(model: Any, **settings: Any) -> tuple[ApplyFn, Variables]:
    """Adapts a Keras 3 model that runs on JAX.

    Args:
        model: a built Keras model.
        **settings: arguments that every call of the model gets; `training=False` is one
            by default.

    Returns:
        The apply function, and a dict of `"trainable"` and `"non_trainable"` arrays.
        Addresses are the names of layers.

    Raises:
        ValueError: if Keras runs on another backend, or the model is not built.

    Example:
        >>> apply_fn, variables = from_keras(model)  # doctest: +SKIP
    """
    import keras

    if keras.backend.backend() != "jax":
        raise ValueError(
            f"Keras runs on {keras.backend.backend()!r}. Set the environment variable "
            "KERAS_BACKEND=jax before keras is imported."
        )
    if not model.built:
        raise ValueError(
            "The Keras model has no weights yet. Call it once, or `model.build(shape)`."
        )
    variables = {
        "trainable": [v.value for v in model.trainable_variables],
        "non_trainable": [v.value for v in model.non_trainable_variables],
    }

    def apply_fn(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        outputs, _ = model.stateless_call(
            variables["trainable"],
            variables["non_trainable"],
            inputs,
            *args,
            **{"training": False, **settings, **kwargs},
        )
        return outputs

    return apply_fn, variables


# --- Scopes for modules that have none ------------------------------------------------

Path = tuple[Any, ...]


class _Scopes:
    """The paths of the modules of one copy of a model, and which are running.

    Attributes:
        paths: the path of each module, by its `id`.
        root: the name of the model.
        running: the paths of the modules that are running, outer first.
    """

    def __init__(self, paths: dict[int, Path], root: str):
        self.paths = paths
        self.root = root
        self.running: list[Path] = []

    def call(
        self, function: Callable[..., Any], module: Any, *args: Any, **kw: Any
    ) -> Any:
        path = self.paths[id(module)]
        parent = self.running[-1] if self.running else ()
        start = len(parent) if path[: len(parent)] == parent else 0
        # One scope for `layers/1`, since `layers` is a list and no module.
        name = WITHIN.join(map(str, path[start:])) or self.root
        if path and not self.running:
            name = f"{self.root}/{name}"
        self.running.append(path)
        try:
            with jax.named_scope(name):
                return function(module, *args, **kw)
        finally:
            self.running.pop()


class _Scoper:
    """Gives each module of a copied model a scope while the copy is called."""

    def __init__(self) -> None:
        self.classes: dict[type, type] = {}
        self.scopes: dict[int, _Scopes] = {}

    def subclass(self, cls: type) -> type:
        """Returns a subclass whose call enters the scope of its instance."""
        if cls not in self.classes:
            call, scopes = cls.__call__, self.scopes

            @functools.wraps(call)
            def __call__(module: Any, *args: Any, **kwargs: Any) -> Any:
                own = scopes.get(id(module))
                if own is None:
                    return call(module, *args, **kwargs)
                return own.call(call, module, *args, **kwargs)

            body = {"__call__": __call__, "__module__": cls.__module__}
            self.classes[cls] = type(cls)(cls.__name__, (cls,), body)
        return self.classes[cls]

    @contextlib.contextmanager
    def entered(self, modules: dict[Path, Any], root: str) -> Iterator[None]:
        """Names modules by their paths until the call is over."""
        callables = {path: m for path, m in modules.items() if callable(m)}
        scopes = _Scopes({id(m): path for path, m in callables.items()}, root)
        for module in callables.values():
            self.scopes[id(module)] = scopes
            object.__setattr__(module, "__class__", self.subclass(type(module)))
        try:
            yield
        finally:
            for module in callables.values():
                self.scopes.pop(id(module), None)


def _submodules(tree: Any, path: Path, module_type: type) -> Iterator[tuple[Path, Any]]:
    if isinstance(tree, module_type):
        yield path, tree
        children = vars(tree).items()
    elif isinstance(tree, dict):
        children = tree.items()
    elif isinstance(tree, list | tuple):
        children = enumerate(tree)
    else:
        return
    for name, child in children:
        yield from _submodules(child, (*path, name), module_type)
