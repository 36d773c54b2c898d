"""Commands that train: one file, one command."""
