"""The used parts of ggml.h, ggml-backend.h, ggml-cpu.h, ggml-rpc.h and gguf.h, by the C names."""

# ruff: noqa: F403

from llamabind._capi.ggml_backend import *
from llamabind._capi.ggml_base import *
from llamabind._capi.ggml_rpc import *
from llamabind._capi.gguf import *
