"""Search over loss weights and data settings, on Ray Tune."""
