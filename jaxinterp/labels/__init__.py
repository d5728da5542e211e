"""Which labels are wrong, and how good a model is that was measured on them."""

from jaxinterp.labels.accuracy_under_noise import NoisyAccuracy as NoisyAccuracy
from jaxinterp.labels.accuracy_under_noise import (
    accuracy_under_noise as accuracy_under_noise,
)
from jaxinterp.labels.confident import ConfidentJoint as ConfidentJoint
from jaxinterp.labels.confident import LabelIssues as LabelIssues
from jaxinterp.labels.confident import confident_joint as confident_joint
from jaxinterp.labels.confident import find_label_issues as find_label_issues
from jaxinterp.labels.label_quality import label_quality as label_quality
from jaxinterp.labels.label_quality import suspicious_labels as suspicious_labels
from jaxinterp.labels.out_of_fold import OutOfFold as OutOfFold
from jaxinterp.labels.out_of_fold import out_of_fold as out_of_fold
