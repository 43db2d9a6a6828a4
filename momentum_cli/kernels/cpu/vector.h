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

// exp(x) for |x| <= 87: Cephes' expf (polynomial of degree 5 on [-ln2/2, ln2/2], 1 ulp), 2^n by the exponent bits.
MRNN_INLINE VF exp_bounded(VF x) {
    typedef Simd<float>::I VI;
    const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to the nearest integer
    VF n = x * 1.44269504088896341f + magic;
    VI exponent = ((VI)n) << 23;  // the low bits of n hold the integer; the bits of magic are shifted out
    n -= magic;
    x = x - n * 0.693359375f;
    x = x + n * 2.12194440e-4f;
    VF y = x * 1.9875691500e-4f + 1.3981999507e-3f;
    y = y * x + 8.3334519073e-3f;
    y = y * x + 4.1665795894e-2f;
    y = y * x + 1.6666665459e-1f;
    y = y * x + 5.0000001201e-1f;
    y = y * (x * x) + x + 1.0f;
    return (VF)((VI)y + exponent);
}

template <class V> MRNN_INLINE V clamp(V x, V low, V high) {  // NaN passes through
    x = x < low ? low : x;
    return x > high ? high : x;
}

MRNN_INLINE VF sigmoid(VF x) {
    const VF bound = 87.0f - VF{};
    return 1.0f / (1.0f + exp_bounded(clamp<VF>(-x, -bound, bound)));
}

// 1 - 2 / (exp(2|x|) + 1), and Cephes' odd polynomial below 0.625, where that cancels. 1 ulp also near saturation, where an
// error of the last place of tanh is a large error of its derivative 1 - tanh^2.
MRNN_INLINE VF tanh_(VF x) {
    const VF bound = 9.02f - VF{};  // tanh rounds to 1 beyond
    const Simd<float>::I sign = (Simd<float>::I)x & 0x80000000u;
    VF magnitude = (VF)((Simd<float>::I)x ^ sign);
    VF z = x * x;
    VF small = z * -5.70498872745e-3f + 2.06390887954e-2f;
    small = small * z + -5.37397155531e-2f;
    small = small * z + 1.33314422036e-1f;
    small = small * z + -3.33332819422e-1f;
    small = small * (z * x) + x;
    const VF large = 1.0f - 2.0f / (exp_bounded((magnitude > bound ? bound : magnitude) * 2.0f) + 1.0f);
    return magnitude < 0.625f ? small : (VF)((Simd<float>::I)large ^ sign);
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
#if defined(__AVX2__) && MRNN_VECTOR_BYTES == 32
    // The 12-bit estimate and one step of third order: 1 ulp, at a third of the time of a root and a division.
    const VF y = __builtin_ia32_rsqrtps256(x), e = 1.0f - x * y * y;  // (x y) y: y y would underflow for large x
    const VF refined = x == __builtin_inff() ? VF{} : y + y * e * (0.375f * e + 0.5f);
    return x >= 1.17549435e-38f ? refined : x * 0;  // NaN stays NaN
#else
    return x > 0 ? 1 / root(x) : x * 0;
#endif
}

}  // namespace MRNN_NS
