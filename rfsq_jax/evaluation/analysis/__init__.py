"""What finished episodes say: rates, failure modes, times."""
