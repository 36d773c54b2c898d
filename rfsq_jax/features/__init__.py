"""Frozen features on disk: made once, read by every training of heads."""
