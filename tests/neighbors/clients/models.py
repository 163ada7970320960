"""Tenants and their domains, in the public schema."""

from __future__ import annotations

from django_tenants.models import DomainMixin, TenantMixin


class Client(TenantMixin):
    """A tenant, with a schema of its own."""

    auto_create_schema = True


class Domain(DomainMixin):
    """A host name of a tenant."""
