"""Ordered tokens of whole chunks: few, coarse first; every prefix and every id decodes."""
