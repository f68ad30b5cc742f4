"""Numbers about models and data: one file per metric."""
