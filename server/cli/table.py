"""All flags, by group. llama-server's names and variables wherever they mean the same."""

from server.cli.access_flags import ACCESS_FLAGS, LISTENING_FLAGS
from server.cli.chat_flags import CHAT_FLAGS
from server.cli.companion_flags import COMPANION_FLAGS
from server.cli.flag import Group
from server.cli.limit_flags import ENDPOINTS_FLAGS, LIMITS_FLAGS, LOGS_FLAGS
from server.cli.load_flags import MODEL_FLAGS, ROPE_FLAGS
from server.cli.model_dir_flags import SHELF_FLAGS

GROUPS = (
    Group("listening", LISTENING_FLAGS),
    Group("access", ACCESS_FLAGS),
    Group("models", SHELF_FLAGS),
    Group("what a load takes unless it or the model's own settings say otherwise", MODEL_FLAGS),
    Group("other files and other kinds of models, of every load again", COMPANION_FLAGS),
    Group("positions beyond the training context, of every load again", ROPE_FLAGS),
    Group("what a chat has unless its request says otherwise", CHAT_FLAGS),
    Group("endpoints", ENDPOINTS_FLAGS),
    Group("limits", LIMITS_FLAGS),
    Group("logs", LOGS_FLAGS),
)
