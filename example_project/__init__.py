"""A small site that shows what django-cf-images does; ``python -m example_project`` runs all of it."""
