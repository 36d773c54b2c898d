"""Trains a policy's heads on frozen features."""
