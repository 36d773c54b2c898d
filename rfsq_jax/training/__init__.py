"""What every training run shares: state, sharding, checkpoints, metrics and the loop."""
