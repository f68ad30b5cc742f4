"""A corpus with known flaws, the default curation plan run over it, and what that found: docs/planted.md."""
