"""Which inputs the output depends on: attribution methods, one file a family."""

from jaxinterp.attribution.contract import Attribution as Attribution
from jaxinterp.attribution.gradients.blur_integrated_gradients import (
    blur_integrated_gradients as blur_integrated_gradients,
)
from jaxinterp.attribution.gradients.expected_gradients import (
    expected_gradients as expected_gradients,
)
from jaxinterp.attribution.gradients.forgrad import forgrad as forgrad
from jaxinterp.attribution.gradients.gradient import gradient as gradient
from jaxinterp.attribution.gradients.gradient import (
    input_x_gradient as input_x_gradient,
)
from jaxinterp.attribution.gradients.gradient import saliency as saliency
from jaxinterp.attribution.gradients.guided_integrated_gradients import (
    guided_integrated_gradients as guided_integrated_gradients,
)
from jaxinterp.attribution.gradients.idgi import idgi as idgi
from jaxinterp.attribution.gradients.integrated_gradients import (
    integrated_gradients as integrated_gradients,
)
from jaxinterp.attribution.gradients.integrated_gradients import (
    quadrature as quadrature,
)
from jaxinterp.attribution.gradients.integrated_hessians import (
    integrated_hessians as integrated_hessians,
)
from jaxinterp.attribution.gradients.internal import conductance as conductance
from jaxinterp.attribution.gradients.internal import (
    internal_influence as internal_influence,
)
from jaxinterp.attribution.gradients.smooth import smooth as smooth
from jaxinterp.attribution.gradients.taylor import taylor as taylor
from jaxinterp.attribution.gradients.xrai import xrai as xrai
from jaxinterp.attribution.maps.attention import attention_grad as attention_grad
from jaxinterp.attribution.maps.attention import (
    attention_grad_rollout as attention_grad_rollout,
)
from jaxinterp.attribution.maps.attention import attention_rollout as attention_rollout
from jaxinterp.attribution.maps.attention_flow import attention_flow as attention_flow
from jaxinterp.attribution.maps.attention_maps import attention_maps as attention_maps
from jaxinterp.attribution.maps.eigen_cam import eigen_cam as eigen_cam
from jaxinterp.attribution.maps.eigen_cam import fem as fem
from jaxinterp.attribution.maps.grad_cam import grad_cam as grad_cam
from jaxinterp.attribution.maps.grad_cam import (
    grad_cam_plus_plus as grad_cam_plus_plus,
)
from jaxinterp.attribution.maps.grad_cam import guided_grad_cam as guided_grad_cam
from jaxinterp.attribution.maps.grad_cam import hires_cam as hires_cam
from jaxinterp.attribution.maps.grad_cam import layer_cam as layer_cam
from jaxinterp.attribution.maps.grad_cam import x_grad_cam as x_grad_cam
from jaxinterp.attribution.maps.information_bottleneck import (
    information_bottleneck as information_bottleneck,
)
from jaxinterp.attribution.maps.merge_subwords import merge_subwords as merge_subwords
from jaxinterp.attribution.maps.per_token import per_token as per_token
from jaxinterp.attribution.maps.score_cam import ablation_cam as ablation_cam
from jaxinterp.attribution.maps.score_cam import score_cam as score_cam
from jaxinterp.attribution.maps.sequence_attribution import (
    sequence_attribution as sequence_attribution,
)
from jaxinterp.attribution.masking.ablation import ablation as ablation
from jaxinterp.attribution.masking.ablation import permutation as permutation
from jaxinterp.attribution.masking.hsic import hsic as hsic
from jaxinterp.attribution.masking.interaction import interaction as interaction
from jaxinterp.attribution.masking.kernel_shap import kernel_shap as kernel_shap
from jaxinterp.attribution.masking.learned_mask import (
    counterfactual_mask as counterfactual_mask,
)
from jaxinterp.attribution.masking.learned_mask import extremal_mask as extremal_mask
from jaxinterp.attribution.masking.leave_one_out import leave_one_out as leave_one_out
from jaxinterp.attribution.masking.lime import lime as lime
from jaxinterp.attribution.masking.occlusion import occlusion as occlusion
from jaxinterp.attribution.masking.owen import owen as owen
from jaxinterp.attribution.masking.rise import rise as rise
from jaxinterp.attribution.masking.shapley import shapley as shapley
from jaxinterp.attribution.masking.sobol import sobol as sobol
from jaxinterp.attribution.relevance.concept_relevance import (
    concept_relevance as concept_relevance,
)
from jaxinterp.attribution.relevance.deconvnet import deconvnet as deconvnet
from jaxinterp.attribution.relevance.deep_lift import deep_lift as deep_lift
from jaxinterp.attribution.relevance.deep_lift import deep_lift_shap as deep_lift_shap
from jaxinterp.attribution.relevance.deep_taylor import (
    deep_taylor as deep_taylor,
)
from jaxinterp.attribution.relevance.fit_patterns import (
    FittedPatterns as FittedPatterns,
)
from jaxinterp.attribution.relevance.fit_patterns import (
    fit_patterns as fit_patterns,
)
from jaxinterp.attribution.relevance.guided_backprop import (
    guided_backprop as guided_backprop,
)
from jaxinterp.attribution.relevance.ledger import Ledger as Ledger
from jaxinterp.attribution.relevance.ledger import ledger as ledger
from jaxinterp.attribution.relevance.lrp import lrp as lrp
from jaxinterp.attribution.relevance.pattern import (
    pattern_attribution as pattern_attribution,
)
from jaxinterp.attribution.relevance.pattern import pattern_net as pattern_net
from jaxinterp.attribution.relevance.relevance_examples import (
    RelevanceExamples as RelevanceExamples,
)
from jaxinterp.attribution.relevance.relevance_examples import (
    relevance_examples as relevance_examples,
)
from jaxinterp.attribution.relevance.signal_quality import (
    signal_quality as signal_quality,
)
from jaxinterp.attribution.standard_error import Estimate as Estimate
from jaxinterp.attribution.standard_error import standard_error as standard_error
