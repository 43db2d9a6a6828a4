// Register tiles of ROWS x WIDTH and the packed layouts that feed them.
//
// A *panel* is a block of rows x WIDTH columns, contiguous. Weights are packed so that panel (tile, gate) holds WIDTH hidden
// units of one gate; so the gates of the same hidden units are computed one after the other and meet in L1.

namespace MRNN_NS {

// acc[r][:] += sum_k a[r * row_stride + k * STEP] * b[k][:]
template <class real, int M, int STEP>
MRNN_INLINE void multiply(Vec<real> (&acc)[M][2], const real* a, ptrdiff_t row_stride, const real* b, ptrdiff_t depth) {
    for (ptrdiff_t k = 0; k < depth; k++, a += STEP, b += WIDTH<real>) {
        const Vec<real> b0 = load(b), b1 = load(b + LANES<real>);
#pragma GCC unroll 16
        for (int r = 0; r < M; r++) {
            const Vec<real> value = (Vec<real>){} + a[r * row_stride];
            acc[r][0] += value * b0;
            acc[r][1] += value * b1;
        }
    }
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

// Calls f(Count<M>, first row) over `rows` rows: blocks of ROWS, then one remainder.
template <int M, class F> MRNN_INLINE void remainder(int64_t left, int64_t r0, const F& f) {
    if constexpr (M > 0) {
        if (left == M) return f(Count<M>{}, r0);
        remainder<M - 1>(left, r0, f);
    }
}
template <class F> MRNN_INLINE void row_blocks(int64_t rows, const F& f) {
    int64_t r0 = 0;
    for (; r0 + ROWS <= rows; r0 += ROWS) f(Count<ROWS>{}, r0);
    remainder<ROWS - 1>(rows - r0, r0, f);
}

}  // namespace MRNN_NS
