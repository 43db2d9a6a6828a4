// 16-byte vectors: SSE2, NEON, and whatever else the compiler targets.
#include "momentum_rnn.h"
#define MRNN_NS mrnn_generic
#define MRNN_VECTOR_BYTES MRNN_GENERIC_VECTOR_BYTES
#define MRNN_ROWS MRNN_GENERIC_ROWS
#define MRNN_PORTABLE
#include "kernels.h"
