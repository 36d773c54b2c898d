"""Readers: each converts one kind of file to Episodes, once, and says which conventions it has."""
