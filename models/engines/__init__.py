"""Chat engines behind one protocol."""
