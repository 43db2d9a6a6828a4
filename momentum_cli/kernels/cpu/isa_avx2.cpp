#include "momentum_rnn.h"
#if defined(MRNN_HAS_AVX2)
#include <math.h>
#include <stdlib.h>
#include <string.h>
#pragma GCC target("avx2,fma")
#define MRNN_NS mrnn_avx2
#define MRNN_VECTOR_BYTES 32
#define MRNN_ROWS 6
#include "kernels.h"
#endif
