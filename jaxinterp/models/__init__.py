"""Adapters: models of any library as `(apply_fn, variables)`."""

from jaxinterp.models.adapters import from_equinox as from_equinox
from jaxinterp.models.adapters import from_function as from_function
from jaxinterp.models.adapters import from_keras as from_keras
from jaxinterp.models.adapters import from_linen as from_linen
from jaxinterp.models.adapters import from_nnx as from_nnx
