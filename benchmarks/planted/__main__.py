"""``python -m benchmarks.planted``."""

from benchmarks.planted.run import main

if __name__ == "__main__":
    main()
