"""What times and counts: interleaved timing, operations, limits of devices."""
