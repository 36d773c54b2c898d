"""Devices to compile for that need not be there."""

from __future__ import annotations

import importlib.util
import os
from typing import Any

from jax.experimental import topologies

from rfsq_jax.runs.checks import NotInstalledError

H100 = "h100"
# NVIDIA's figures of the chip, as XLA's compiler asks for them.
H100_TARGET = """
gpu_device_info {
  cuda_compute_capability { major: 9 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  device_memory_size: 84942979072
  memory_bandwidth: 3352320000000
  l2_cache_size: 52428800
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  threads_per_warp: 32
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
}
dnn_version_info { major: 9 minor: 10 }
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
"""


def devices_of(topology: str) -> list[Any]:
    """The devices of a TPU topology, such as v5e:2x4, or of H100, to compile for.

    Raises:
      NotInstalledError: if the compiler for them is not installed.
    """
    if topology == H100:
        _require("jax_plugins.xla_cuda13", "cuda", topology)
        options = {"target_config": H100_TARGET, "topology": "1x1x1"}
        return list(topologies.get_topology_desc(H100, platform="cuda", **options).devices)
    _require("libtpu", "tpu", topology)
    # Without it the compiler asks the network what machine this is.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    # No device is opened, so that several may compile at once.
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    return list(topologies.get_topology_desc(topology, platform="tpu").devices)


def compiler_options(topology: str) -> dict[str, Any]:
    """Options without which the compiler would want the device."""
    return {"xla_gpu_autotune_level": 0} if topology == H100 else {}


def _require(module: str, extra: str, topology: str) -> None:
    parent = module.split(".")[0]
    if importlib.util.find_spec(parent) is None or importlib.util.find_spec(module) is None:
        raise NotInstalledError(
            f"compiling for {topology} needs {module}: install rfsq-jax[{extra}]"
        )
