"""estimate_load: the memory of a load; settle: chooses the settings that were left open."""

from dataclasses import dataclass, replace

from llamabind import EngineConfig, ModelParams
from llamabind.context.device_fit import FIT_MARGIN, fit_devices
from llamabind.context.memory_report import MemoryReport
from llamabind.errors import ModelLoadError
from llamabind.memory_estimate import MemoryEstimate, estimate_draft, estimate_memory
from server.protocol.default_context import FLOOR, SMALLEST, choose_context, slack
from server.protocol.loading import DeviceMemory, Estimate, Estimated, HostBudget, Load
from server.worker.loading.companion_checks import check_companions, errors_of_field
from server.worker.loading.device_memory import (
    device_memory,
    fit_margins,
    free_on_devices,
    limit_memory,
)
from server.worker.loading.known_plan import Planned, this_machine
from server.worker.loading.plan import (
    LoadPlan,
    Machine,
    is_placement_open,
    plan_load,
    size_warnings,
    training_context,
)
from server.worker.loading.remote import add_remote_devices

# Enough for a header and a vocabulary; stops files whose headers claim huge counts.
_MEMORY_LIMIT = 4 << 30


@dataclass(frozen=True, slots=True)
class Settled(Planned):
    """A plan that native code has just estimated."""

    estimate: MemoryEstimate


def estimate_load(message: Estimate) -> Estimated:
    """Estimate a load without loading weights. Raises LlamaError.

    Limits the memory of the process: native code parses an untrusted file.
    """
    limit_memory(_MEMORY_LIMIT)
    add_remote_devices(message)
    check_companions(message)
    settled = settle(message)
    n_ctx = settled.n_ctx
    return Estimated(
        devices=settled.devices,
        n_ctx=n_ctx,
        n_gpu_layers=settled.n_gpu_layers,
        warnings=(
            *settled.plan.warnings,
            *size_warnings(message.settings, {"n_ctx": n_ctx}),
        ),
        is_limited=message.settings.has_open_context and n_ctx < settled.estimate.n_ctx_train,
    )


def settle(load: Load | Estimate) -> Settled:
    """Plan a load and compute its memory. Raises LlamaError.

    If `n_ctx` was not set, server.protocol.default_context has the rule; if even its floor does not
    fit into host memory, 4,096 tokens are used.
    """
    sizes = _Sizes(load)
    chosen = _default_context(sizes) if load.settings.has_open_context else None
    settled = _settle(sizes, chosen)
    if chosen == FLOOR and not _fits(settled.devices[0], load.host_budget):
        settled = _settle(sizes, SMALLEST)
    return settled


@dataclass(frozen=True, slots=True)
class _Size:
    """A plan with one context size, and the memory of the model and of its draft model."""

    plan: LoadPlan
    estimate: MemoryEstimate
    draft: MemoryReport | None

    @property
    def reports(self) -> list[MemoryReport]:
        return [self.estimate.report, *([self.draft] if self.draft else [])]


class _Sizes:
    """Computes a load's memory once for each context size: native code reads the file each time."""

    def __init__(self, load: Load | Estimate) -> None:
        self.load = load
        self.machine = this_machine()
        self._known: dict[int | None, _Size] = {}

    def at(self, n_ctx: int | None) -> _Size:
        """The memory with a context of `n_ctx` tokens; None: as the settings have it."""
        if n_ctx not in self._known:
            load = self.load
            plan = plan_load(load.path, load.settings, load.files, self.machine, n_ctx)
            estimate = estimate_memory(load.path, plan.model_params, plan.config)
            draft = _draft_report(load, plan, estimate)
            self._known[n_ctx] = _Size(plan, estimate, draft)
        return self._known[n_ctx]


def _default_context(sizes: _Sizes) -> int | None:
    """The context size by the rule; None if the file does not name its training context."""
    load = sizes.load
    n_ctx_train = training_context(load.path)
    if not n_ctx_train:
        return None
    free = free_on_devices()
    budgets = load.devices.budgets
    margins = {
        name: max(FIT_MARGIN, n_bytes - budgets.get(name, n_bytes))
        for name, n_bytes in free.items()
    }

    def slack_at(n_ctx: int) -> float:
        devices = device_memory(sizes.at(n_ctx).reports, load.files)
        return slack(devices, load.host_budget, margins)

    return choose_context(n_ctx_train, slack_at)


def _settle(sizes: _Sizes, n_ctx: int | None) -> Settled:
    load, machine = sizes.load, sizes.machine
    size = sizes.at(n_ctx)
    plan, estimate, draft = size.plan, size.estimate, size.draft
    if machine.n_gpus and is_placement_open(load.settings):
        # The estimate put the whole model on the GPUs, whether it fits there or not.
        budgets = load.devices.budgets
        margins = fit_margins(
            estimate.report, draft or estimate.heads, load.files, budgets, free_on_devices()
        )
        fitted = _fit(load.path, plan, estimate, margins)
        if fitted != plan:
            plan = fitted
            estimate = estimate_memory(load.path, plan.model_params, plan.config)
    devices = device_memory(_Size(plan, estimate, draft).reports, load.files)
    n_gpu_layers = _gpu_layers(plan.model_params, machine, estimate)
    return Settled(plan, estimate.n_ctx, devices, n_gpu_layers, estimate)


def _fit(path: str, plan: LoadPlan, estimate: MemoryEstimate, margins: list[int]) -> LoadPlan:
    try:
        params = fit_devices(path, plan.model_params, estimate.context_params, margins)
    except ModelLoadError as error:
        warning = f"n_gpu_layers: everything is computed on the CPU: {error.detail}"
        params = replace(plan.model_params, n_gpu_layers=0)
        return replace(plan, model_params=params, warnings=(*plan.warnings, warning))
    return replace(plan, model_params=params)


def _draft_report(
    load: Load | Estimate, plan: LoadPlan, main: MemoryEstimate
) -> MemoryReport | None:
    """The memory of the draft model; its context has as many cells as the engine's."""
    draft, config = load.files.draft_model, plan.config
    if draft is None or not isinstance(config, EngineConfig):
        return None
    params = ModelParams(n_gpu_layers=load.settings.draft_gpu_layers)
    sizes = replace(config, n_ctx=main.n_ctx)
    with errors_of_field("draft_model"):
        return estimate_draft(draft, params, load.path, plan.model_params, sizes)


def _gpu_layers(params: ModelParams, machine: Machine, estimate: MemoryEstimate) -> int:
    """Number of layers on GPUs; the output layer counts as one, as in llama.cpp."""
    if machine.n_gpus == 0:
        return 0
    requested = params.n_gpu_layers
    everything = estimate.n_layer + 1
    return everything if requested is None or requested < 0 else min(requested, everything)


def _fits(host: DeviceMemory, host_budget: HostBudget) -> bool:
    return host.used_bytes <= host_budget.available(host.free_bytes)
