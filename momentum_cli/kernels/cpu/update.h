// Passes of an optimizer over a run of values. Each reads and writes an array once and sums the squares that its momentum rule asks
// for, while the values are in registers: a step is bound by memory, and torch's calls would go through it twice as often.

namespace MRNN_NS {

// visit(i, valid) handles the values i … i + valid - 1, at most a vector, and returns them to be squared. Squares of this many
// values are added as floats, these sums as doubles.
constexpr int64_t SUMMED = 4096;

template <class Visit> MRNN_INLINE double sum_of_squares(int64_t n, Visit visit) {
    constexpr int64_t lanes = LANES<float>;
    double total = 0;
    for (int64_t start = 0; start < n; start += SUMMED) {
        const int64_t end = start + SUMMED < n ? start + SUMMED : n;
        VF sums[4] = {};  // four, or each addition would wait for the one before
        int64_t i = start;
        for (; i + 4 * lanes <= end; i += 4 * lanes)
            for (int k = 0; k < 4; k++) {
                const VF v = visit(i + k * lanes, lanes);
                sums[k] += v * v;
            }
        for (; i < end; i += lanes) {
            const VF v = visit(i, end - i < lanes ? end - i : lanes);
            sums[0] += v * v;
        }
        const VF sum = (sums[0] + sums[1]) + (sums[2] + sums[3]);
        for (int lane = 0; lane < lanes; lane++) total += sum[lane];
    }
    return total;
}

// previous <- gradient. Returns |gradient - previous|^2.
double replace_previous(const mrnn_update& u, int64_t start, int64_t n) {
    float* previous = u.previous + start;
    const float* gradient = u.gradient + start;
    return sum_of_squares(n, [=](int64_t i, int64_t valid) MRNN_LAMBDA {
        const VF g = load_some(gradient + i, valid), change = g - load_some(previous + i, valid);
        store_some(previous + i, g, valid);
        return change;
    });
}

// The passes of momentum_rnn.h. Both end alike: parameter <- parameter - lr u, where u is the update with its weight decay.
MRNN_INLINE VF descend(float* parameter, int64_t valid, VF update, const mrnn_update& u) {
    const VF x = load_some(parameter, valid), whole = update + u.decay * x;
    store_some(parameter, x - u.lr * whole, valid);
    return whole;
}

double heavy_ball(const mrnn_update& all, int64_t start, int64_t n) {
    const mrnn_update u = all;  // a copy: through a reference the compiler would read its numbers again after every store
    return sum_of_squares(n, [=](int64_t i, int64_t valid) MRNN_LAMBDA {
        i += start;
        const VF m = u.factor * load_some(u.momentum + i, valid) + load_some(u.gradient + i, valid);
        store_some(u.momentum + i, m, valid);
        // Zeros beyond the end stay zeros, and add nothing to the norm.
        return descend(u.parameter + i, valid, m, u);
    });
}

double adaptive(const mrnn_update& all, int64_t start, int64_t n) {
    const mrnn_update u = all;
    return sum_of_squares(n, [=](int64_t i, int64_t valid) MRNN_LAMBDA {
        i += start;
        const VF g = load_some(u.gradient + i, valid), before = load_some(u.momentum + i, valid);
        const VF m = before + (1.0f - u.factor) * (g - before);
        const VF v = u.beta2 * load_some(u.square + i, valid) + (1.0f - u.beta2) * (g * g);
        store_some(u.momentum + i, m, valid);
        store_some(u.square + i, v, valid);
        VF direction = m / (u.root_factor * root(v) + u.eps);
        for (int64_t lane = valid; lane < LANES<float>; lane++) direction[lane] = 0;  // 0 / 0 without eps
        return descend(u.parameter + i, valid, direction, u);
    });
}

}  // namespace MRNN_NS
