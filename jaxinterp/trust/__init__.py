"""Whether a model can be trusted: what it decides by, where it fails, and a report."""

from jaxinterp.trust.artifact_effect import ArtifactEffect as ArtifactEffect
from jaxinterp.trust.artifact_effect import artifact_effect as artifact_effect
from jaxinterp.trust.audit import audit as audit
from jaxinterp.trust.explanation import explanation as explanation
from jaxinterp.trust.performance import performance as performance
from jaxinterp.trust.reasons import reasons as reasons
from jaxinterp.trust.report import Report as Report
from jaxinterp.trust.report import Row as Row
from jaxinterp.trust.report import Subject as Subject
from jaxinterp.trust.spray import Spray as Spray
from jaxinterp.trust.spray import spray as spray
