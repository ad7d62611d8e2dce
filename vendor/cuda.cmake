# Where libggml-cuda.so finds NVIDIA's libraries (cudart, cublas, cublasLt) at run time. The driver's
# libcuda.so.1 is always the system's. A file of its own, so that a change here does not make every
# CPU build a different one (scripts/native_build.py hashes what it depends on).
#
# NVIDIA's wheels come first: `pip install` puts them beside llamabind, into site-packages/nvidia, so
# that a machine with only a driver needs no toolkit. After them the linker's own search path, which
# CMAKE_INSTALL_RPATH_USE_LINK_PATH adds: the toolkit that the build was made with.
get_directory_property(cuda_version DIRECTORY "${LLAMA_CPP_DIR}/ggml/src/ggml-cuda"
  DEFINITION CUDAToolkit_VERSION_MAJOR)
if(cuda_version VERSION_GREATER_EQUAL 13)
  set(wheels "cu${cuda_version}/lib")
else()
  set(wheels "cublas/lib" "cuda_runtime/lib")
endif()
foreach(folder IN LISTS wheels)
  set_property(TARGET ggml-cuda APPEND PROPERTY INSTALL_RPATH "${here}/../../nvidia/${folder}")
endforeach()
