#pragma once
#include <stdint.h>

namespace mrnn {
// Calls task(context, i) for i in [0, count) on at most `threads` threads. Which thread takes which i never matters.
void parallel_for(int64_t count, int64_t threads, void (*task)(void*, int64_t), void* context);
}  // namespace mrnn
