// Register tiles of ROWS x WIDTH and the packed layouts that feed them.
//
// A *panel* is a block of rows x WIDTH columns, contiguous. Weights are packed so that panel (tile, gate) holds WIDTH hidden
// units of one gate; so the gates of the same hidden units are computed one after the other and meet in L1.

namespace MRNN_NS {

// acc[r][:] += a[r * row_stride] * b[:]
template <class real, int M>
MRNN_INLINE void multiply_one(Vec<real> (&acc)[M][2], const real* a, ptrdiff_t row_stride, const real* b) {
    const Vec<real> b0 = load(b), b1 = load(b + LANES<real>);
#pragma GCC unroll 16
    for (int r = 0; r < M; r++) {
        const Vec<real> value = a[r * row_stride] - Vec<real>{};  // x - 0 is x, so this is a broadcast; 0 + x is not
        acc[r][0] += value * b0;
        acc[r][1] += value * b1;
    }
}

// acc[r][:] += sum_k a[r * row_stride + k * STEP] * b[k][:]
template <class real, int M, int STEP>
MRNN_INLINE void multiply(Vec<real> (&acc)[M][2], const real* a, ptrdiff_t row_stride, const real* b, ptrdiff_t depth) {
    constexpr int W = WIDTH<real>;
    for (; depth >= 4; depth -= 4, a += 4 * STEP, b += 4 * W) {
        multiply_one<real, M>(acc, a, row_stride, b);
        multiply_one<real, M>(acc, a + STEP, row_stride, b + W);
        multiply_one<real, M>(acc, a + 2 * STEP, row_stride, b + 2 * W);
        multiply_one<real, M>(acc, a + 3 * STEP, row_stride, b + 3 * W);
    }
    for (; depth > 0; depth--, a += STEP, b += W) multiply_one<real, M>(acc, a, row_stride, b);
}

template <class real, int M> MRNN_INLINE void load_tile(Vec<real> (&acc)[M][2], const real* p, ptrdiff_t row_stride) {
#pragma GCC unroll 16
    for (int r = 0; r < M; r++) {
        acc[r][0] = load(p + r * row_stride);
        acc[r][1] = load(p + r * row_stride + LANES<real>);
    }
}

template <class real, int M> MRNN_INLINE void store_tile(const Vec<real> (&acc)[M][2], real* p, ptrdiff_t row_stride) {
#pragma GCC unroll 16
    for (int r = 0; r < M; r++) {
        store(p + r * row_stride, acc[r][0]);
        store(p + r * row_stride + LANES<real>, acc[r][1]);
    }
}

template <int M> struct Count {
    static constexpr int value = M;
};

// Calls f(Count<M>, first row) over `rows` rows: blocks of ROWS, then the rest by powers of two. A block of every remainder
// would be a little faster and take twice as long to compile.
template <int M, class F> MRNN_INLINE void remainder(int64_t left, int64_t r0, const F& f) {
    if constexpr (M > 0) {
        if (left >= M) {
            f(Count<M>{}, r0);
            left -= M, r0 += M;
        }
        remainder<M / 2>(left, r0, f);
    }
}
template <class F> MRNN_INLINE void row_blocks(int64_t rows, const F& f) {
    static_assert(ROWS <= 16, "the remainder is less than 16");
    int64_t r0 = 0;
    for (; r0 + ROWS <= rows; r0 += ROWS) f(Count<ROWS>{}, r0);
    remainder<(ROWS > 8 ? 8 : ROWS > 4 ? 4 : 2)>(rows - r0, r0, f);
}

}  // namespace MRNN_NS
