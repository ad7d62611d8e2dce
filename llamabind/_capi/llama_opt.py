"""llama.h: training."""

# mypy: disable-error-code="empty-body"

from llamabind._capi.annotations import VoidPtr, i64
from llamabind._capi.callbacks import ggml_opt_epoch_callback
from llamabind._capi.handles import ContextPtr, ModelPtr, OptDatasetPtr, OptResultPtr, TensorPtr
from llamabind._capi.llama_structs import llama_opt_params
from llamabind._capi.loader import c_function


@c_function("llama")
def llama_opt_param_filter_all(tensor: TensorPtr, userdata: VoidPtr) -> bool: ...


@c_function("llama")
def llama_opt_init(lctx: ContextPtr, model: ModelPtr, lopt_params: llama_opt_params) -> None: ...


@c_function("llama")
def llama_opt_epoch(
    lctx: ContextPtr,
    dataset: OptDatasetPtr,
    result_train: OptResultPtr,
    result_eval: OptResultPtr,
    idata_split: i64,
    callback_train: ggml_opt_epoch_callback | None,
    callback_eval: ggml_opt_epoch_callback | None,
) -> None: ...
