"""Models with the image fields of other packages."""
