"""Measurements, each a script that prints a table. Ratios are taken within one run: machines are shared and noisy."""
