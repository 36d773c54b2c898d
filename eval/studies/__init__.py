"""What the comparing commands measure and plot."""
