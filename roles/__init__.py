"""Roles: the Role card and the ready-made ones."""

from callsheet.roles.ready import find_role, ready_roles
from callsheet.roles.role import Role

__all__ = ["Role", "find_role", "ready_roles"]
