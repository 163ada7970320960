"""What an operator wants to know before visitors notice: does the account do what the project needs?

``examination`` decides what is examined, and in which order; each other module is a topic, and each
examination in it is a small function that yields findings. ``failures`` puts into words what went wrong on
the way. Nothing is printed here, nothing is changed for good, and no finding holds a token, a key, a
signature or an upload URL.
"""

from cf_images.doctor.examination import examine, examine_templates
from cf_images.doctor.findings import Finding, Level
from cf_images.doctor.shared_accounts import Request

__all__ = ["Finding", "Level", "Request", "examine", "examine_templates"]
