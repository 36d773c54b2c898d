"""What the comparing commands measure and draw."""
