"""Trained weights: read any checkpoint, name by name, into the models of the zoo."""

from jaxinterp.models.weights.catalog import CATALOG as CATALOG
from jaxinterp.models.weights.names import Entry as Entry
from jaxinterp.models.weights.names import NameMap as NameMap
from jaxinterp.models.weights.names import WeightsError as WeightsError
from jaxinterp.models.weights.names import fill as fill
from jaxinterp.models.weights.preprocess import TokenIds as TokenIds
from jaxinterp.models.weights.readers import read_tensors as read_tensors
