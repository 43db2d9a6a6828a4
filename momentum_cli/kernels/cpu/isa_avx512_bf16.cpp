// Products of bf16 alone; what is float32 is computed by isa_avx512.cpp.
#include "momentum_rnn.h"
#if defined(MRNN_HAS_AVX512_BF16)
#include <immintrin.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx512bf16,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512dq,avx512vl,avx512bw,avx512bf16,fma,prefer-vector-width=512")
#endif
#define MRNN_AVX512
#define MRNN_BF16
#define MRNN_NS mrnn_avx512_bf16
#define MRNN_VECTOR_BYTES 64
#define MRNN_ROWS 12
#include "kernels.h"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
