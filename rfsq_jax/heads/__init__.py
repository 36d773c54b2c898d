"""Heads that turn frozen features into action tokens, and how their tokens become codes."""
