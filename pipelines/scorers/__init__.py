"""Stages that write numbers or vectors about a row: one file per scorer."""
