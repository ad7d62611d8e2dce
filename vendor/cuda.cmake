# Where libggml-cuda.so finds NVIDIA's libraries (cudart, cublas, cublasLt) at run time. The driver's
# libcuda.so.1 is always the system's. A file of its own, so that a change here does not make every
# CPU build a different one (scripts/native_build.py hashes what it depends on).
#
# NVIDIA's wheels come first: pip puts them beside llamabind, into site-packages/nvidia, so that a
# machine with only a driver needs no toolkit. Then the toolkit that the build was made with, unless
# the result is to travel. CMAKE_INSTALL_RPATH_USE_LINK_PATH does not add its folder: CMake takes it
# for one that every loader searches, since nvcc links with it unasked.
set(ggml_cuda "${LLAMA_CPP_DIR}/ggml/src/ggml-cuda")
get_directory_property(cuda_version DIRECTORY "${ggml_cuda}" DEFINITION CUDAToolkit_VERSION_MAJOR)
get_directory_property(toolkit DIRECTORY "${ggml_cuda}" DEFINITION CUDAToolkit_LIBRARY_DIR)
if(cuda_version VERSION_GREATER_EQUAL 13)
  set(folders "${here}/../../nvidia/cu${cuda_version}/lib")
else()
  set(folders "${here}/../../nvidia/cublas/lib" "${here}/../../nvidia/cuda_runtime/lib")
endif()
if(GGML_NATIVE)
  list(APPEND folders "${toolkit}")
endif()
set_property(TARGET ggml-cuda APPEND PROPERTY INSTALL_RPATH ${folders})
