"""The used parts of mtmd.h and mtmd-helper.h, by the C names."""

# ruff: noqa: F403

from llamabind._capi.mtmd_base import *
from llamabind._capi.mtmd_helper import *
