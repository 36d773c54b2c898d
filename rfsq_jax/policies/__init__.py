"""From what a robot sees to the actions that it takes.

protocol       `Policy`: observations in, action chunks out
token_policy   heads on a frozen backbone
openvla        OpenVLA and OpenVLA-OFT with their own heads
parts          what a policy of heads is made of, besides its backbone
files          a policy on disk
loading        by name or folder; which policy a command takes
"""

from rfsq_jax.data.observations import Observations
from rfsq_jax.policies.protocol import Mode, Policy

__all__ = ["Mode", "Observations", "Policy"]
