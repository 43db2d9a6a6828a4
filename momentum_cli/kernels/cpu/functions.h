// Elementary functions of vectors.

namespace MRNN_NS {

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

// tanh |x| = m / (m + 2) with m = exp(2|x|) - 1. There is no cancellation near 0, and only one rounding near saturation, where an
// error in the last place of tanh is a large error of its derivative 1 - tanh^2.
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

}  // namespace MRNN_NS
