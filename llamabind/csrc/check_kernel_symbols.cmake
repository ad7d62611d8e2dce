# Fails if a kernel's object defines a function that the linker may choose for other code.
#   cmake -DNM=nm -DOBJECTS=a.o;b.o -P check_kernel_symbols.cmake
#
# An inline function or template instance is a weak symbol in every object that defines it, and the linker keeps any one of
# these for the whole library. If it kept one compiled for AVX-512, a CPU without AVX-512 would raise SIGILL.
foreach(object IN LISTS OBJECTS)
  execute_process(COMMAND "${NM}" -C --defined-only "${object}"
    OUTPUT_VARIABLE symbols ERROR_VARIABLE error RESULT_VARIABLE failed)
  if(failed)
    message(FATAL_ERROR "${NM} cannot read ${object}: ${error}")
  endif()
  # In nm's output W, w, V and v are weak symbols, and u is one that is unique in the process.
  string(REGEX MATCHALL "[^\n]* [WwVvu] [^\n]*" shared "${symbols}")
  if(shared)
    list(JOIN shared "\n" shared)
    message(FATAL_ERROR
      "${object} is compiled for newer CPUs, but the linker may use these of its functions in code that runs on "
      "every CPU. Remove the inline functions and templates of other libraries from it:\n${shared}")
  endif()
endforeach()
