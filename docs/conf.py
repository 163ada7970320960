"""Sphinx: pages in plain Markdown, which GitHub shows as they are."""

import tomllib
from pathlib import Path

_PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text(encoding="utf-8"))[
    "project"
]

project = _PROJECT["name"]
release = _PROJECT["version"]
author = project_copyright = "The django-cf-images authors"

extensions = ["myst_parser", "sphinx_copybutton"]
exclude_patterns = ["_build"]
myst_heading_anchors = 4  # links to headings, as GitHub makes them
suppress_warnings = ["misc.highlighting_failure"]  # excerpts of HTML with an ellipsis
copybutton_prompt_text = r"\$ |>>> |\.\.\. "
copybutton_prompt_is_regexp = True

html_theme = "furo"
html_title = project
html_copy_source = False
