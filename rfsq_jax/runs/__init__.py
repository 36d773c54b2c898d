"""What every command shares: options, progress, result files, files that are never half written."""
