"""Trains the action autoencoder of the step tokenizer."""
