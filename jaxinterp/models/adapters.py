"""Models of any library as a pair `(apply_fn, variables)`.

Every method of this package takes such an `apply_fn(variables, inputs, ...)`. Linen and
Keras and Haiku name their scopes themselves; NNX and Equinox do not, so their adapters
trace each module under its path. The user's model is never changed: each call runs a
copy of it, which gets the scopes. A model in training mode, which updates batch
statistics or drops activations, is an error: what it computes of an example depends on
the rest of the batch or on chance.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax

from jaxinterp.tracing.recognition.addresses import WITHIN
from jaxinterp.types import ApplyFn, Variables

# Where a module is in a model: names of attributes, keys and indices.
Path = tuple[Any, ...]
Check = Callable[[Path, Any, dict[str, Any]], None]


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

    Raises:
        ValueError: when called, if the module updates its batch statistics or draws the
            random numbers of dropout.

    Example:
        >>> import flax.linen as nn
        >>> module = nn.Dense(2)
        >>> apply_fn, variables = from_linen(
        ...     module, module.init(jax.random.key(0), jnp.ones((1, 3))))
        >>> apply_fn(variables, jnp.ones((4, 3))).shape
        (4, 2)
    """

    def apply_fn(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        settings_of_call = {**settings, **kwargs}
        rngs = settings_of_call.get("rngs")
        keys = dict(rngs) if isinstance(rngs, Mapping) else {}
        has_key = keys.pop("dropout", None) is not None
        if has_key:  # without it Flax raises exactly where dropout would draw
            settings_of_call["rngs"] = keys
        try:
            outputs = module.apply(variables, inputs, *args, **settings_of_call)
        except Exception as error:
            if has_key and type(error).__name__ == "InvalidRngError":
                raise _training("linen", "dropout asks for its key") from error
            raise
        if settings_of_call.get("mutable", False) is not False:
            _check_unchanged(variables, outputs[1])
        return outputs

    return apply_fn, variables


def _check_unchanged(variables: Variables, updates: Any) -> None:
    """Raises if linen's batch statistics were updated."""
    before = jax.tree.leaves(variables.get("batch_stats"))
    after = jax.tree.leaves(updates.get("batch_stats", variables.get("batch_stats")))
    if any(old is not new for old, new in zip(before, after, strict=True)):
        raise _training("linen", "the call updates `batch_stats`")


def from_nnx(module: Any, **settings: Any) -> tuple[ApplyFn, Variables]:
    """Adapts a `flax.nnx` module.

    Dropout and batch norm must not train: write `model.eval()` first. Arrays are those
    of the module when the adapter was made; training it further does not change them.

    Args:
        module: the NNX module, which is not changed.
        **settings: arguments that every call of the module gets.

    Returns:
        The apply function and the state of the module. Addresses are the paths of
        attributes under the class name: `CNN/blocks/0/conv`.

    Raises:
        ImportError: if Flax is not installed.
        ValueError: when called, if the module updates its batch statistics or draws the
            random numbers of dropout.

    Example:
        >>> from flax import nnx
        >>> apply_fn, state = from_nnx(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        >>> apply_fn(state, jnp.ones((4, 3))).shape
        (4, 2)
    """
    from flax import nnx

    definition, state = nnx.split(nnx.clone(module))
    scoper = _Scoper()

    def random_or_statistic(model: Any) -> dict[Path, Any]:
        kinds = nnx.Any(nnx.BatchStat, nnx.RngCount)
        variables = nnx.to_flat_state(nnx.state(model, kinds))
        return {path: jax.tree.leaves(variable)[0] for path, variable in variables}

    def apply_fn(state: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        model = nnx.merge(definition, state, copy=True)
        before, modules = random_or_statistic(model), dict(nnx.iter_modules(model))
        with scoper.entered(modules, type(model).__name__):
            outputs = model(inputs, *args, **{**settings, **kwargs})
        for path, leaf in random_or_statistic(model).items():
            if leaf is not before.get(path) and _trains(path, modules):
                where = "/".join(map(str, path))
                raise _training("nnx", f"the call changes `{where}`")
        return outputs

    return apply_fn, state


def _trains(path: Path, modules: dict[Path, Any]) -> bool:
    """Whether only a module in training mode changes the NNX variable at a path.

    Random numbers may be drawn in earnest, by a model that samples; those of a module
    that can be `deterministic` are dropout's.
    """
    if path[-1] != "count":
        return True
    owners = (modules.get(path[:length]) for length in range(len(path)))
    return any(hasattr(owner, "deterministic") for owner in owners)


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
        ValueError: when called, if dropout or a normalization is in training mode.

    Example:
        >>> import equinox as eqx
        >>> apply_fn, arrays = from_equinox(eqx.nn.Linear(3, 2, key=jax.random.key(0)))
        >>> apply_fn(arrays, jnp.ones((4, 3))).shape
        (4, 2)
    """
    import equinox as eqx

    arrays, static = eqx.partition(module, eqx.is_array)
    scoper = _Scoper(_check_inference)

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
        ValueError: if Keras runs on another backend, the model is not built, or is
            called with `training=True`.

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
        settings_of_call = {"training": False, **settings, **kwargs}
        if settings_of_call["training"]:
            raise _training("keras", "it is called with `training=True`")
        outputs, _ = model.stateless_call(
            variables["trainable"],
            variables["non_trainable"],
            inputs,
            *args,
            **settings_of_call,
        )
        return outputs

    return apply_fn, variables


def from_haiku(
    transformed: Any, params: Any, state: Any = None, **settings: Any
) -> tuple[ApplyFn, Variables]:
    """Adapts a function that was transformed by Haiku.

    Args:
        transformed: what `hk.transform` or `hk.transform_with_state` returns, also
            after `hk.without_apply_rng`.
        params: the parameters, the result of `transformed.init` or trained ones.
        state: the state of a function that was transformed with one.
        **settings: arguments that every call of the function gets, such as
            `is_training=False`; `rng` is the random key, `None` by default.

    Returns:
        The apply function, which returns the outputs alone, and the parameters; with a
        state a dict of `"params"` and `"state"`. Addresses are the names of modules.

    Raises:
        ValueError: if a state is missing or not needed; when called, if the call
            changes the state.

    Example:
        >>> apply_fn, params = from_haiku(transformed, params)  # doctest: +SKIP
    """
    has_state = type(transformed).__name__ == "TransformedWithState"
    if has_state == (state is None):
        made_by = "transform_with_state" if has_state else "transform"
        call = "params, state" if has_state else "params"
        raise ValueError(
            f"The model was made by `hk.{made_by}`. Write `from_haiku(model, {call})`."
        )
    takes_key = "rng" in inspect.signature(transformed.apply).parameters

    def apply_fn(variables: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        settings_of_call = {**settings, **kwargs}
        rng = settings_of_call.pop("rng", None)
        key = (rng,) if takes_key else ()
        if not has_state:
            return transformed.apply(variables, *key, inputs, *args, **settings_of_call)
        params, state = variables["params"], variables["state"]
        outputs, new = transformed.apply(
            params, state, *key, inputs, *args, **settings_of_call
        )
        leaves = zip(jax.tree.leaves(state), jax.tree.leaves(new), strict=True)
        if any(old is not leaf for old, leaf in leaves):
            raise _training("haiku", "the call changes its state")
        return outputs

    return apply_fn, {"params": params, "state": state} if has_state else params


# --- Training mode --------------------------------------------------------------------

_INFERENCE = {
    "linen": "Write `from_linen(module, variables, train=False)` or what the module "
    "calls\nit (`deterministic=True`, `use_running_average=True`), without `mutable` "
    "and without\n`rngs`.",
    "nnx": "Write `model.eval()` before `from_nnx(model)`; for a module that takes it "
    "as an\nargument `from_nnx(model, train=False)`.",
    "equinox": "Write `from_equinox(eqx.nn.inference_mode(model))`.",
    "keras": "Leave it out: `from_keras(model)` calls with `training=False`.",
    "haiku": "Write `from_haiku(model, params, state, is_training=False)`, or what the "
    "function\ncalls it.",
}


def _training(library: str, reason: str) -> ValueError:
    return ValueError(
        f"The model is in training mode: {reason}. What it computes of an\n"
        "example then depends on the rest of the batch, or on chance.\n"
        f"{_INFERENCE[library]}"
    )


def _check_inference(path: Path, module: Any, kwargs: dict[str, Any]) -> None:
    """Raises if an Equinox layer that knows training mode runs in it."""
    mode = kwargs.get("inference")
    mode = getattr(module, "inference", None) if mode is None else mode
    if mode is False and getattr(module, "p", None) != 0:
        where = f"`{'/'.join(map(str, path))}` " if path else ""
        raise _training("equinox", f"{where}({type(module).__name__}) trains")


# --- Scopes for modules that have none ------------------------------------------------


def _allow(path: Path, module: Any, kwargs: dict[str, Any]) -> None:
    """Lets any module run."""


class _Scopes:
    """The paths of the modules of one copy of a model, and which are running.

    Attributes:
        paths: the path of each module, by its `id`.
        root: the name of the model.
        check: what raises if a module must not run, a function of its path, itself and
            the named arguments of the call.
        running: the paths of the modules that are running, outer first.
    """

    def __init__(self, paths: dict[int, Path], root: str, check: Check):
        self.paths = paths
        self.root = root
        self.check = check
        self.running: list[Path] = []

    def call(
        self, function: Callable[..., Any], module: Any, *args: Any, **kw: Any
    ) -> Any:
        path = self.paths[id(module)]
        self.check(path, module, kw)
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

    def __init__(self, check: Check = _allow) -> None:
        self.check = check
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
        paths = {id(m): path for path, m in callables.items()}
        scopes = _Scopes(paths, root, self.check)
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
