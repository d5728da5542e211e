"""How little change fools a model, whether an attack can be believed, and detection.

- `threat`: what an attacker may do; `contract`: what an attack is.
- `ascent`: how attacks of a fixed radius run; `pgd`, `apgd`.
- `smallest`: how attacks run that look for the smallest change; `deep_fool`,
  `carlini_wagner`.
- `attack_health`: the ways in which an attack fails silently.
- `detection`: what a detector is; `feature_squeezing`, `mahalanobis`.
"""

from jaxinterp.adversarial.apgd import apgd as apgd
from jaxinterp.adversarial.apgd import checkpoints as checkpoints
from jaxinterp.adversarial.attack_health import AttackHealth as AttackHealth
from jaxinterp.adversarial.attack_health import Check as Check
from jaxinterp.adversarial.attack_health import attack_health as attack_health
from jaxinterp.adversarial.carlini_wagner import carlini_wagner as carlini_wagner
from jaxinterp.adversarial.contract import Attack as Attack
from jaxinterp.adversarial.contract import Perturbed as Perturbed
from jaxinterp.adversarial.deep_fool import deep_fool as deep_fool
from jaxinterp.adversarial.detection import DetectionQuality as DetectionQuality
from jaxinterp.adversarial.detection import Detector as Detector
from jaxinterp.adversarial.detection import detection_quality as detection_quality
from jaxinterp.adversarial.feature_squeezing import bit_depth as bit_depth
from jaxinterp.adversarial.feature_squeezing import (
    feature_squeezing as feature_squeezing,
)
from jaxinterp.adversarial.feature_squeezing import median_filter as median_filter
from jaxinterp.adversarial.mahalanobis import Gaussians as Gaussians
from jaxinterp.adversarial.mahalanobis import fit_gaussians as fit_gaussians
from jaxinterp.adversarial.mahalanobis import mahalanobis as mahalanobis
from jaxinterp.adversarial.pgd import fgsm as fgsm
from jaxinterp.adversarial.pgd import pgd as pgd
from jaxinterp.adversarial.threat import NormBall as NormBall
from jaxinterp.adversarial.threat import l1 as l1
from jaxinterp.adversarial.threat import l2 as l2
from jaxinterp.adversarial.threat import linf as linf
