"""From what a robot sees to the actions that it takes."""
