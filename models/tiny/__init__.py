"""Embedded tiny models: small enough to ship, trained by this repository, for demos and tests without a network."""
