// Instructions that no compiler finds by itself, each with its portable form. INSTRUCTIONS lists their names, which a test compares
// with the machine code of the library. MRNN_AVX2, MRNN_AVX512 and MRNN_BF16 come from isa_*.cpp: g++ does not define __AVX512F__
// after a target pragma in C++.
//
// smaller(x, y): x < y ? x : y; a NaN in y is kept.
// store_past_caches: for data that is read again only much later; p is aligned to a vector. fence() ends a run of such stores.
// dot(acc, a, b): acc + both products of the Pair in each lane. narrow(x): the nearest bf16, ties to even.
// multiply_add(a, b, c): a b + c, rounded once where the processor can, even where the compiler would not fuse it.
// inverse_root(x): 1 / sqrt(x), and 0 at 0 and at infinity, so that without eps a vanishing input makes a vanishing step.

namespace MRNN_NS {

#if defined(MRNN_BF16)
constexpr char INSTRUCTIONS[] = "vminps vrsqrt14ps vfixupimmps vdpbf16ps vcvtneps2bf16";
#elif defined(MRNN_AVX512)
constexpr char INSTRUCTIONS[] = "vminps vrsqrt14ps vfixupimmps vmovntps";
#elif defined(MRNN_AVX2)
constexpr char INSTRUCTIONS[] = "vminps vrsqrtps vmovntps";
#else
constexpr char INSTRUCTIONS[] = "";
#endif

#if defined(MRNN_AVX512)
MRNN_INLINE VF smaller(VF x, VF y) { return (VF)_mm512_maskz_min_ps((__mmask16)-1, (__m512)x, (__m512)y); }
MRNN_INLINE VF multiply_add(VF a, VF b, VF c) { return (VF)_mm512_fmadd_ps((__m512)a, (__m512)b, (__m512)c); }
MRNN_INLINE void store_past_caches(float* p, VF v) { _mm512_stream_ps(p, (__m512)v); }
MRNN_INLINE void fence() { _mm_sfence(); }
MRNN_INLINE VF inverse_root(VF x) {
    // The estimate of 14 bits and one step of second order: 1 ulp without a root and a division.
    const VF y = (VF)_mm512_maskz_rsqrt14_ps((__mmask16)-1, (__m512)x);
    const VF e = 1.0f - x * y * y;  // (x y) y: y y would underflow for large x
    const __m512i zero_at_zero_and_infinity = _mm512_set1_epi32(8 << 4 * 2 | 8 << 4 * 5);
    return (VF)_mm512_fixupimm_ps((__m512)(y + 0.5f * y * e), (__m512)x, zero_at_zero_and_infinity, 0);
}
#elif defined(MRNN_AVX2)
MRNN_INLINE VF smaller(VF x, VF y) { return (VF)_mm256_min_ps((__m256)x, (__m256)y); }
MRNN_INLINE VF multiply_add(VF a, VF b, VF c) { return (VF)_mm256_fmadd_ps((__m256)a, (__m256)b, (__m256)c); }
MRNN_INLINE void store_past_caches(float* p, VF v) { _mm256_stream_ps(p, (__m256)v); }
MRNN_INLINE void fence() { _mm_sfence(); }
MRNN_INLINE VF inverse_root(VF x) {
    // The estimate of 12 bits and one step of third order.
    const VF y = (VF)_mm256_rsqrt_ps((__m256)x), e = 1.0f - x * y * y;
    const VF refined = x == __builtin_inff() ? VF{} : y + y * e * (0.375f * e + 0.5f);
    return (x >= 0) & (x < 1.17549435e-38f) ? VF{} : refined;  // NaN stays NaN, and is the root of what is negative
}
#else
MRNN_INLINE VF smaller(VF x, VF y) { return x < y ? x : y; }
MRNN_INLINE VF multiply_add(VF a, VF b, VF c) { return a * b + c; }
MRNN_INLINE void store_past_caches(float* p, VF v) { *(VF*)p = v; }
MRNN_INLINE void fence() {}
MRNN_INLINE VF inverse_root(VF x) {
    VF root;
    for (int i = 0; i < LANES<float>; i++) root[i] = __builtin_sqrtf(x[i]);
    return x == 0 ? x : 1 / root;
}
#endif

#if defined(MRNN_BF16)
MRNN_INLINE VF dot(VF acc, VP a, VP b) { return (VF)_mm512_dpbf16_ps((__m512)acc, (__m512bh)a, (__m512bh)b); }
MRNN_INLINE VH narrow(VF x) { return (VH)_mm512_cvtneps_pbh((__m512)x); }
#else
MRNN_INLINE VF dot(VF acc, VP a, VP b) {
    acc += (VF)(a << 16) * (VF)(b << 16);
    return acc + (VF)(a & 0xffff0000u) * (VF)(b & 0xffff0000u);
}
MRNN_INLINE VH narrow(VF x) {
    const VP bits = (VP)x, nearest = bits + 0x7fffu + (bits >> 16 & 1), quiet = bits | 0x400000u;
    return __builtin_convertvector((VP)(x == x ? nearest : quiet) >> 16, VH);
}
#endif

// float64 is for checking and has only what is portable.
MRNN_INLINE VD multiply_add(VD a, VD b, VD c) { return a * b + c; }
MRNN_INLINE void store_past_caches(double* p, VD v) { *(VD*)p = v; }
MRNN_INLINE VD inverse_root(VD x) {
    VD root;
    for (int i = 0; i < LANES<double>; i++) root[i] = __builtin_sqrt(x[i]);
    return x == 0 ? x : 1 / root;
}

}  // namespace MRNN_NS
