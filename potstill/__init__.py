"""Potstill: raw images into training sets, training sets into small models, on Ray."""

__version__ = "0.1.0"
