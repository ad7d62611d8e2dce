"""Opaque C pointers, one Python type for each, so that mypy tells them apart."""

import ctypes
from typing import Annotated, NewType, TypeAlias

# llama.h
VocabHandle = NewType("VocabHandle", int)
ModelHandle = NewType("ModelHandle", int)
ContextHandle = NewType("ContextHandle", int)
SamplerHandle = NewType("SamplerHandle", int)
MemoryHandle = NewType("MemoryHandle", int)
AdapterHandle = NewType("AdapterHandle", int)
BatchExtHandle = NewType("BatchExtHandle", int)

VocabPtr: TypeAlias = Annotated[VocabHandle, ctypes.c_void_p, "llama_vocab"]
ModelPtr: TypeAlias = Annotated[ModelHandle, ctypes.c_void_p, "llama_model"]
ContextPtr: TypeAlias = Annotated[ContextHandle, ctypes.c_void_p, "llama_context"]
SamplerPtr: TypeAlias = Annotated[SamplerHandle, ctypes.c_void_p, "llama_sampler"]
MemoryPtr: TypeAlias = Annotated[MemoryHandle, ctypes.c_void_p, "llama_memory_i"]
AdapterPtr: TypeAlias = Annotated[AdapterHandle, ctypes.c_void_p, "llama_adapter_lora"]
BatchExtPtr: TypeAlias = Annotated[BatchExtHandle, ctypes.c_void_p, "llama_batch_ext"]

# ggml.h, ggml-backend.h, ggml-opt.h, gguf.h
GgmlContextHandle = NewType("GgmlContextHandle", int)
TensorHandle = NewType("TensorHandle", int)
CgraphHandle = NewType("CgraphHandle", int)
ThreadpoolHandle = NewType("ThreadpoolHandle", int)
BackendHandle = NewType("BackendHandle", int)
BackendRegHandle = NewType("BackendRegHandle", int)
DeviceHandle = NewType("DeviceHandle", int)
BufferTypeHandle = NewType("BufferTypeHandle", int)
OptDatasetHandle = NewType("OptDatasetHandle", int)
OptContextHandle = NewType("OptContextHandle", int)
OptResultHandle = NewType("OptResultHandle", int)
GgufHandle = NewType("GgufHandle", int)

GgmlContextPtr: TypeAlias = Annotated[GgmlContextHandle, ctypes.c_void_p, "ggml_context"]
TensorPtr: TypeAlias = Annotated[TensorHandle, ctypes.c_void_p, "ggml_tensor"]
CgraphPtr: TypeAlias = Annotated[CgraphHandle, ctypes.c_void_p, "ggml_cgraph"]
ThreadpoolPtr: TypeAlias = Annotated[ThreadpoolHandle, ctypes.c_void_p, "ggml_threadpool"]
BackendPtr: TypeAlias = Annotated[BackendHandle, ctypes.c_void_p, "ggml_backend"]
BackendRegPtr: TypeAlias = Annotated[BackendRegHandle, ctypes.c_void_p, "ggml_backend_reg"]
DevicePtr: TypeAlias = Annotated[DeviceHandle, ctypes.c_void_p, "ggml_backend_device"]
BufferTypePtr: TypeAlias = Annotated[BufferTypeHandle, ctypes.c_void_p, "ggml_backend_buffer_type"]
OptDatasetPtr: TypeAlias = Annotated[OptDatasetHandle, ctypes.c_void_p, "ggml_opt_dataset"]
OptContextPtr: TypeAlias = Annotated[OptContextHandle, ctypes.c_void_p, "ggml_opt_context"]
OptResultPtr: TypeAlias = Annotated[OptResultHandle, ctypes.c_void_p, "ggml_opt_result"]
GgufPtr: TypeAlias = Annotated[GgufHandle, ctypes.c_void_p, "gguf_context"]

# mtmd.h, mtmd-helper.h
MtmdHandle = NewType("MtmdHandle", int)
BitmapHandle = NewType("BitmapHandle", int)
ImageTokensHandle = NewType("ImageTokensHandle", int)
InputChunkHandle = NewType("InputChunkHandle", int)
InputChunksHandle = NewType("InputChunksHandle", int)
MtmdBatchHandle = NewType("MtmdBatchHandle", int)
VideoHandle = NewType("VideoHandle", int)

MtmdPtr: TypeAlias = Annotated[MtmdHandle, ctypes.c_void_p, "mtmd_context"]
BitmapPtr: TypeAlias = Annotated[BitmapHandle, ctypes.c_void_p, "mtmd_bitmap"]
ImageTokensPtr: TypeAlias = Annotated[ImageTokensHandle, ctypes.c_void_p, "mtmd_image_tokens"]
InputChunkPtr: TypeAlias = Annotated[InputChunkHandle, ctypes.c_void_p, "mtmd_input_chunk"]
InputChunksPtr: TypeAlias = Annotated[InputChunksHandle, ctypes.c_void_p, "mtmd_input_chunks"]
MtmdBatchPtr: TypeAlias = Annotated[MtmdBatchHandle, ctypes.c_void_p, "mtmd_batch"]
VideoPtr: TypeAlias = Annotated[VideoHandle, ctypes.c_void_p, "mtmd_helper_video"]
