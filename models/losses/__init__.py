"""Losses: one function per file, each behind a settings class of one interface (`loss.py`).

A loss gives sums and counts; weights, schedules and the one division stand in `stack.py`. Which kinds there are says
`registry.py`.
"""
