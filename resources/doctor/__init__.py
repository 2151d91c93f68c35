"""What `media-pipeline doctor` looks at: each dependency, in the order in which they are needed.

Belongs here: harmless questions to servers, and what their answers mean for an operator. Must not
be here: repairs, printing, secrets in any answer.
"""

from resources.doctor.diagnosis import diagnose
from resources.doctor.finding import Finding

__all__ = ["Finding", "diagnose"]
