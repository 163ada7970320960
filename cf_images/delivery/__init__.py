"""Delivery URLs and their signatures as text: ``urls``, ``signing``; pure."""
