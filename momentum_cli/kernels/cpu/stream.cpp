// Layers one after the other, with nothing allocated and nothing packed: a session over a stream of steps.
#include <string.h>

#include "momentum_rnn.h"

namespace {
// layer.x <- gain * input, with the constant channel behind
template <class Real> void amplify(const mrnn_stage& stage) {
    const mrnn_args& a = stage.layer;
    const int64_t from_width = a.input - stage.constant;
    const Real* from = static_cast<const Real*>(stage.input);
    Real* to = static_cast<Real*>(const_cast<void*>(a.x));
    const Real gain = static_cast<Real>(stage.gain);
    for (int64_t row = 0; row < a.steps * a.batch; row++, from += from_width, to += a.input) {
        for (int64_t i = 0; i < from_width; i++) to[i] = gain * from[i];
        if (stage.constant) to[from_width] = gain;
    }
}

int64_t filter(const mrnn_stage& stage) {
    const mrnn_args& a = stage.layer;
    const bool real = a.real_bytes == MRNN_FLOAT_BYTES || a.real_bytes == MRNN_DOUBLE_BYTES;
    if (!real || !a.x || stage.constant < 0 || stage.constant > 1 || a.input < stage.constant) return -MRNN_BAD_ARGUMENT;
    a.real_bytes == MRNN_FLOAT_BYTES ? amplify<float>(stage) : amplify<double>(stage);
    if (!stage.filter.decays) return MRNN_OK;
    mrnn_scan scan = stage.filter;
    if (!scan.start || scan.backward || scan.steps != a.steps || scan.batch != a.batch || scan.channels != a.input ||
        scan.real_bytes != a.real_bytes)
        return -MRNN_BAD_ARGUMENT;
    scan.x = scan.out = const_cast<void*>(a.x);
    const int64_t code = mrnn_scan_all(&scan), bytes = a.batch * a.input * a.real_bytes;
    if (!code) memcpy(const_cast<void*>(scan.start), static_cast<const char*>(a.x) + (a.steps - 1) * bytes, bytes);
    return code;
}
}  // namespace

int64_t mrnn_stream(const mrnn_stage* stages, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        if (stages[i].input)
            if (const int64_t code = filter(stages[i])) return code;
        if (const int64_t code = mrnn_forward(&stages[i].layer)) return code;
    }
    return MRNN_OK;
}
