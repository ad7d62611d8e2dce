"""Everything a caller of the C functions names: scalars, handles, callbacks and structs."""

# ruff: noqa: F403

from llamabind._capi.annotations import *
from llamabind._capi.callbacks import *
from llamabind._capi.constants import *
from llamabind._capi.ggml_structs import *
from llamabind._capi.handles import *
from llamabind._capi.llama_structs import *
from llamabind._capi.mtmd_structs import *
