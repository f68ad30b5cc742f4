"""The same work by Potstill and by other tools, side by side: processor time, what was kept, how the process ended."""
