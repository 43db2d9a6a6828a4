// After the matrix product: activations and state update forward, gate gradients backward.
//
// activate() turns the pre-activations of a tile (gates `stride` apart, `count` numbers each) into gates, in place. It is a separate
// pass because each function is a long chain of dependent operations: the processor is busy only with many chains at a time.
// forward() and backward() treat one vector of hidden units of one row. `saved` holds what backward needs; `here` is h_t; `before`
// is c_{t-1} for a recurrence with a cell, and h_{t-1} for one marked DIRECT.
// THRESHOLD: the recurrent bias is not added to the product; it is in pre's next slot, and its gradient is summed in d_bias.

namespace MRNN_NS {

template <class real> MRNN_INLINE void sigmoid_all(real* p, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i += LANES<real>) store(p + i, sigmoid(load(p + i)));
}
template <class real> MRNN_INLINE void tanh_all(real* p, ptrdiff_t count) {
    for (ptrdiff_t i = 0; i < count; i += LANES<real>) store(p + i, tanh_(load(p + i)));
}

// far: store past the caches, because the whole does not fit in them.
template <class real> MRNN_INLINE void keep(real* p, Vec<real> v, bool far) { far ? store_past_caches(p, v) : store(p, v); }
MRNN_INLINE void keep(bf16* p, VF v, bool) { store(p, v); }

struct Lstm {
    static constexpr int GATES = 4, SAVED = 5;  // i f g o c
    static constexpr bool CELL = true, SPLIT = false, DIRECT = false, THRESHOLD = false;

    template <class real> static MRNN_INLINE void activate(real* pre, ptrdiff_t stride, ptrdiff_t count) {
        sigmoid_all(pre, count);
        sigmoid_all(pre + stride, count);
        tanh_all(pre + 2 * stride, count);
        sigmoid_all(pre + 3 * stride, count);
    }

    template <class real, class stored>
    static MRNN_INLINE Vec<real> forward(const real* pre, ptrdiff_t stride, real* cell, stored* saved, ptrdiff_t saved_stride,
                                         bool far) {
        const Vec<real> i = load(pre), f = load(pre + stride), g = load(pre + 2 * stride), o = load(pre + 3 * stride);
        const Vec<real> c = multiply_add(i, g, f * load(cell));
        store(cell, c);
        if (saved) {
            keep(saved, i, far);
            keep(saved + saved_stride, f, far);
            keep(saved + 2 * saved_stride, g, far);
            keep(saved + 3 * saved_stride, o, far);
            keep(saved + 4 * saved_stride, c, far);
        }
        return o * tanh_(c);
    }

    // dh: gradient of h_t. d_cell: gradient of c_t in, of c_{t-1} out. Writes the gate gradients to `gates`.
    template <class real, class stored>
    static MRNN_INLINE Vec<real> backward(Vec<real> dh, real* d_cell, Vec<real>, Vec<real> before, const stored* saved,
                                          ptrdiff_t saved_stride, stored* gates, stored*, real*, ptrdiff_t stride) {
        const Vec<real> i = load(saved), f = load(saved + saved_stride), g = load(saved + 2 * saved_stride);
        const Vec<real> o = load(saved + 3 * saved_stride), t = tanh_(load(saved + 4 * saved_stride));
        const Vec<real> dc = load(d_cell) + dh * o * (1 - t * t);
        store(d_cell, dc * f);
        store(gates, dc * g * i * (1 - i));
        store(gates + stride, dc * before * f * (1 - f));
        store(gates + 2 * stride, dc * i * (1 - g * g));
        store(gates + 3 * stride, dh * t * o * (1 - o));
        return Vec<real>{};
    }
};

// The cell is h itself. SPLIT: the third product W_hn h + b_hn is kept apart from its input d_n, which is in pre's fourth slot.
struct Gru {
    static constexpr int GATES = 3, SAVED = 4;  // r z n (W_hn h + b_hn)
    static constexpr bool CELL = true, SPLIT = true, DIRECT = true, THRESHOLD = false;

    template <class real> static MRNN_INLINE void activate(real* pre, ptrdiff_t stride, ptrdiff_t count) {
        sigmoid_all(pre, count);
        sigmoid_all(pre + stride, count);
    }

    template <class real, class stored>
    static MRNN_INLINE Vec<real> forward(const real* pre, ptrdiff_t stride, real* cell, stored* saved, ptrdiff_t saved_stride,
                                         bool far) {
        const Vec<real> r = load(pre), z = load(pre + stride), hidden = load(pre + 2 * stride);
        const Vec<real> n = tanh_(load(pre + 3 * stride) + r * hidden), before = load(cell);
        const Vec<real> h = n + z * (before - n);
        store(cell, h);
        if (saved) {
            keep(saved, r, far);
            keep(saved + saved_stride, z, far);
            keep(saved + 2 * saved_stride, n, far);
            keep(saved + 3 * saved_stride, hidden, far);
        }
        return h;
    }

    // gates: gradients of the recurrent products, inputs: of the dynamics' outputs. Returns the part of dh_{t-1} past W_hh.
    template <class real, class stored>
    static MRNN_INLINE Vec<real> backward(Vec<real> dh, real*, Vec<real>, Vec<real> before, const stored* saved,
                                          ptrdiff_t saved_stride, stored* gates, stored* inputs, real*, ptrdiff_t stride) {
        const Vec<real> r = load(saved), z = load(saved + saved_stride), n = load(saved + 2 * saved_stride);
        const Vec<real> hidden = load(saved + 3 * saved_stride);
        const Vec<real> dn = dh * (1 - z) * (1 - n * n), dz = dh * (before - n) * z * (1 - z), dr = dn * hidden * r * (1 - r);
        store(gates, dr);
        store(gates + stride, dz);
        store(gates + 2 * stride, dn * r);
        store(inputs, dr);
        store(inputs + stride, dz);
        store(inputs + 2 * stride, dn);
        return dh * z;
    }
};

template <bool TANH> struct Rnn {
    static constexpr int GATES = 1, SAVED = 0;
    static constexpr bool CELL = false, SPLIT = false, DIRECT = false, THRESHOLD = false;

    template <class real> static MRNN_INLINE void activate(real*, ptrdiff_t, ptrdiff_t) {}

    template <class real, class stored>
    static MRNN_INLINE Vec<real> forward(const real* pre, ptrdiff_t, real*, stored*, ptrdiff_t, bool) {
        const Vec<real> p = load(pre);
        Vec<real> h;
        if constexpr (TANH)
            h = tanh_(p);
        else
            h = p < 0 ? Vec<real>{} : p;
        return h;
    }

    template <class real, class stored>
    static MRNN_INLINE Vec<real> backward(Vec<real> dh, real*, Vec<real> h, Vec<real>, const stored*, ptrdiff_t, stored* gates,
                                          stored*, real*, ptrdiff_t) {
        if constexpr (TANH)
            store(gates, dh * (1 - h * h));
        else
            store(gates, (Vec<real>)(h <= 0 ? Vec<real>{} : dh));  // torch hands on the gradient of a NaN
        return Vec<real>{};
    }
};

// h = sign(z) relu(|z| + b). Where h is not 0 its sign is z's, so h alone tells backward both derivatives.
struct ModRelu {
    static constexpr int GATES = 1, SAVED = 0;
    static constexpr bool CELL = false, SPLIT = false, DIRECT = false, THRESHOLD = true;

    template <class real> static MRNN_INLINE void activate(real*, ptrdiff_t, ptrdiff_t) {}

    template <class real, class stored>
    static MRNN_INLINE Vec<real> forward(const real* pre, ptrdiff_t stride, real*, stored*, ptrdiff_t, bool) {
        const Vec<real> z = load(pre), b = load(pre + stride), up = z + b, down = z - b, zero = {};
        const Vec<real> above = up > 0 ? up : zero, below = down < 0 ? down : zero;
        const Vec<real> h = z > 0 ? above : z < 0 ? below : z;  // NaN stays NaN
        return h;
    }

    template <class real, class stored>
    static MRNN_INLINE Vec<real> backward(Vec<real> dh, real*, Vec<real> h, Vec<real>, const stored*, ptrdiff_t, stored* gates,
                                          stored*, real* d_bias, ptrdiff_t) {
        const Vec<real> zero = {};
        store(gates, (Vec<real>)(h > 0 ? dh : h < 0 ? dh : zero));  // 0 for a NaN, whose sign torch takes for 0
        store(d_bias, load(d_bias) + (h > 0 ? dh : h < 0 ? -dh : zero));
        return zero;
    }
};

}  // namespace MRNN_NS
