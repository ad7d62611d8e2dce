"""Faults: what goes wrong at a fake hub (fake_hub.py)."""

from dataclasses import dataclass


@dataclass
class Faults:
    """What goes wrong; the defaults are a hub in order.

    cut: end the body of a file at this fraction of it, and close the connection
    cuts: how many bodies are cut; -1 is all
    slow: bytes a second for bodies of files; 0 is no limit
    corrupt: send one wrong byte in the middle of a file
    ignore_range: answer 200 and the whole file where a part is asked for
    too_many: how many requests get a 429
    retry_after: the seconds in its Retry-After
    unavailable: how many requests get a 503
    nonsense: answer each request with this text and status 200
    refuse: close every connection without an answer
    gated_status: the status for a gated repository without a token, 401 or 403
    cdn: send files by a redirect to this origin ("http://localhost:PORT"), as the real hub does
    """

    cut: float = 1.0
    cuts: int = -1
    slow: int = 0
    corrupt: bool = False
    ignore_range: bool = False
    too_many: int = 0
    retry_after: int = 1
    unavailable: int = 0
    nonsense: str = ""
    refuse: bool = False
    gated_status: int = 401
    cdn: str = ""
