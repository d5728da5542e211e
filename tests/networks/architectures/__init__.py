"""Small, structurally faithful models that the test suite traces and explains.

`TABLE` has one entry per architecture, with random weights and a batch to explain.
Full-size constructors (`resnet18`, `resnet50`, `vgg16`) serve benchmarks.
"""

from .architecture import Architecture as Architecture
from .architecture import as_dtype as as_dtype
from .architecture import randomize as randomize
from .nnx_models import nnx_module as nnx_module
from .resnet import resnet18 as resnet18
from .resnet import resnet50 as resnet50
from .table import SMALL as SMALL
from .table import TABLE as TABLE
from .vgg import vgg16 as vgg16
