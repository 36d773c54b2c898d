"""The jitted steps of training, extraction and inference, compiled for pods of many sizes."""
