// The memory of KV caches and recurrent states on Linux: zeroed without touching it, and touched later on a thread.

#pragma once

#include <cstdint>

namespace lb {

// While one lives, this thread's new buffers in host memory that llama.cpp fills with zeros get their zeros from the
// kernel, when a page is first touched. So a context is made in no time, and its first tokens touch only the pages of their
// own cells. A thread touches the rest `settle_ms` milliseconds later, in huge pages if the system has some, so that a
// later load sees how much memory is free. Negative: llama.cpp writes the zeros itself, as it does on other systems.
class lazy_caches {
  public:
    explicit lazy_caches(int32_t settle_ms);
    ~lazy_caches();

    lazy_caches(const lazy_caches &)             = delete;
    lazy_caches & operator=(const lazy_caches &) = delete;

  private:
    int32_t before;
};

}  // namespace lb
