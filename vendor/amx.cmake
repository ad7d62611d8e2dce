# AMX (tile products of Intel's server CPUs) that works, or none.
#
# Some compilers drop the stores to the tile configuration (amx_probe.cpp says how that comes about);
# ggml's AMX code then dies of SIGILL at its first product. Which ones do is found by compiling, not by
# version numbers, and two flags for the one file that loads the configuration prevent it.
include("${CMAKE_CURRENT_LIST_DIR}/compile_probe.cmake")

# Tests put other sources here.
set(LLAMABIND_AMX_PROBE "${CMAKE_CURRENT_LIST_DIR}/amx_probe.cpp")
set(LLAMABIND_AMX_RUN "${CMAKE_CURRENT_LIST_DIR}/amx_run.cpp")
set(LLAMABIND_AMX_ON "${CMAKE_CURRENT_LIST_DIR}/amx_on.cpp")
set(LLAMABIND_KEEP_STORES -fno-tree-dse -fno-dse)
set(LLAMABIND_NO_AMX -mno-amx-tile -mno-amx-int8 -mno-amx-bf16)

# llamabind_mend_amx(<target> <source>)
# To be called for a CPU backend of ggml; <source> is its amx/mmq.cpp.
function(llamabind_mend_amx target source)
  llamabind_machine_flags(flags ${target})
  llamabind_compile(is_on "${LLAMABIND_AMX_ON}" FLAGS ${flags})
  if(NOT is_on)
    return()
  endif()
  llamabind_keeps_tile_config(keeps FLAGS ${flags})
  set(mending)
  if(NOT keeps)
    set(mending ${LLAMABIND_KEEP_STORES})
    llamabind_keeps_tile_config(keeps FLAGS ${flags} ${mending})
  endif()
  if(NOT keeps)
    message(WARNING
      "llamabind: this compiler drops the stores to AMX's tile configuration, and ${mending} do not "
      "prevent it. ${target} is built without AMX; prompts are computed more slowly on CPUs with AMX. "
      "Another compiler, such as a newer GCC, or clang, helps.")
    target_compile_options(${target} PRIVATE ${LLAMABIND_NO_AMX})
    return()
  endif()
  if(GGML_NATIVE AND NOT CMAKE_CROSSCOMPILING)
    llamabind_run_amx(problem FLAGS ${flags} ${mending})
    if(problem)
      message(WARNING
        "llamabind: AMX does not work on this machine (${problem}), so ${target} is built without it. "
        "Nothing else is affected.")
      target_compile_options(${target} PRIVATE ${LLAMABIND_NO_AMX})
      return()
    endif()
  endif()
  if(mending)
    set_property(SOURCE "${source}" TARGET_DIRECTORY ${target}
      APPEND PROPERTY COMPILE_OPTIONS ${mending})
    message(STATUS "llamabind: ${target} has AMX; amx/mmq.cpp is compiled with ${mending}")
  else()
    message(STATUS "llamabind: ${target} has AMX; this compiler needs no flags for it")
  endif()
endfunction()

# Whether the compiler keeps the stores to a tile configuration.
function(llamabind_keeps_tile_config result)
  cmake_parse_arguments(PARSE_ARGV 1 given "" "" "FLAGS")
  llamabind_compile(object "${LLAMABIND_AMX_PROBE}" FLAGS ${given_FLAGS} -O3) # optimised as ggml is
  set(${result} FALSE PARENT_SCOPE)
  if(object)
    # A compiler may store the 8 bytes at once or in halves.
    file(STRINGS "${object}" halves REGEX "LBcf|gRow")
    if(halves MATCHES "LBcf" AND halves MATCHES "gRow")
      set(${result} TRUE PARENT_SCOPE)
    endif()
  endif()
endfunction()

# What is wrong with AMX on this machine; empty if a product of two tiles comes out right.
function(llamabind_run_amx result)
  cmake_parse_arguments(PARSE_ARGV 1 given "" "" "FLAGS")
  unset(LLAMABIND_AMX_STATUS CACHE)
  unset(LLAMABIND_AMX_COMPILES CACHE)
  try_run(LLAMABIND_AMX_STATUS LLAMABIND_AMX_COMPILES
    "${CMAKE_CURRENT_BINARY_DIR}/probes/amx_run" "${LLAMABIND_AMX_RUN}"
    COMPILE_DEFINITIONS ${given_FLAGS} -O3 -fno-lto
    RUN_OUTPUT_VARIABLE output)
  string(STRIP "${output}" output)
  if(NOT LLAMABIND_AMX_COMPILES)
    set(problem "the check for it does not compile")
  elseif(LLAMABIND_AMX_STATUS STREQUAL "0")
    set(problem "")
  elseif(LLAMABIND_AMX_STATUS MATCHES "^[0-9]+$" AND output)
    set(problem "${output}")
  else()
    set(problem "a product of two tiles dies: ${LLAMABIND_AMX_STATUS} ${output}")
  endif()
  unset(LLAMABIND_AMX_STATUS CACHE)
  unset(LLAMABIND_AMX_COMPILES CACHE)
  set(${result} "${problem}" PARENT_SCOPE)
endfunction()
