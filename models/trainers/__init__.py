"""Trainers: curated Parquet in, a model out. One loop for all of them, in process or on Ray Train.

A recipe (`recipe.py`) is settings; a task (`task.py`) is what one kind of model does with a micro-batch; the rest is
the same for all: the order of rows, the optimiser's step, checkpoints, logs.
"""
