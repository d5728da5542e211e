"""Which inputs the output depends on: attribution methods, one file a family."""

from jaxinterp.attribution.contract import Attribution as Attribution
from jaxinterp.attribution.gradients.gradient import gradient as gradient
from jaxinterp.attribution.gradients.gradient import (
    input_x_gradient as input_x_gradient,
)
from jaxinterp.attribution.gradients.gradient import saliency as saliency
from jaxinterp.attribution.gradients.integrated_gradients import (
    integrated_gradients as integrated_gradients,
)
from jaxinterp.attribution.gradients.integrated_gradients import (
    quadrature as quadrature,
)
from jaxinterp.attribution.gradients.smooth import smooth as smooth
from jaxinterp.attribution.relevance.deconvnet import deconvnet as deconvnet
from jaxinterp.attribution.relevance.deep_taylor import (
    deep_taylor as deep_taylor,
)
from jaxinterp.attribution.relevance.guided_backprop import (
    guided_backprop as guided_backprop,
)
from jaxinterp.attribution.relevance.ledger import Ledger as Ledger
from jaxinterp.attribution.relevance.ledger import ledger as ledger
from jaxinterp.attribution.relevance.lrp import lrp as lrp
