// 16-byte vectors: SSE2, NEON, and whatever else the compiler targets.
#define MRNN_NS mrnn_generic
#define MRNN_VECTOR_BYTES 16
#define MRNN_ROWS 6
#include "kernels.h"
