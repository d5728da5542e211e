"""Which inputs the output depends on: attribution methods, one file a family."""

from jaxinterp.attribution.explain import Attribution as Attribution
from jaxinterp.attribution.gradient import gradient as gradient
from jaxinterp.attribution.gradient import input_x_gradient as input_x_gradient
from jaxinterp.attribution.gradient import saliency as saliency
from jaxinterp.attribution.ledger import Ledger as Ledger
from jaxinterp.attribution.ledger import ledger as ledger
from jaxinterp.attribution.modified import deconvnet as deconvnet
from jaxinterp.attribution.modified import guided_backprop as guided_backprop
from jaxinterp.attribution.noise import smooth as smooth
from jaxinterp.attribution.path import convergence_delta as convergence_delta
from jaxinterp.attribution.path import integrated_gradients as integrated_gradients
from jaxinterp.attribution.path import quadrature as quadrature
from jaxinterp.attribution.relevance import deep_taylor as deep_taylor
from jaxinterp.attribution.relevance import lrp as lrp
from jaxinterp.attribution.scores import Score as Score
from jaxinterp.attribution.scores import contrastive as contrastive
from jaxinterp.attribution.scores import log_probability as log_probability
from jaxinterp.attribution.scores import logit as logit
from jaxinterp.attribution.scores import margin as margin
from jaxinterp.attribution.scores import probability as probability
from jaxinterp.attribution.scores import total as total
