# libllamabind-cpu, which Python opens first and asks whether this CPU can run the other libraries.
# Needs the target llamabind, and LLAMABIND_NATIVE_PREFIX with llama.cpp's build.
include("${CMAKE_CURRENT_LIST_DIR}/../../vendor/cpu_features.cmake")
include(CheckCXXCompilerFlag)

# llama.cpp's libraries, by vendor/CMakeLists.txt.
file(READ "${LLAMABIND_NATIVE_PREFIX}/cpu-features.json" features)
foreach(kind needed optional)
  string(JSON ${kind} GET "${features}" ${kind})
  string(REPLACE " " ";" ${kind} "${${kind}}")
endforeach()

# And the shim: files of it may have instruction sets of their own. A file with the source property
# LLAMABIND_CHOSEN_AT_RUN_TIME runs only after the CPU was asked, so nothing is needed for it.
get_target_property(files llamabind SOURCES)
list(FILTER files EXCLUDE REGEX "^[$]<") # objects of other targets
foreach(file IN LISTS files)
  get_property(chosen SOURCE "${file}" TARGET_DIRECTORY llamabind
    PROPERTY LLAMABIND_CHOSEN_AT_RUN_TIME)
  get_property(options SOURCE "${file}" TARGET_DIRECTORY llamabind PROPERTY COMPILE_OPTIONS)
  list(FILTER options INCLUDE REGEX "^(-m|/arch:)")
  if(options AND NOT chosen)
    llamabind_features_of(more_needed more_optional FLAGS ${options})
    list(APPEND needed ${more_needed})
    list(APPEND optional ${more_optional})
  endif()
endforeach()
list(REMOVE_DUPLICATES needed)
list(REMOVE_DUPLICATES optional)
list(JOIN needed " " needed)
list(JOIN optional " " optional)

add_library(llamabind-cpu SHARED cpu_features.cpp)
target_compile_features(llamabind-cpu PRIVATE cxx_std_17)
target_compile_definitions(llamabind-cpu PRIVATE
  "LB_CPU_NEEDED=\"${needed}\"" "LB_CPU_OPTIONAL=\"${optional}\"")
set_target_properties(llamabind-cpu PROPERTIES
  CXX_VISIBILITY_PRESET hidden
  INTERPROCEDURAL_OPTIMIZATION OFF)

# For the oldest CPU of its kind, whatever CXXFLAGS say of the others.
set(oldest)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64|amd64")
  set(oldest -march=x86-64 -mtune=generic -mno-sse3 -mno-popcnt -mno-lzcnt -mno-movbe -mno-bmi -mno-bmi2)
elseif(CMAKE_SYSTEM_NAME STREQUAL "Linux" AND CMAKE_SYSTEM_PROCESSOR MATCHES "aarch64|arm64")
  set(oldest -march=armv8-a)
endif()
if(NOT MSVC)
  foreach(flag IN LISTS oldest ITEMS -fno-lto -fno-exceptions)
    string(MAKE_C_IDENTIFIER "LLAMABIND_HAS${flag}" has)
    check_cxx_compiler_flag(${flag} ${has})
    if(${has})
      target_compile_options(llamabind-cpu PRIVATE ${flag})
    endif()
  endforeach()
endif()
if(CMAKE_SYSTEM_NAME STREQUAL "Linux")
  target_link_options(llamabind-cpu PRIVATE "LINKER:--as-needed") # it calls nothing of libstdc++
endif()
