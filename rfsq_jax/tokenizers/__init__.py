"""Action chunks in, tokens out: the protocol, its kinds, and their files."""
