// Threads: torch's own OpenMP team when the loader lends it (a second pool would fight its spinning workers), else std::thread.
#include "parallel.h"

#include <atomic>
#include <thread>
#include <vector>

#include "momentum_rnn.h"

namespace {
typedef void (*gomp_parallel_t)(void (*)(void*), void*, unsigned, unsigned);
typedef int (*omp_int_t)();
gomp_parallel_t gomp_parallel = nullptr;
omp_int_t thread_num = nullptr, num_threads = nullptr;

struct Job {
    int64_t count;
    void (*task)(void*, int64_t);
    void* context;
};

void team_member(void* data) {
    const Job& job = *static_cast<Job*>(data);
    const int64_t first = thread_num(), step = num_threads();
    for (int64_t i = first; i < job.count; i += step) job.task(job.context, i);
}
}  // namespace

namespace mrnn {
void parallel_for(int64_t count, int64_t threads, void (*task)(void*, int64_t), void* context) {
    if (threads > count) threads = count;
    if (threads <= 1) {
        for (int64_t i = 0; i < count; i++) task(context, i);
        return;
    }
    if (gomp_parallel) {
        Job job{count, task, context};
        gomp_parallel(team_member, &job, static_cast<unsigned>(threads), 0);
        return;
    }
    std::atomic<int64_t> next{0};
    const auto work = [&] {
        for (int64_t i = next++; i < count; i = next++) task(context, i);
    };
    std::vector<std::thread> team;
    for (int64_t i = 1; i < threads; i++) team.emplace_back(work);
    work();
    for (auto& thread : team) thread.join();
}
}  // namespace mrnn

void mrnn_use_openmp(void* parallel, void* number, void* size) {
    gomp_parallel = reinterpret_cast<gomp_parallel_t>(parallel);
    thread_num = reinterpret_cast<omp_int_t>(number);
    num_threads = reinterpret_cast<omp_int_t>(size);
}
