"""PrefixRouter: Ray's router by prompt prefix, without its ways to lose a request."""

import logging
from typing import Any, Final

from ray.exceptions import RayError
from ray.llm._internal.serve.routing_policies.prefix_aware.prefix_aware_router import (
    PrefixCacheAffinityRouter,
)

logger = logging.getLogger("ray.serve")

# Of the texts of server.cluster.front.prompts, in which a character is a block of 32.
_MAX_CHARACTERS: Final = 400_000
_KEPT_CHARACTERS: Final = 360_000


class PrefixRouter(PrefixCacheAffinityRouter):
    """Sends a request to the replica that has answered the longest prefix of its prompt.

    If one replica has more than `imbalanced_threshold` requests more than another, or no replica
    has a tenth of the prompt, the request goes to one with few requests or few prompts.

    Where Ray's class raises, such as for a replica that has just ended or a prefix tree whose
    process has, this class chooses by load.
    """

    def initialize_state(self, imbalanced_threshold: float) -> None:
        """Called by Ray Serve with the deployment's `request_router_kwargs`."""
        super().initialize_state(
            imbalanced_threshold=imbalanced_threshold,
            do_eviction=True,
            eviction_threshold_chars=_MAX_CHARACTERS,
            eviction_target_chars=_KEPT_CHARACTERS,
        )

    async def _prefix_match_best_replicas(self, pending_request: Any, candidates: Any) -> Any:
        try:
            ranks = await super()._prefix_match_best_replicas(pending_request, candidates)
        except (KeyError, RayError) as error:
            logger.warning("prefix router: %s: %s; chosen by load", type(error).__name__, error)
            return [[]]
        # The tree may know replicas that this process has not heard of yet, or no longer.
        return [[replica for replica in rank if replica in candidates] for rank in ranks]

    def on_request_routed(self, pending_request: Any, replica_id: Any, result: Any) -> None:
        """Note the prompt."""
        try:
            super().on_request_routed(pending_request, replica_id, result)
        except RayError as error:
            logger.warning("prefix router: the prompt is not noted: %s", error)
