"""Integrations that a project chooses: each module imports the package it is for; nothing else imports it."""
