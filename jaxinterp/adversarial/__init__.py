"""How little change fools a model, whether an attack can be believed, and detection."""

from jaxinterp.adversarial.apgd import apgd as apgd
from jaxinterp.adversarial.apgd import checkpoints as checkpoints
from jaxinterp.adversarial.contract import Attack as Attack
from jaxinterp.adversarial.contract import Perturbed as Perturbed
from jaxinterp.adversarial.pgd import fgsm as fgsm
from jaxinterp.adversarial.pgd import pgd as pgd
from jaxinterp.adversarial.threat import NormBall as NormBall
from jaxinterp.adversarial.threat import l1 as l1
from jaxinterp.adversarial.threat import l2 as l2
from jaxinterp.adversarial.threat import linf as linf
