"""A folder of pictures that moves to Cloudflare and back, by buttons."""
