"""Frozen backbones: pictures and an instruction to feature tokens."""
