"""What maintainers run by ``dev.py``: the locked versions, known vulnerabilities, a release."""
