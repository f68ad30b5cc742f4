"""The report of a run: one self-contained page, made from what stands in the run directory."""
