"""How a gradient or relevance goes back through a site: rules, composites, presets.

`affine`, `signed` and `first_layer` hold the rules of convolutions and dense layers,
`products` those of attention and gates, `any_site` those of every site, `mixture` their
convex combinations, `activations` and `redirected` modified gradients, `coefficients`
gradients whose product with the input is relevance. A `composite`
says which site gets which rule, `plan` prints it, `presets` has the usual ones.
"""

from jaxinterp.rules.activations import BetaSmooth as BetaSmooth
from jaxinterp.rules.activations import DeconvReLU as DeconvReLU
from jaxinterp.rules.activations import GuidedReLU as GuidedReLU
from jaxinterp.rules.activations import RectGrad as RectGrad
from jaxinterp.rules.affine import Epsilon as Epsilon
from jaxinterp.rules.affine import Gamma as Gamma
from jaxinterp.rules.affine import Zero as Zero
from jaxinterp.rules.any_site import AbsRatio as AbsRatio
from jaxinterp.rules.any_site import FixedStatistics as FixedStatistics
from jaxinterp.rules.any_site import Gradient as Gradient
from jaxinterp.rules.any_site import Norm as Norm
from jaxinterp.rules.any_site import Pass as Pass
from jaxinterp.rules.any_site import Stop as Stop
from jaxinterp.rules.coefficients import (
    FixedStatisticsGradient as FixedStatisticsGradient,
)
from jaxinterp.rules.coefficients import SecantGradient as SecantGradient
from jaxinterp.rules.coefficients import UniformGradient as UniformGradient
from jaxinterp.rules.composite import Composite as Composite
from jaxinterp.rules.composite import UnmatchedSiteError as UnmatchedSiteError
from jaxinterp.rules.first_layer import Flat as Flat
from jaxinterp.rules.first_layer import Sign as Sign
from jaxinterp.rules.first_layer import WSquare as WSquare
from jaxinterp.rules.first_layer import ZBox as ZBox
from jaxinterp.rules.mixture import Mixture as Mixture
from jaxinterp.rules.pattern import MissingPatternError as MissingPatternError
from jaxinterp.rules.pattern import PatternAttribution as PatternAttribution
from jaxinterp.rules.pattern import PatternNet as PatternNet
from jaxinterp.rules.pattern import TwoComponents as TwoComponents
from jaxinterp.rules.plan import Plan as Plan
from jaxinterp.rules.plan import plan as plan
from jaxinterp.rules.presets import attn_lrp as attn_lrp
from jaxinterp.rules.presets import attn_lrp_gradient as attn_lrp_gradient
from jaxinterp.rules.presets import beta_smooth as beta_smooth
from jaxinterp.rules.presets import cp_lrp as cp_lrp
from jaxinterp.rules.presets import deconvnet as deconvnet
from jaxinterp.rules.presets import deep_taylor as deep_taylor
from jaxinterp.rules.presets import epsilon_alpha2_beta1 as epsilon_alpha2_beta1
from jaxinterp.rules.presets import (
    epsilon_alpha2_beta1_flat as epsilon_alpha2_beta1_flat,
)
from jaxinterp.rules.presets import epsilon_gamma_box as epsilon_gamma_box
from jaxinterp.rules.presets import epsilon_plus as epsilon_plus
from jaxinterp.rules.presets import epsilon_plus_flat as epsilon_plus_flat
from jaxinterp.rules.presets import excitation_backprop as excitation_backprop
from jaxinterp.rules.presets import guided_backprop as guided_backprop
from jaxinterp.rules.presets import linearized as linearized
from jaxinterp.rules.presets import rap as rap
from jaxinterp.rules.presets import rect_grad as rect_grad
from jaxinterp.rules.presets import redirected as redirected
from jaxinterp.rules.presets import relp as relp
from jaxinterp.rules.presets import smooth_max_pool as smooth_max_pool
from jaxinterp.rules.products import FixedAttention as FixedAttention
from jaxinterp.rules.products import SignalTakesAll as SignalTakesAll
from jaxinterp.rules.products import Uniform as Uniform
from jaxinterp.rules.redirected import RedirectedReLU as RedirectedReLU
from jaxinterp.rules.redirected import SmoothMaxPool as SmoothMaxPool
from jaxinterp.rules.rule import Absorbed as Absorbed
from jaxinterp.rules.rule import Rule as Rule
from jaxinterp.rules.rule import RuleSiteError as RuleSiteError
from jaxinterp.rules.signed import AlphaBeta as AlphaBeta
from jaxinterp.rules.signed import RelativeInfluence as RelativeInfluence
from jaxinterp.rules.signed import ZPlus as ZPlus
from jaxinterp.rules.stabilize import Stabilizer as Stabilizer
from jaxinterp.tracing.errors import CompositeError as CompositeError
from jaxinterp.tracing.errors import RuleResultError as RuleResultError
