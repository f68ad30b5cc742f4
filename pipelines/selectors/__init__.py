"""Decisions about a set of rows, made from columns alone."""
