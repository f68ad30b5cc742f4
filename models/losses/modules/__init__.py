"""The modules of losses that have weights or a memory of their own."""
