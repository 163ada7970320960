"""The views behind ``cf_images.urls``: pending images, local variants, and upload by URL."""
