// Vectors of MRNN_VECTOR_BYTES bytes by the compiler's vector extension: one source for AVX-512, AVX2 and everything else.
// The macros MRNN_NS, MRNN_VECTOR_BYTES and MRNN_ROWS come from the isa_*.cpp that includes this.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MRNN_INLINE inline __attribute__((always_inline))

namespace MRNN_NS {

template <class real> struct Simd;
template <> struct Simd<float> {
    typedef float V __attribute__((vector_size(MRNN_VECTOR_BYTES)));
    typedef float U __attribute__((vector_size(MRNN_VECTOR_BYTES), aligned(4), may_alias));
    typedef uint32_t I __attribute__((vector_size(MRNN_VECTOR_BYTES)));
};
template <> struct Simd<double> {
    typedef double V __attribute__((vector_size(MRNN_VECTOR_BYTES)));
    typedef double U __attribute__((vector_size(MRNN_VECTOR_BYTES), aligned(8), may_alias));
};
template <class real> using Vec = typename Simd<real>::V;
typedef Vec<float> VF;
typedef Vec<double> VD;

template <class real> constexpr int LANES = MRNN_VECTOR_BYTES / sizeof(real);
template <class real> constexpr int WIDTH = 2 * LANES<real>;  // columns of a register tile = hidden units of a tile
constexpr int ROWS = MRNN_ROWS;                               // rows of a register tile

template <class real> MRNN_INLINE Vec<real> load(const real* p) {
    return (Vec<real>)(*(const typename Simd<real>::U*)p);
}
template <class real> MRNN_INLINE void store(real* p, Vec<real> v) { *(typename Simd<real>::U*)p = v; }

// The first `valid` values of a tile row, zero beyond.
template <class real> MRNN_INLINE Vec<real> load_some(const real* p, int64_t valid) {
    if (valid >= LANES<real>) return load(p);
    real tmp[LANES<real>] = {};
    for (int64_t i = 0; i < valid; i++) tmp[i] = p[i];
    return load<real>(tmp);
}
template <class real> MRNN_INLINE void store_some(real* p, Vec<real> v, int64_t valid) {
    if (valid >= LANES<real>) return store(p, v);
    for (int64_t i = 0; i < valid; i++) p[i] = v[i];
}

// Instructions that the compiler does not find by itself. INSTRUCTIONS names them: what the library says of itself, held against its
// disassembly by a test. MRNN_AVX512 and MRNN_AVX2 are ours: g++ does not define __AVX512F__ after a target pragma in C++.
// smaller(x, y): x < y ? x : y; of a NaN in y the NaN is kept. rough_inverse_root(x): 1 / sqrt(x) to 14 or 12 bits.
#if defined(MRNN_AVX512)
#define MRNN_ROUGH_INVERSE_ROOT
constexpr char INSTRUCTIONS[] = "vminps vrsqrt14ps";
MRNN_INLINE VF smaller(VF x, VF y) { return (VF)_mm512_maskz_min_ps((__mmask16)-1, (__m512)x, (__m512)y); }
MRNN_INLINE VF rough_inverse_root(VF x) { return (VF)_mm512_maskz_rsqrt14_ps((__mmask16)-1, (__m512)x); }
#elif defined(MRNN_AVX2)
#define MRNN_ROUGH_INVERSE_ROOT
constexpr char INSTRUCTIONS[] = "vminps vrsqrtps";
MRNN_INLINE VF smaller(VF x, VF y) { return (VF)_mm256_min_ps((__m256)x, (__m256)y); }
MRNN_INLINE VF rough_inverse_root(VF x) { return (VF)_mm256_rsqrt_ps((__m256)x); }
#else
constexpr char INSTRUCTIONS[] = "";
MRNN_INLINE VF smaller(VF x, VF y) { return x < y ? x : y; }
#endif

// exp(x) - 1 = scale * p + (scale - 1) for |x| <= 87: Cephes' expf (x = n ln 2 + r, polynomial of degree 5 in r, 1 ulp).
struct Exp {
    VF p;                  // exp(r) - 1
    Simd<float>::I shift;  // n, in the place of the exponent
};
MRNN_INLINE Exp exp_parts(VF x) {
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
    VF n = x * 1.44269504088896341f + magic;
    const Simd<float>::I shift = ((Simd<float>::I)n) << 23;  // the low bits of n hold the integer; those of magic are shifted out
    n -= magic;
    x = x - n * 0.693359375f;
    x = x + n * 2.12194440e-4f;
    VF y = x * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * x + 8.3334519073e-3f;
    y = y * x + 4.1665795894e-2f;
    y = y * x + 1.6666665459e-1f;
    y = y * x + 5.0000001201e-1f;
    return {y * (x * x) + x, shift};
}

MRNN_INLINE VF sigmoid(VF x) {
    const VF bound = 87.0f - VF{};
    const Exp e = exp_parts(-smaller(bound, -smaller(bound, -x)));
    return 1.0f / (1.0f + (VF)((Simd<float>::I)(e.p + 1.0f) + e.shift));
}

// m / (m + 2) with m = exp(2|x|) - 1, which does not cancel near 0, and near saturation, where an error of the last place of tanh
// is a large error of its derivative 1 - tanh^2, is rounded only once.
MRNN_INLINE VF tanh_(VF x) {
    const VF bound = 9.02f - VF{};  // tanh rounds to 1 beyond
    const Simd<float>::I sign = (Simd<float>::I)x & 0x80000000u;
    const Exp e = exp_parts(smaller(bound, (VF)((Simd<float>::I)x ^ sign)) * 2.0f);
    const VF scale = (VF)(e.shift + 0x3f800000u), m = scale * e.p + (scale - 1.0f);
    return (VF)((Simd<float>::I)(m / (m + 2.0f)) | sign);
}

// float64 is for checking, not for speed: the C library lane by lane.
MRNN_INLINE VD sigmoid(VD x) {
    for (int i = 0; i < LANES<double>; i++) x[i] = 1.0 / (1.0 + exp(-x[i]));
    return x;
}
MRNN_INLINE VD tanh_(VD x) {
    for (int i = 0; i < LANES<double>; i++) x[i] = tanh(x[i]);
    return x;
}

MRNN_INLINE VF root(VF x) {  // compiled to one instruction where there is one (-fno-math-errno)
    for (int i = 0; i < LANES<float>; i++) x[i] = __builtin_sqrtf(x[i]);
    return x;
}
MRNN_INLINE VD root(VD x) {
    for (int i = 0; i < LANES<double>; i++) x[i] = __builtin_sqrt(x[i]);
    return x;
}

// 1 / sqrt(x), and 0 at 0: without eps, a vanishing input makes a vanishing step.
MRNN_INLINE VD inverse_root(VD x) { return x > 0 ? 1 / root(x) : x * 0; }
MRNN_INLINE VF inverse_root(VF x) {
#if defined(MRNN_ROUGH_INVERSE_ROOT)
    // The estimate and one step of third order: 1 ulp without a root and a division.
    const VF y = rough_inverse_root(x);
    const VF e = 1.0f - x * y * y;  // (x y) y: y y would underflow for large x
    const VF refined = x == __builtin_inff() ? VF{} : y + y * e * (0.375f * e + 0.5f);
    return x >= 1.17549435e-38f ? refined : x * 0;  // NaN stays NaN
#else
    return x > 0 ? 1 / root(x) : x * 0;
#endif
}

}  // namespace MRNN_NS
