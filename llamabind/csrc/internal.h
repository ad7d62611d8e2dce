// Shared by the shim's files: failures are exceptions inside the shim and status codes in its C interface.

#pragma once

#include "llamabind.h"

#include "json.h"

#include <exception>
#include <functional>
#include <new>
#include <string>
#include <utility>

namespace lb {

using json = common_json;

// A failure with its status. std::bad_alloc becomes LB_NO_MEMORY, every other exception LB_ERROR.
struct failure : std::exception {
    int32_t     status;
    std::string message;

    failure(int32_t status, std::string message) : status(status), message(std::move(message)) {}

    const char * what() const noexcept override { return message.c_str(); }
};

[[noreturn]] inline void invalid(const std::string & message) { throw failure(LB_INVALID, message); }

// error.cpp
int32_t set_error(int32_t status, const std::string & message) noexcept;
int32_t set_error_from_current_exception() noexcept;
char *  copy_string(const std::string & text);

// Runs fn on a stack of n_bytes: llama.cpp's template, JSON and grammar code recurses as deep as its input nests, and
// the caller's thread may have a small stack. Exceptions of fn are rethrown here.
void run_with_stack(size_t n_bytes, const std::function<void()> & fn);

constexpr size_t MiB = 1024 * 1024;

// json_limits.cpp
constexpr int MAX_JSON_DEPTH = 100;

// Parses JSON of a caller. LB_INVALID that names `what` for a syntax error, a NUL, or more than MAX_JSON_DEPTH levels.
json parse_json(const char * text, const char * what);
json parse_json(const std::string & text, const std::string & what);

// The member of that type, `fallback` if it is absent or null; LB_INVALID if it has another type.
std::string get_string(const json & object, const char * key, const std::string & fallback = "");
bool        get_bool(const json & object, const char * key, bool fallback);

// Cuts a long text between two characters: errors quote client text, which may be megabytes of base64.
std::string shorten(const std::string & text, size_t max_bytes = 600);

// For every function of the C interface: runs fn and turns an exception into the thread's last error.
template <typename F> int32_t guard_status(F && fn) noexcept {
    try {
        return fn();
    } catch (...) {
        return set_error_from_current_exception();
    }
}

template <typename F> auto guard_pointer(F && fn) noexcept -> decltype(fn()) {
    try {
        return fn();
    } catch (...) {
        set_error_from_current_exception();
        return nullptr;
    }
}

}  // namespace lb
