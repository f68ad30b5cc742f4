"""Decisions about one row, made from columns alone."""
