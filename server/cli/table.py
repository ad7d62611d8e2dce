"""All flags, by group. Flags and variables of the same meaning have llama-server's names."""

from server.cli.access_flags import ACCESS_FLAGS, LISTENING_FLAGS
from server.cli.chat_flags import CHAT_FLAGS
from server.cli.companion_flags import COMPANION_FLAGS
from server.cli.flag import Group
from server.cli.hub_flags import HUB_FLAGS
from server.cli.limit_flags import ENDPOINTS_FLAGS, LIMITS_FLAGS, LOGS_FLAGS
from server.cli.load_flags import MODEL_FLAGS, ROPE_FLAGS
from server.cli.model_dir_flags import MODEL_DIR_FLAGS
from server.cli.placement_flags import PLACEMENT_FLAGS
from server.cli.sampling_flags import SAMPLING_FLAGS

GROUPS = (
    Group("listening", LISTENING_FLAGS),
    Group("access", ACCESS_FLAGS),
    Group("models", MODEL_DIR_FLAGS),
    Group("models of a hub", HUB_FLAGS),
    Group("defaults of a load (a load's own body and --config override them)", MODEL_FLAGS),
    Group("defaults of a load: projector, adapters, drafts, embeddings", COMPANION_FLAGS),
    Group("defaults of a load: devices and metadata", PLACEMENT_FLAGS),
    Group("defaults of a load: contexts beyond the training context", ROPE_FLAGS),
    Group("defaults of a chat (a request's own fields override them)", CHAT_FLAGS),
    Group("defaults of sampling (a request's own fields override them)", SAMPLING_FLAGS),
    Group("endpoints", ENDPOINTS_FLAGS),
    Group("limits", LIMITS_FLAGS),
    Group("logs", LOGS_FLAGS),
)
