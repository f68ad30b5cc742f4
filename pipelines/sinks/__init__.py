"""What the curated rows are written as: one file per format."""
