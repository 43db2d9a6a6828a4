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
void line(Real* to, const Real* before, const Real* from, Real decay, Real gain, int64_t count) {
    // Written as vectors: a compiler would have to know that `to` overlaps `from` and `before` entirely or not at all.
    typedef Real V __attribute__((vector_size(32), aligned(alignof(Real)), may_alias));
    constexpr int64_t LANES = 32 / sizeof(Real);
    int64_t i = 0;
    if (before) {
        for (; i + LANES <= count; i += LANES) *(V*)(to + i) = decay * *(const V*)(before + i) + gain * *(const V*)(from + i);
        for (; i < count; i++) to[i] = decay * before[i] + gain * from[i];
    } else {
        for (; i + LANES <= count; i += LANES) *(V*)(to + i) = gain * *(const V*)(from + i);
        for (; i < count; i++) to[i] = gain * from[i];
    }
}

template <class Real>
void filter(const mrnn_scan& s, int64_t first, int64_t last) {
    // Rows of the batch are one line of memory, unless each has a decay or a constant of its own.
    const bool joint = !s.constant && s.decay_columns == 1;
    const int64_t width = s.channels - s.constant, lines = joint ? 1 : last - first, count = joint ? (last - first) * width : width;
    const Real gain = static_cast<Real>(s.gain);
    const Real* before = static_cast<const Real*>(s.start);
    for (int64_t k = 0; k < s.steps; k++) {
        const int64_t t = s.backward ? s.steps - 1 - k : k;
        // The factor of the value that comes in: backward in time that of the step after this one.
        const int64_t at = s.decay_steps == 1 ? 0 : s.backward ? t + 1 : t;
        const Real* from = static_cast<const Real*>(s.x) + t * s.batch * width;
        Real* to = static_cast<Real*>(s.out) + t * s.batch * s.channels;
        for (int64_t b = first; b < first + lines; b++) {
            const Real* own = before ? before + b * s.channels : nullptr;
            const Real decay = own ? static_cast<Real>(s.decays[s.decay_columns == 1 ? at : at * s.batch + b]) : 0;
            line(to + b * s.channels, own, from + b * width, decay, gain, count);
            if (s.constant) to[b * s.channels + width] = own ? decay * own[width] + gain : gain;
        }
        if (s.decays) before = to;
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
    const bool allowed = s.backward ? !s.start && !s.constant : s.constant == 0 || (s.constant == 1 && s.channels > 1 && s.x != s.out);
    if (!sized || !real || !allowed || !s.x || !s.out || (s.start && !s.decays) || s.threads < 1) return -MRNN_BAD_ARGUMENT;
    const int64_t pieces = s.steps * s.batch * s.channels / PIECE + 1, parts = pieces < s.threads ? pieces : s.threads;
    Work work{s, (s.batch + parts - 1) / parts};
    mrnn::parallel_for((s.batch + work.rows - 1) / work.rows, s.threads, run, &work);
    return MRNN_OK;
}
