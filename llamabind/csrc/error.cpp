// The thread's last error, strings returned to callers, and calls on a stack of a chosen size.

#include "internal.h"

#include <cstdlib>
#include <cstring>
#include <system_error>

#ifdef _WIN32
#    include <thread>
#else
#    include <pthread.h>
#endif

namespace {

thread_local int32_t     last_status = LB_OK;
thread_local std::string last_message;

struct stack_call {
    const std::function<void()> & fn;
    std::exception_ptr            error;

    void operator()() noexcept {
        try {
            fn();
        } catch (...) {
            error = std::current_exception();
        }
    }
};

#ifndef _WIN32
void * run_call(void * call) {
    (*static_cast<stack_call *>(call))();
    return nullptr;
}

void run_on_pthread(size_t n_bytes, stack_call & call) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_t thread;
    int       code = pthread_attr_setstacksize(&attributes, n_bytes);
    if (code == 0) {
        code = pthread_create(&thread, &attributes, run_call, &call);
    }
    pthread_attr_destroy(&attributes);
    if (code != 0) {
        throw lb::failure(LB_NO_MEMORY, "cannot start a thread with a stack of " + std::to_string(n_bytes) +
                                            " bytes: " + std::strerror(code));
    }
    pthread_join(thread, nullptr);
}
#endif

}  // namespace

namespace lb {

int32_t set_error(int32_t status, const std::string & message) noexcept {
    last_status = status;
    try {
        last_message = shorten(message, 4000);
    } catch (...) {
        last_message.clear();
    }
    return status;
}

int32_t set_error_from_current_exception() noexcept {
    try {
        throw;
    } catch (const failure & e) {
        return set_error(e.status, e.message);
    } catch (const std::bad_alloc &) {
        return set_error(LB_NO_MEMORY, "out of memory");
    } catch (const std::exception & e) {
        return set_error(LB_ERROR, e.what());
    } catch (...) {
        return set_error(LB_ERROR, "an unknown C++ exception");
    }
}

char * copy_string(const std::string & text) {
    auto * copy = static_cast<char *>(std::malloc(text.size() + 1));
    if (copy == nullptr) {
        throw std::bad_alloc();
    }
    std::memcpy(copy, text.c_str(), text.size() + 1);
    return copy;
}

void run_with_stack(size_t n_bytes, const std::function<void()> & fn) {
    stack_call call{ fn, nullptr };
#ifdef _WIN32
    // NOTE: std::thread has no option for the stack size; only the limits on nesting protect the default one.
    (void) n_bytes;
    std::thread([&call] { call(); }).join();
#else
    run_on_pthread(n_bytes, call);
#endif
    if (call.error) {
        std::rethrow_exception(call.error);
    }
}

}  // namespace lb

const char * lb_last_error(void) { return last_message.c_str(); }

int32_t lb_last_status(void) { return last_status; }

void lb_string_free(char * text) { std::free(text); }
