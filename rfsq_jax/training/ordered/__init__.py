"""Training of tokenizers whose tokens are ordered."""
