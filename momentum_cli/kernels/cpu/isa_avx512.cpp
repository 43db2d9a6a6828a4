#include "momentum_rnn.h"
#if defined(MRNN_HAS_AVX512)
#include <math.h>
#include <stdlib.h>
#include <string.h>
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#define MRNN_NS mrnn_avx512
#define MRNN_VECTOR_BYTES 64
#define MRNN_ROWS 12
#include "kernels.h"
#endif
