"""EngineTasks: tasks that run on the engine's thread."""

from concurrent.futures import Future

from llamabind import Engine, EngineThread
from llamabind.engine.slot_reports import SequenceReport, SlotReport
from server.protocol.generation_settings import brief_settings
from server.protocol.tasks import (
    AdapterInfo,
    AdapterList,
    ListAdapters,
    ListSlots,
    SetAdapters,
    SlotInfo,
    SlotList,
    SlotRequest,
    TaskResult,
)
from server.worker.engines.adapter_scales import adapter_scales


class EngineTasks:
    """Performs tasks between two steps of the engine. Any thread."""

    def __init__(self, thread: EngineThread[Engine]) -> None:
        self._thread = thread

    def perform(self, task: ListSlots | ListAdapters | SetAdapters) -> Future[TaskResult]:
        """Start a task. Raises EngineStoppedError."""
        match task:
            case ListSlots():
                return self._thread.call(_list_slots)
            case ListAdapters():
                return self._thread.call(_list_adapters)
            case SetAdapters(scales):
                return self._set_adapters(scales)

    def _set_adapters(self, scales: dict[int, float]) -> Future[TaskResult]:
        def change(engine: Engine) -> TaskResult:
            engine.set_adapter_scales(adapter_scales(scales, len(engine.adapters), "id"))
            return _list_adapters(engine)

        return self._thread.call(change)


def _list_slots(engine: Engine) -> TaskResult:
    return SlotList(tuple(_slot_info(report) for report in engine.report_slots()))


def _list_adapters(engine: Engine) -> TaskResult:
    pairs = zip(engine.adapters, engine.adapter_scales, strict=True)
    return AdapterList(
        tuple(
            AdapterInfo(one.path.name, scale, one.task_name, one.prompt_prefix)
            for one, scale in pairs
        )
    )


def _slot_info(report: SlotReport) -> SlotInfo:
    running = None if report.running is None else _slot_request(report.running)
    return SlotInfo(report.seq_id, report.n_tokens, running)


def _slot_request(report: SequenceReport) -> SlotRequest:
    request = report.request
    return SlotRequest(
        id=int(request.request_id),
        n_prompt=len(request.prompt_tokens),
        n_computed=report.n_computed,
        n_cached=report.n_cached,
        n_generated=report.n_generated,
        n_remain=report.n_remain,
        settings=brief_settings(request.sampling, request.max_tokens),
    )
