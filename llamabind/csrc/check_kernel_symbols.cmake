# Fails if an attention kernel's object defines a function that the linker may choose for other code.
#   cmake -DNM=nm -DOBJECTS=a.o;b.o -P check_kernel_symbols.cmake
#
# Objects that define the same inline function or template instance mark it weak, and the linker keeps any one of them
# for the whole library. One that was compiled for AVX-512 would then end in SIGILL on a CPU without it.
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND "${NM}" -C --defined-only "${object}"
    OUTPUT_VARIABLE symbols ERROR_VARIABLE error RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${NM} cannot read ${object}: ${error}")
  endif()
  # W and V are weak functions and data, u is unique to the process; their small letters are weak, too.
  string(REGEX MATCHALL "[^\n]* [WwVvu] [^\n]*" shared "${symbols}")
  if(shared)
    list(JOIN shared "\n" shared)
    message(FATAL_ERROR
      "${object} is compiled for newer CPUs, and the linker may choose these of its functions for code that runs on "
      "every CPU; use no inline function or template of a library in it:\n${shared}")
  endif()
endforeach()
