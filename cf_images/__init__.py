"""Cloudflare Images for Django: storage, delivery URLs, background uploads and a local emulator."""
