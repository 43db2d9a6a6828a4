#include "momentum_rnn.h"
#if defined(MRNN_HAS_AVX512)
#include <immintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,fma,prefer-vector-width=512")
#endif
#define MRNN_AVX512
#define MRNN_NS mrnn_avx512
#define MRNN_VECTOR_BYTES 64
#define MRNN_ROWS 12
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
