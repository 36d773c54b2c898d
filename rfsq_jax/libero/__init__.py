"""The LIBERO bridge: tasks, a deterministic environment, starts, demonstrations. No JAX."""
