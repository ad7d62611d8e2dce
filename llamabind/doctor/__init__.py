"""The checks of `llamabind doctor`. Native code runs only in child processes, as it may crash."""

from llamabind.doctor.examination import examine
from llamabind.doctor.finding import Finding, format_findings, to_json

__all__ = ["Finding", "examine", "format_findings", "to_json"]
