"""Trained weights: reads a checkpoint of any format into a model.

`load` does all of it. `readers` turns a file into named arrays, and a `name_map` says
which array goes where in the model (`vision_maps`, `transformer_maps`, `timm_maps`).
`catalog` lists the checkpoints that are known by name, `hub` gets their files, and
`preprocess` makes a model's inputs.
"""

from jaxinterp.models.weights.catalog import CATALOG as CATALOG
from jaxinterp.models.weights.name_map import Entry as Entry
from jaxinterp.models.weights.name_map import NameMap as NameMap
from jaxinterp.models.weights.name_map import WeightsError as WeightsError
from jaxinterp.models.weights.name_map import fill as fill
from jaxinterp.models.weights.preprocess import TokenIds as TokenIds
from jaxinterp.models.weights.readers import read_tensors as read_tensors
from jaxinterp.models.weights.torch_layers import channels_last as channels_last
