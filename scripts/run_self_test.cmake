# Runs during `cmake --install`. Needs checkout, python, is_cross_build and libraries.
if("$ENV{LLAMABIND_SELF_TEST}" MATCHES "^(off|OFF|0)$")
  message(STATUS "llamabind: LLAMABIND_SELF_TEST=off, the build is not tested")
  return()
endif()
if(is_cross_build)
  message(STATUS "llamabind: a cross build is not tested here; on the target run: python -m llamabind.self_test")
  return()
endif()

execute_process(
  COMMAND "${CMAKE_COMMAND}" -E env "PYTHONPATH=${checkout}" PYTHONDONTWRITEBYTECODE=1
          "${python}" -m llamabind.self_test --lib-dir "${libraries}"
  WORKING_DIRECTORY "${checkout}"
  OUTPUT_VARIABLE output
  ERROR_VARIABLE errors
  RESULT_VARIABLE status)
string(STRIP "${output}" output)
string(STRIP "${errors}" errors)
if(status STREQUAL "0")
  message(STATUS "llamabind: ${output}")
elseif(status STREQUAL "3")
  message(WARNING "llamabind: this build was not tested: ${output}")
else()
  message(FATAL_ERROR
    "llamabind: ${output} ${errors}\nSet LLAMABIND_SELF_TEST=off to install it without the test.")
endif()
