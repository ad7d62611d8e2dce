# Compiles one source and looks at the object file: what a compiler does with a set of flags, also
# where its code cannot run (cross builds, instruction sets of other CPUs).

# llamabind_compile(<result> <source> FLAGS <flag>...)
# The path of the object file (an archive with it), empty where the source does not compile.
function(llamabind_compile result source)
  cmake_parse_arguments(PARSE_ARGV 2 given "" "" "FLAGS")
  get_filename_component(name "${source}" NAME_WE)
  string(SHA256 digest "${given_FLAGS} ${CMAKE_CXX_FLAGS} ${source}")
  string(SUBSTRING "${digest}" 0 12 digest)
  set(object "${CMAKE_CURRENT_BINARY_DIR}/probes/${name}-${digest}.a")
  set(CMAKE_TRY_COMPILE_TARGET_TYPE STATIC_LIBRARY) # not linked: a cross compiler may have no libraries
  # Otherwise CMake compiles probes for debugging.
  if(CMAKE_BUILD_TYPE)
    set(CMAKE_TRY_COMPILE_CONFIGURATION "${CMAKE_BUILD_TYPE}")
  else()
    set(CMAKE_TRY_COMPILE_CONFIGURATION Release)
  endif()
  if(NOT MSVC)
    list(APPEND given_FLAGS -fno-lto) # with it an object file holds no machine code
  endif()
  file(REMOVE "${object}")
  unset(compiles CACHE)
  try_compile(compiles "${CMAKE_CURRENT_BINARY_DIR}/probes/${name}-${digest}" "${source}"
    COMPILE_DEFINITIONS ${given_FLAGS}
    COPY_FILE "${object}" COPY_FILE_ERROR ignored)
  if(NOT compiles)
    set(object "")
  endif()
  unset(compiles CACHE)
  set(${result} "${object}" PARENT_SCOPE)
endfunction()

# llamabind_machine_flags(<result> <target>)
# Those of the target's own options that choose instruction sets.
function(llamabind_machine_flags result target)
  get_target_property(options ${target} COMPILE_OPTIONS)
  set(flags)
  if(options)
    foreach(option IN LISTS options)
      # ggml also (un)defines the macros of sets that a compiler names wrongly (-U__ARM_FEATURE_SME).
      if(option MATCHES "^(-m|/arch:|[-/][DU]__)")
        list(APPEND flags "${option}")
      endif()
    endforeach()
  endif()
  set(${result} "${flags}" PARENT_SCOPE)
endfunction()
