"""Programs compiled for accelerators that need not be there, and what can be read off them."""
