"""Plays policies in LIBERO: the official protocol, many simulators, one policy.

protocol    what an episode is, and how it differs from the official one
rollout     one episode, as a generator that asks for chunks
worker      the process that owns a simulator
pool        workers as their parent sees them
schedule    which worker plays what next
serving     one policy for all workers
run         all of it together: batches, retries, the log
log         finished episodes, one line each
intervals   how far a rate can be trusted, and whether two differ
summary     figures and tables
"""
