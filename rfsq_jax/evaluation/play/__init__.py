"""Episodes: one rollout, the workers that play them, and the policy that they share."""
