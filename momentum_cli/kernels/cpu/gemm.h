// Register tiles of ROWS x WIDTH and the packed layouts that feed them.
//
// A *panel* is a contiguous block of rows x WIDTH columns. Weights are packed so that panel (tile, gate) holds WIDTH hidden units
// of one gate: the gates of the same hidden units are computed one after the other, and all are in L1 when they are needed.

namespace MRNN_NS {

// acc[r][:] += a[r * row_stride] * b[:]
template <class real, class factor, int M>
MRNN_INLINE void multiply_one(Vec<real> (&acc)[M][2], const factor* a, ptrdiff_t row_stride, const factor* b) {
    const Vec<factor> b0 = load(b), b1 = load(b + LANES<factor>);
#pragma GCC unroll 16
    for (int r = 0; r < M; r++) {
        const Vec<factor> value = broadcast(a + r * row_stride);
        acc[r][0] = add_product(acc[r][0], value, b0);
        acc[r][1] = add_product(acc[r][1], value, b1);
    }
}

// acc[r][:] += sum_k a[r * row_stride + k * STEP] * b[k][:]
template <class real, class factor, int M, int STEP>
MRNN_INLINE void multiply(Vec<real> (&acc)[M][2], const factor* a, ptrdiff_t row_stride, const factor* b, ptrdiff_t depth) {
    constexpr int W = WIDTH<real>;
    for (; depth >= 4; depth -= 4, a += 4 * STEP, b += 4 * W) {
        multiply_one<real, factor, M>(acc, a, row_stride, b);
        multiply_one<real, factor, M>(acc, a + STEP, row_stride, b + W);
        multiply_one<real, factor, M>(acc, a + 2 * STEP, row_stride, b + 2 * W);
        multiply_one<real, factor, M>(acc, a + 3 * STEP, row_stride, b + 3 * W);
    }
    for (; depth > 0; depth--, a += STEP, b += W) multiply_one<real, factor, M>(acc, a, row_stride, b);
}

// The same for one row and N panels at once, `stride` apart: one panel has too few sums to hide the latency of an addition.
template <class real, class factor, int N>
MRNN_INLINE void multiply_row(Vec<real> (&acc)[N][2], const factor* a, const factor* b, ptrdiff_t stride, ptrdiff_t depth) {
    for (ptrdiff_t k = 0; k < depth; k++, b += WIDTH<real>) {
        const Vec<factor> value = broadcast(a + k);
#pragma GCC unroll 4
        for (int n = 0; n < N; n++) {
            acc[n][0] = add_product(acc[n][0], value, load(b + n * stride));
            acc[n][1] = add_product(acc[n][1], value, load(b + n * stride + LANES<factor>));
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

// Calls f(Count<M>, first row) for `rows` rows in as few blocks as ROWS allows. The blocks are as equal as possible, because a small
// one takes as long as a whole one: it has too few sums to hide the latency of an addition.
template <int M, class F> MRNN_INLINE void block_of(int64_t rows, int64_t r0, const F& f) {
    if constexpr (M > 0) {
        if (rows == M)
            f(Count<M>{}, r0);
        else
            block_of<M - 1>(rows, r0, f);
    }
}
template <class F> MRNN_INLINE void row_blocks(int64_t rows, const F& f) {
    const int64_t blocks = (rows + ROWS - 1) / ROWS;
    for (int64_t i = 0, r0 = 0; i < blocks; i++) {
        const int64_t size = rows / blocks + (i < rows % blocks);
        block_of<ROWS>(size, r0, f);
        r0 += size;
    }
}

}  // namespace MRNN_NS
