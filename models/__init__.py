"""What is computed: torch."""
