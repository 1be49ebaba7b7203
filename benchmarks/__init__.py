"""Performance benchmarks: ratios taken in one interleaved run. Not installed, and never a test."""
