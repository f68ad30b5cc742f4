"""What another threshold would keep: a finished or interrupted run decided anew from its stored columns."""
