// The memory of KV caches and recurrent states on Linux: zeroed without touching it, and touched later on a thread.
//
// llama.cpp clears a cache with memset, which touches all its pages before the load can end. On a virtual machine whose
// host must find the memory first, that takes up to 2 ms for each MiB; most starts need a few MiB of it at once.

#include "cache_memory.h"

#ifdef __linux__

#include "ggml-backend-impl.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <utility>

#include <pthread.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

namespace {

// linux/mman.h has them since Linux 5.14 and 6.1, C libraries later.
constexpr int POPULATE_WRITE = 23;
constexpr int COLLAPSE       = 25;

constexpr size_t MIN_BYTES   = size_t(4) << 20;
// Until it is touched, a cache counts as free memory. Larger ones are cleared as llama.cpp does it, so that a load that
// follows at once cannot take much memory that is already promised.
constexpr size_t MAX_BYTES   = size_t(1) << 30;
constexpr size_t CHUNK_BYTES = size_t(2) << 20;  // a huge page

// The time between two chunks, in times that a chunk takes, while the process computes.
constexpr int PAUSE_WHILE_BUSY = 20;

thread_local int32_t settle_ms = -1;

std::pair<char *, size_t> whole_pages(ggml_backend_buffer_t buffer) {
    const uintptr_t page  = uintptr_t(sysconf(_SC_PAGESIZE));
    const uintptr_t begin = (uintptr_t(buffer->context) + page - 1) / page * page;
    const uintptr_t end   = (uintptr_t(buffer->context) + buffer->size) / page * page;
    return { reinterpret_cast<char *>(begin), end > begin ? end - begin : 0 };
}

bool has_huge_pages() {
    std::ifstream file("/sys/kernel/mm/transparent_hugepage/enabled");
    std::string   text;
    std::getline(file, text);
    return !text.empty() && text.find("[never]") == std::string::npos;
}

// Touches the pages of a buffer on a thread, without changing their content. The destructor ends the thread.
class settler {
  public:
    settler(char * begin, size_t n_bytes, int32_t delay_ms) : begin(begin), end(begin + n_bytes), delay(delay_ms) {
        // Signals are for the threads of the program.
        sigset_t all, before;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        try {
            thread = std::thread([this] { run(); });
        } catch (const std::system_error &) {
            // Without a thread the pages are touched when they are needed.
        }
        pthread_sigmask(SIG_SETMASK, &before, nullptr);
    }

    ~settler() {
        {
            const std::lock_guard<std::mutex> lock(mutex);
            is_ended = true;
        }
        changed.notify_all();
        if (thread.joinable()) {
            thread.join();
        }
    }

  private:
    using clock = std::chrono::steady_clock;

    void run() {
        pthread_setname_np(pthread_self(), "kv settle");
        if (!wait(std::chrono::milliseconds(delay))) {
            return;
        }
        // One thread at a time, so that none takes the others for steps of the model.
        static std::mutex            turn;
        std::unique_lock<std::mutex> lock(turn, std::defer_lock);
        while (!lock.try_lock()) {
            if (!wait(std::chrono::milliseconds(10))) {
                return;
            }
        }
        const bool is_huge = has_huge_pages();
        bool is_busy = delay > 0;
        for (char * chunk = begin; chunk < end;) {
            const auto next   = uintptr_t(chunk) / CHUNK_BYTES * CHUNK_BYTES + CHUNK_BYTES;
            const auto size   = std::min(next - uintptr_t(chunk), uintptr_t(end - chunk));
            const auto from   = clock::now();
            const auto others = cpu_of_others();
            // A chunk that was touched already has small pages, which are copied into a huge one. The chunks behind it keep small
            // pages: a step that touches a new cell would wait for a huge page in each layer.
            const bool is_whole = is_huge && size == CHUNK_BYTES;
            if (is_whole) {
                madvise(chunk, size, MADV_HUGEPAGE);
            }
            if (madvise(chunk, size, POPULATE_WRITE) != 0) {
                return;  // an old kernel, or too little memory: the pages are touched when they are needed
            }
            if (is_whole) {
                madvise(chunk, size, COLLAPSE);
            }
            // The threads of a step wait for each other, so what delays one of them delays the next token. Without a delay the
            // whole cache is needed at once.
            const auto spent = clock::now() - from;
            if (!wait(delay == 0 ? clock::duration(0) : spent * (is_busy ? PAUSE_WHILE_BUSY : 1))) {
                return;
            }
            is_busy = cpu_of_others() - others > (clock::now() - from) / 5;
            chunk += size;
        }
    }

    // The CPU time of the process without this thread.
    static std::chrono::nanoseconds cpu_of_others() {
        const auto read = [](clockid_t id) {
            timespec time = {};
            clock_gettime(id, &time);
            return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
        };
        return read(CLOCK_PROCESS_CPUTIME_ID) - read(CLOCK_THREAD_CPUTIME_ID);
    }

    // False if the buffer is about to be freed.
    bool wait(clock::duration time) {
        std::unique_lock<std::mutex> lock(mutex);
        return !changed.wait_for(lock, time, [this] { return is_ended; });
    }

    char *                  begin;
    char *                  end;
    int32_t                 delay;
    bool                    is_ended = false;
    std::mutex              mutex;
    std::condition_variable changed;
    std::thread             thread;
};

// The original functions of the buffers, and what touches the pages of those that were cleared.
struct lazy_buffer {
    ggml_backend_buffer_i    original;
    int32_t                  delay_ms;
    std::unique_ptr<settler> settling;
};

std::mutex mutex;

std::map<ggml_backend_buffer_t, lazy_buffer> & buffers() {
    static auto * all = new std::map<ggml_backend_buffer_t, lazy_buffer>;
    return *all;
}

void free_buffer(ggml_backend_buffer_t buffer) {
    std::map<ggml_backend_buffer_t, lazy_buffer>::node_type node;
    {
        const std::lock_guard<std::mutex> lock(mutex);
        node = buffers().extract(buffer);
    }
    node.mapped().settling.reset();
    node.mapped().original.free_buffer(buffer);
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    const std::lock_guard<std::mutex> lock(mutex);
    auto &                            own = buffers().at(buffer);
    const auto [begin, n_bytes]           = whole_pages(buffer);
    // Private anonymous memory reads as zeros afterwards, whatever was in it. Fails for locked memory.
    if (value != 0 || n_bytes == 0 || own.settling != nullptr || madvise(begin, n_bytes, MADV_DONTNEED) != 0) {
        own.original.clear(buffer, value);
        return;
    }
    auto * const first = static_cast<char *>(buffer->context);
    std::memset(first, 0, size_t(begin - first));
    std::memset(begin + n_bytes, 0, size_t(first + buffer->size - (begin + n_bytes)));
    // The first tokens have cells in each layer, megabytes apart: with huge pages they would touch nearly everything.
    madvise(begin, n_bytes, MADV_NOHUGEPAGE);
    own.settling = std::make_unique<settler>(begin, n_bytes, own.delay_ms);
}

ggml_backend_buffer_t (*original_alloc)(ggml_backend_buffer_type_t, size_t) = nullptr;

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    ggml_backend_buffer_t buffer = original_alloc(type, size);
    if (buffer != nullptr && settle_ms >= 0 && size >= MIN_BYTES && size <= MAX_BYTES) {
        const std::lock_guard<std::mutex> lock(mutex);
        buffers()[buffer]         = { buffer->iface, settle_ms, nullptr };
        buffer->iface.free_buffer = free_buffer;
        buffer->iface.clear       = clear;
    }
    return buffer;
}

void install() {
    static std::once_flag once;
    std::call_once(once, [] {
        auto & iface       = ggml_backend_cpu_buffer_type()->iface;
        original_alloc     = iface.alloc_buffer;
        iface.alloc_buffer = alloc_buffer;
    });
}

}  // namespace

namespace lb {

lazy_caches::lazy_caches(int32_t delay_ms) : before(settle_ms) {
    install();
    settle_ms = delay_ms;
}

lazy_caches::~lazy_caches() { settle_ms = before; }

}  // namespace lb

#else

namespace lb {

lazy_caches::lazy_caches(int32_t) : before(-1) {}

lazy_caches::~lazy_caches() = default;

}  // namespace lb

#endif
