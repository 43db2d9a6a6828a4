// Layers one after the other, with nothing allocated and nothing packed: a session over a stream of steps.
#include <string.h>

#include "momentum_rnn.h"

namespace {
int64_t filter(const mrnn_stage& stage) {
    const mrnn_args& a = stage.layer;
    mrnn_scan scan = stage.filter;
    if (!a.x || scan.backward || (scan.decays && !scan.start) || scan.steps != a.steps || scan.batch != a.batch ||
        scan.channels != a.input || scan.real_bytes != a.real_bytes)
        return -MRNN_BAD_ARGUMENT;
    scan.x = stage.input;
    scan.out = const_cast<void*>(a.x);
    const int64_t code = mrnn_scan_all(&scan), bytes = a.batch * a.input * a.real_bytes;
    if (!code && scan.start) memcpy(const_cast<void*>(scan.start), static_cast<const char*>(a.x) + (a.steps - 1) * bytes, bytes);
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
