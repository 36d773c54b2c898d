"""The LIBERO bridge: tasks, a fast deterministic environment, starts, demonstrations. NumPy only."""
