#include "momentum_rnn.h"
#if defined(MRNN_HAS_AVX2)
#include <immintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#define MRNN_AVX2
#define MRNN_NS mrnn_avx2
#define MRNN_VECTOR_BYTES 32
#define MRNN_ROWS 6
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
