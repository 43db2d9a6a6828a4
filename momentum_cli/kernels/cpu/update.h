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

// momentum <- factor momentum + gradient, parameter <- parameter - lr momentum. Returns |momentum|^2.
double heavy_ball(const mrnn_update& u, int64_t start, int64_t n) {
    float *parameter = u.parameter + start, *momentum = u.momentum + start;
    const float *gradient = u.gradient + start, factor = u.factor, lr = u.lr;
    return sum_of_squares(n, [=](int64_t i, int64_t valid) MRNN_LAMBDA {
        const VF m = factor * load_some(momentum + i, valid) + load_some(gradient + i, valid);
        store_some(momentum + i, m, valid);
        store_some(parameter + i, load_some(parameter + i, valid) - lr * m, valid);
        return m;
    });
}

}  // namespace MRNN_NS
