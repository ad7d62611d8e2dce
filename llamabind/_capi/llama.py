"""llama.h by its C names; each chapter of the header is a module of its own."""

# ruff: noqa: F403

from llamabind._capi.constants import *
from llamabind._capi.llama_adapter import *
from llamabind._capi.llama_backend import *
from llamabind._capi.llama_batch import *
from llamabind._capi.llama_context import *
from llamabind._capi.llama_memory import *
from llamabind._capi.llama_model import *
from llamabind._capi.llama_opt import *
from llamabind._capi.llama_sampler import *
from llamabind._capi.llama_vocab import *
