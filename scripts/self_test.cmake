# The last step of an install: test the installed libraries with llamabind/self_test.py.
# Needs `destination`, the folder they are installed to, and Python_EXECUTABLE.
if(IS_ABSOLUTE "${destination}")
  set(installed_to "${destination}")
else()
  set(installed_to "\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}/${destination}")
endif()
install(CODE "
  set(checkout \"${CMAKE_CURRENT_SOURCE_DIR}\")
  set(python \"${Python_EXECUTABLE}\")
  set(is_cross_build \"${CMAKE_CROSSCOMPILING}\")
  set(libraries \"${installed_to}\")
  include(\"${CMAKE_CURRENT_LIST_DIR}/run_self_test.cmake\")
")
