"""EngineTasks: what only the engine's own thread can tell or do."""

from concurrent.futures import Future

from llamabind import Engine, EngineThread
from llamabind.slot_reports import SequenceReport, SlotReport
from server.generation_settings import brief_settings
from server.tasks import ListSlots, SlotInfo, SlotList, SlotRequest, TaskResult


class EngineTasks:
    """Asks the engine between two of its steps. Any thread."""

    def __init__(self, thread: EngineThread[Engine]) -> None:
        self._thread = thread

    def perform(self, _task: ListSlots) -> Future[TaskResult]:
        """Begin; raises EngineStoppedError."""
        return self._thread.call(_list_slots)


def _list_slots(engine: Engine) -> TaskResult:
    return SlotList(tuple(_slot_info(report) for report in engine.report_slots()))


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
