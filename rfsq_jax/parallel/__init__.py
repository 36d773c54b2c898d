"""Devices, hosts and processes: who writes, where arrays live, workers, batches of fixed sizes."""
