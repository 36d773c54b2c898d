"""Commands that measure: tokenizers, speed, success in the simulator."""
