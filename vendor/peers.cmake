# llama-server, llama-bench and llama-batched-bench, to compare with. A file of its own, so that a change here does not
# make everybody's llama.cpp a different build (scripts/native_build.py hashes what it depends on).

set(peers llama-server llama-bench llama-batched-bench)
foreach(peer IN LISTS peers)
  # Each program is a small main() in front of a shared library.
  set_target_properties(${peer} PROPERTIES INSTALL_RPATH "${here}/../lib")
  install(TARGETS ${peer} RUNTIME DESTINATION bin)
  install(TARGETS ${peer}-impl LIBRARY DESTINATION lib RUNTIME DESTINATION bin ARCHIVE DESTINATION lib/import)
endforeach()
