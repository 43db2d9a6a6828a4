// The filter of a linear dynamics over all time steps: one pass over memory, the value of a channel stays in cache.
#include "momentum_rnn.h"
#include "parallel.h"

namespace {
constexpr int64_t PIECE = 1 << 15;  // values: long against the start of a task, short against a large tensor

struct Work {
    const mrnn_scan& scan;
    int64_t rows;  // of the batch in each task
};

template <class Real>
void filter(const mrnn_scan& s, int64_t first, int64_t last) {
    const Real* x = static_cast<const Real*>(s.x);
    const Real* start = static_cast<const Real*>(s.start);
    Real* out = static_cast<Real*>(s.out);
    const int64_t width = s.batch * s.channels, begin = first * s.channels, end = last * s.channels;
    const Real* before = start;
    for (int64_t k = 0; k < s.steps; k++) {
        const int64_t t = s.backward ? s.steps - 1 - k : k;
        // The factor of the value that comes in: backward in time that of the step after this one.
        const int64_t at = s.decay_steps == 1 ? 0 : s.backward ? t + 1 : t;
        const Real* from = x + t * width;
        Real* to = out + t * width;
        if (!before) {
            for (int64_t i = begin; i < end; i++) to[i] = from[i];
        } else if (s.decay_columns == 1) {
            const Real decay = static_cast<Real>(s.decays[at]);
            for (int64_t i = begin; i < end; i++) to[i] = decay * before[i] + from[i];
        } else {
            for (int64_t b = first; b < last; b++) {
                const Real decay = static_cast<Real>(s.decays[at * s.batch + b]);
                for (int64_t i = b * s.channels; i < (b + 1) * s.channels; i++) to[i] = decay * before[i] + from[i];
            }
        }
        before = to;
    }
}

void run(void* context, int64_t index) {
    const Work& work = *static_cast<const Work*>(context);
    const int64_t first = index * work.rows, rest = work.scan.batch - first;
    const int64_t last = first + (rest < work.rows ? rest : work.rows);
    if (work.scan.real_bytes == MRNN_FLOAT_BYTES)
        filter<float>(work.scan, first, last);
    else
        filter<double>(work.scan, first, last);
}
}  // namespace

int64_t mrnn_scan_all(const mrnn_scan* scan) {
    const mrnn_scan& s = *scan;
    const bool sized = s.steps >= 1 && s.batch >= 1 && s.channels >= 1 && (s.decay_steps == 1 || s.decay_steps == s.steps) &&
                       (s.decay_columns == 1 || s.decay_columns == s.batch);
    const bool real = s.real_bytes == MRNN_FLOAT_BYTES || s.real_bytes == MRNN_DOUBLE_BYTES;
    if (!sized || !real || (s.backward && s.start) || !s.x || !s.out || !s.decays || s.threads < 1) return -MRNN_BAD_ARGUMENT;
    const int64_t pieces = s.steps * s.batch * s.channels / PIECE + 1, parts = pieces < s.threads ? pieces : s.threads;
    Work work{s, (s.batch + parts - 1) / parts};
    mrnn::parallel_for((s.batch + work.rows - 1) / work.rows, s.threads, run, &work);
    return MRNN_OK;
}
