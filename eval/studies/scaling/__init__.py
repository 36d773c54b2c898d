"""How jitted steps scale over the chips of pods that need not be there."""
