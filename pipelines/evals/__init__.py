"""How good is a model, or a judged set: measured on curated Parquet."""
