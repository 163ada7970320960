"""What an operator wants to know before visitors tell: does the account do what the project needs?

``examination`` says what is examined, and in which order; each other module is a topic, and each examination
in it a small function that yields findings. ``refusals`` puts into words what went wrong on the way. Nothing
here prints, nothing is changed for good, and no finding holds a token, a key, a signature or an upload URL.
"""

from cf_images.doctor.accounts import Asked
from cf_images.doctor.examination import examine, examine_templates
from cf_images.doctor.findings import Finding, Level

__all__ = ["Asked", "Finding", "Level", "examine", "examine_templates"]
