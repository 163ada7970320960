"""People, each with one picture: upload by form and by URL, and variants in a template."""
