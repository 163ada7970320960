"""A site that uploads in the background, made of real processes: ``python -m benchmarks.site COMMAND``.

``processes`` starts it; ``chaos``, ``consumers`` and ``background`` measure it, and the tests break it.
"""
