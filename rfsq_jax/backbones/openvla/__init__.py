"""OpenVLA-7B and OpenVLA-OFT: vision, language model, action decoding, published weights."""
