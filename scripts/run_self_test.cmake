# Runs while `cmake --install` does. Needs checkout, python, is_cross_build, libraries.
if("$ENV{LLAMABIND_SELF_TEST}" MATCHES "^(off|OFF|0)$")
  message(STATUS "llamabind: LLAMABIND_SELF_TEST=off, the build is not tested")
  return()
endif()
if(is_cross_build)
  message(STATUS "llamabind: a cross build is not tested here; on its machine: python -m llamabind.self_test")
  return()
endif()

execute_process(
  COMMAND "${CMAKE_COMMAND}" -E env "PYTHONPATH=${checkout}" PYTHONDONTWRITEBYTECODE=1
          "${python}" -m llamabind.self_test --lib-dir "${libraries}"
  WORKING_DIRECTORY "${checkout}"
  OUTPUT_VARIABLE said
  ERROR_VARIABLE complained
  RESULT_VARIABLE status)
string(STRIP "${said}" said)
string(STRIP "${complained}" complained)
if(status STREQUAL "0")
  message(STATUS "llamabind: ${said}")
elseif(status STREQUAL "3")
  message(WARNING "llamabind: this build was not tested: ${said}")
else()
  message(FATAL_ERROR
    "llamabind: ${said} ${complained}\nLLAMABIND_SELF_TEST=off installs it all the same.")
endif()
