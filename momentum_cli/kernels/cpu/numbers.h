// The numbers of a layer, in memory and in vectors of MRNN_VECTOR_BYTES bytes by the compiler's vector extension: one source for
// AVX-512, AVX2 and everything else. The macros MRNN_NS, MRNN_VECTOR_BYTES and MRNN_ROWS come from the isa_*.cpp that includes this.
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define MRNN_INLINE inline __attribute__((always_inline))

namespace MRNN_NS {

// bf16 is a float without its low 16 bits. A Pair is two of them, neighbours along the sum of a product, the first in the low half.
struct bf16 {
    uint16_t bits;
};
struct Pair {
    bf16 half[2];
};

// The number types of a layer. real: weights as given, sums, states. stored: x, out, the saved activations, and their gradients.
// factor: what products multiply; one holds PAIR numbers.
template <class number> struct Exact {
    typedef number real, stored, factor;
    static constexpr int PAIR = 1;
};
struct Half {
    typedef float real;
    typedef bf16 stored;
    typedef Pair factor;
    static constexpr int PAIR = 2;
};

// True if numbers are moved four at a time, as vectors of 16 bytes.
template <class number> constexpr bool FOUR = false;
template <> constexpr bool FOUR<float> = true;

// V in registers, U in memory, I an integer for each lane.
template <class number> struct Simd;
template <> struct Simd<float> {
    typedef float V __attribute__((vector_size(MRNN_VECTOR_BYTES)));
    typedef float U __attribute__((vector_size(MRNN_VECTOR_BYTES), aligned(4), may_alias));
    typedef uint32_t I __attribute__((vector_size(MRNN_VECTOR_BYTES)));
};
template <> struct Simd<double> {
    typedef double V __attribute__((vector_size(MRNN_VECTOR_BYTES)));
    typedef double U __attribute__((vector_size(MRNN_VECTOR_BYTES), aligned(8), may_alias));
};
template <> struct Simd<Pair> {
    typedef Simd<float>::I V;
    typedef uint32_t U __attribute__((vector_size(MRNN_VECTOR_BYTES), aligned(2), may_alias));
};
template <> struct Simd<bf16> {
    typedef Simd<float>::V V;  // widened
    typedef uint16_t U __attribute__((vector_size(MRNN_VECTOR_BYTES / 2), aligned(2), may_alias));
    typedef uint16_t N __attribute__((vector_size(MRNN_VECTOR_BYTES / 2)));
};
template <class number> using Vec = typename Simd<number>::V;
typedef Vec<float> VF;
typedef Vec<double> VD;
typedef Vec<Pair> VP;
typedef Simd<bf16>::N VH;

template <class number> constexpr int LANES = MRNN_VECTOR_BYTES / sizeof(number);
template <> constexpr int LANES<bf16> = MRNN_VECTOR_BYTES / sizeof(float);
template <class real> constexpr int WIDTH = 2 * LANES<real>;  // columns of a register tile = hidden units of a tile
constexpr int ROWS = MRNN_ROWS;                               // rows of a register tile

}  // namespace MRNN_NS

#include "instructions.h"

namespace MRNN_NS {

template <class number> MRNN_INLINE Vec<number> load(const number* p) {
    return (Vec<number>)(*(const typename Simd<number>::U*)p);
}
MRNN_INLINE VF load(const bf16* p) {
    return (VF)(__builtin_convertvector((VH)(*(const Simd<bf16>::U*)p), VP) << 16);
}
template <class number> MRNN_INLINE void store(number* p, Vec<number> v) { *(typename Simd<number>::U*)p = v; }
MRNN_INLINE void store(bf16* p, VF v) { *(Simd<bf16>::U*)p = narrow(v); }

// The first `valid` values of a tile row, zero beyond.
template <class number> MRNN_INLINE Vec<number> load_some(const number* p, int64_t valid) {
    if (valid >= LANES<number>) return load(p);
    number some[LANES<number>] = {};
    for (int64_t i = 0; i < valid; i++) some[i] = p[i];
    return load(some);
}
template <class number> MRNN_INLINE void store_some(number* p, Vec<number> v, int64_t valid) {
    if (valid >= LANES<number>) return store(p, v);
    number some[LANES<number>];
    store(some, v);
    for (int64_t i = 0; i < valid; i++) p[i] = some[i];
}

// One number widened, and rounded to where it is stored.
template <class real> MRNN_INLINE real widened(real x) { return x; }
MRNN_INLINE float widened(bf16 x) {
    const uint32_t bits = (uint32_t)x.bits << 16;
    float wide;
    memcpy(&wide, &bits, sizeof wide);
    return wide;
}
template <class real> MRNN_INLINE void put(real* to, real x) { *to = x; }
MRNN_INLINE void put(bf16* to, float x) { to->bits = narrow(x - VF{})[0]; }
// Into one place of a factor; an Exact one has only one.
template <class real> MRNN_INLINE void put_half(real* to, int64_t, real x) { *to = x; }
MRNN_INLINE void put_half(Pair* to, int64_t half, float x) { put(to->half + half, x); }

// A factor in every lane.
template <class real> MRNN_INLINE Vec<real> broadcast(const real* p) { return *p - Vec<real>{}; }  // x - 0 is x; 0 + x is not
MRNN_INLINE VP broadcast(const Pair* p) {
    uint32_t bits;
    memcpy(&bits, p, sizeof bits);
    return bits - VP{};
}
// acc + a b, of a Pair with both its products
template <class V> MRNN_INLINE V add_product(V acc, V a, V b) { return acc + a * b; }
MRNN_INLINE VF add_product(VF acc, VP a, VP b) { return dot(acc, a, b); }

}  // namespace MRNN_NS
