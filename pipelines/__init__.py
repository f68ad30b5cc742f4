"""What happens to rows: Arrow, NumPy, Ray Data."""
