"""plan_known: the plan of a load whose memory the server has estimated before.

It imports no engine, so that the model can be loaded while these are imported.
"""

from dataclasses import dataclass

import msgspec

from llamabind.errors import ModelLoadError
from llamabind.native.remote_devices import has_remote_devices
from llamabind.system.cpus import usable_cpus
from llamabind.system.host_memory import host_memory
from server.formats import byte_size
from server.protocol.loading import DeviceMemory, Load
from server.worker.loading.device_memory import count_gpus
from server.worker.loading.plan import LoadPlan, Machine, plan_load

# Load modes that read weights into process memory instead of mapping the file.
_UNMAPPED_MODES = ("none", "mlock", "dio")


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan with its memory; `devices` includes the draft model, adapters and projector."""

    plan: LoadPlan
    n_ctx: int
    devices: tuple[DeviceMemory, ...]
    n_gpu_layers: int


def plan_known(load: Load) -> Planned:
    """The plan of a load by the server's estimate, or by a new one. Raises LlamaError.

    With GPUs it is always new, because the placement of layers depends on their free memory.
    """
    known = load.estimated
    is_host_only = known is not None and len(known.devices) == 1 and not count_gpus()
    if known is None or not is_host_only or load.settings.has_open_context:
        # Here, since it imports the engine, which is imported while a known model is loaded.
        from server.worker.loading.estimate import settle

        return settle(load)
    plan = plan_load(load.path, load.settings, load.files, this_machine())
    host = msgspec.structs.replace(known.devices[0], free_bytes=host_memory().free)
    return Planned(plan, known.n_ctx, (host,), 0)


def require_memory(planned: Planned) -> None:
    """Raise ModelLoadError if cache and buffers alone exceed the free host memory.

    Weights count only if they are not mapped, since the system can drop pages of a mapped file.
    Without this check Linux would grant the memory and kill the process once it is written to.
    """
    host = planned.devices[0]
    needed, free = host.context_bytes + host.compute_bytes, host.free_bytes or 0
    what = "cache and buffers"
    if planned.plan.model_params.load_mode in _UNMAPPED_MODES:
        needed, what = host.used_bytes, "weights, cache and buffers"
    if needed > free:
        raise ModelLoadError(
            "out_of_memory",
            f"{what} for n_ctx {planned.n_ctx} need {byte_size(needed)} of host memory; "
            f"{byte_size(free)} is free",
        )


def this_machine() -> Machine:
    """The CPUs and devices of this process."""
    return Machine(usable_cpus(), count_gpus(), has_remote_devices())
