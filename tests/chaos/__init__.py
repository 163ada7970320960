"""A site of real processes that uploads in the background, to be killed: ``python -m tests.chaos COMMAND``.

``processes`` starts the site, ``scenario`` breaks it, ``servers`` has the databases and queues.
"""
