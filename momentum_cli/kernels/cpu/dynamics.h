// A chunk of time in gate space: u_t = W_ih x_t + b_ih, then Adam and RMSProp, u_t -> d_t, and their gradients back.

namespace MRNN_NS {

// drive[panel][chunk row] = u; without dynamics all that precedes the recurrent products
template <class Cell, class Numbers> void Part<Cell, Numbers>::project(int64_t t0, int64_t steps) {
    const int64_t depth = layer.depth_x;
    const real* const bias = layer.nonlinear ? layer.bias_in : layer.start;
    // Rows of several steps are one block where all are equally far apart.
    const bool whole = n == B && !a.lengths, joint = whole || n == 1;
    const int64_t groups = joint ? 1 : steps, stride = joint && !whole && D % PAIR == 0 ? B * depth : depth;
    if (offset[steps] == 1) {  // one panel has too few sums for a single row, see multiply_row
        for (int64_t p = 0; p < panels; p += G) {
            V acc[G][2];
            load_tile<real, G>(acc, bias + p * W, W);
            multiply_row<real, factor, G>(acc, x_factors(t0, 0), layer.wx + p * depth * W, depth * W, depth);
            store_tile<real, G>(acc, drive + p * capacity * W, capacity * W);
        }
        return;
    }
    for (int64_t p = 0; p < panels; p++)
        for (int64_t s = 0; s < groups; s++) {
            const factor* x = x_factors(t0 + s, s);
            row_blocks(offset[joint ? steps : s + 1] - offset[s], [&](auto count, int64_t r0) MRNN_LAMBDA {
                constexpr int M = decltype(count)::value;
                V acc[M][2];
                load_tile<real, M>(acc, bias + p * W, 0);
                multiply<real, factor, M, 1>(acc, x + r0 * stride, stride, layer.wx + p * depth * W, depth);
                store_tile<real, M>(acc, drive + (p * capacity + offset[s] + r0) * W, W);
            });
        }
}

// One vector of units over the chunk: the steps of the moments, with u read from `drive` or, with few inputs, computed in place.
// All members are copies: the compiler would read a reference again after every store.
template <class Cell, class Numbers> template <bool ADAM, int INPUTS> struct Part<Cell, Numbers>::Moments {
    const real mu, step, beta, rest;
    const V eps;
    const stored* x;
    const real* u;
    const int64_t* offset;
    const int64_t x_step;
    V weight[INPUTS ? INPUTS : 1], bias;

    Moments(const Part& part, int64_t t0, int64_t p, int64_t lane)
        : mu(part.a.momentum), step(part.a.step_size), beta(part.a.beta2), rest(1 - part.a.beta2), eps((real)part.a.eps - V{}),
          x(part.input(t0)), u(part.drive + p * part.capacity * W + lane), offset(part.offset), x_step(part.B * INPUTS) {
        if (INPUTS) bias = load(part.layer.bias_in + p * W + lane);
        for (int i = 0; i < INPUTS; i++) weight[i] = load(part.layer.wx_few + (p * INPUTS + i) * W + lane);
    }
    MRNN_INLINE real number(int64_t r, int64_t s, int i) const { return widened(x[s * x_step + r * INPUTS + i]); }
    MRNN_INLINE V input(int64_t r, int64_t s) const {
        if (INPUTS == 0) return load(u + (offset[s] + r) * W);
        V sum = bias;
        for (int i = 0; i < INPUTS; i++) sum += number(r, s, i) * weight[i];
        return sum;
    }
    MRNN_INLINE void advance(V input, V& v, V& m) const {
        v = ADAM ? mu * v + step * input : step * input;
        m = beta * m + rest * (input * input);
    }
};

// u -> d over the chunk, states in registers
template <class Cell, class Numbers>
template <bool ADAM, int INPUTS>
void Part<Cell, Numbers>::scan(int64_t t0, int64_t steps) {
    const int64_t* const offset = this->offset;
    const bool far = layer.far;
    for (int64_t p = 0; p < panels; p++) {
        const Moments<ADAM, INPUTS> of[2] = {{*this, t0, p, 0}, {*this, t0, p, L}};
        real *const d = drive + p * capacity * W, *const velocity = v + p * rows * W, *const moment = m + p * rows * W;
        real* const keep_v = ADAM && a.checkpoints ? checkpoint(t0, 1) + p * n * W : nullptr;
        real* const keep_m = a.checkpoints ? checkpoint(t0, 0) + p * n * W : nullptr;
        for (int64_t r = 0; r < n; r++) {
            const int64_t end = active_steps(r, t0, steps);
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                const int64_t at = r * W + half * L;
                V vv = ADAM ? load(velocity + at) : V{}, mm = load(moment + at);
                if (keep_v) keep(keep_v + at, vv, far);
                if (keep_m) keep(keep_m + at, mm, far);
                for (int64_t s = 0; s < end; s++) {
                    of[half].advance(of[half].input(r, s), vv, mm);
                    store(d + offset[s] * W + at, vv * inverse_root(mm + of[half].eps));
                }
                if (ADAM) store(velocity + at, vv);
                store(moment + at, mm);
            }
        }
    }
}

// d/dd -> d/du in place over the chunk: the forward states are recomputed from the checkpoint, then visited in reverse. With few
// inputs their weight gradient is summed on the way, and d/du is stored only if the gradient of x is wanted.
template <class Cell, class Numbers>
template <bool ADAM, int INPUTS>
void Part<Cell, Numbers>::scan_back(int64_t t0, int64_t steps) {
    const real mu = a.momentum, step = a.step_size, beta = a.beta2, rest2 = 2 * (1 - a.beta2);
    const bool wanted = !INPUTS || a.dx;
    const int64_t* const offset = this->offset;
    real* const roots = scratch;  // of each step: q = 1 / sqrt(m + eps), and dd/dm = -v q^3 / 2 divided by q
    for (int64_t p = 0; p < panels; p++) {
        const Moments<ADAM, INPUTS> of[2] = {{*this, t0, p, 0}, {*this, t0, p, L}};
        V sums[2][INPUTS + 1] = {};
        stored* const gradients = inputs + p * capacity * W;
        real *const d_velocity = dv + p * rows * W, *const d_moment = dm + p * rows * W;
        const real* const kept_v = ADAM ? checkpoint(t0, 1) + p * n * W : nullptr;
        const real* const kept_m = checkpoint(t0, 0) + p * n * W;
        for (int64_t r = 0; r < n; r++) {
            const int64_t end = active_steps(r, t0, steps);
#pragma GCC unroll 2
            for (int half = 0; half < 2; half++) {
                const int64_t at = r * W + half * L;
                V vv = ADAM ? load(kept_v + at) : V{}, mm = load(kept_m + at);
                for (int64_t s = 0; s < end; s++) {
                    of[half].advance(of[half].input(r, s), vv, mm);
                    const V q = inverse_root(mm + of[half].eps);
                    store(roots + s * 2 * L, q);
                    store(roots + s * 2 * L + L, (V)((real)-0.5 * vv * (q * q)));
                }
                V gv = ADAM ? load(d_velocity + at) : V{}, gm = load(d_moment + at);
                for (int64_t s = end - 1; s >= 0; s--) {
                    stored* gradient = gradients + offset[s] * W + at;
                    const V dq = load(gradient) * load(roots + s * 2 * L);
                    gv += dq;
                    gm += dq * load(roots + s * 2 * L + L);
                    const V du = gv * step + gm * of[half].input(r, s) * rest2;
                    if (wanted) store(gradient, du);
                    for (int i = 0; i < INPUTS; i++) sums[half][i] += of[half].number(r, s, i) * du;
                    if (INPUTS) sums[half][INPUTS] += du;
                    gv = ADAM ? gv * mu : V{};
                    gm *= beta;
                }
                if (ADAM) store(d_velocity + at, gv);
                store(d_moment + at, gm);
            }
        }
        for (int half = 0; INPUTS && half < 2; half++)
            for (int i = 0; i <= INPUTS; i++) {
                real* to = dw_inputs + (p * ROWS + i) * W + half * L;  // one block
                store(to, load(to) + sums[half][i]);
            }
    }
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::run_dynamics(int64_t t0, int64_t steps) {
    if (!layer.few) project(t0, steps);
    const int inputs_here = layer.few ? D : 0;
    if (layer.adam)
        inputs_here == 0 ? scan<true, 0>(t0, steps) : inputs_here == 1 ? scan<true, 1>(t0, steps) : scan<true, 2>(t0, steps);
    else
        inputs_here == 0 ? scan<false, 0>(t0, steps) : inputs_here == 1 ? scan<false, 1>(t0, steps) : scan<false, 2>(t0, steps);
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::run_dynamics_back(int64_t t0, int64_t steps) {
    if (!layer.few) project(t0, steps);
    const int inputs_here = layer.few ? D : 0;
    if (layer.adam)
        inputs_here == 0   ? scan_back<true, 0>(t0, steps)
        : inputs_here == 1 ? scan_back<true, 1>(t0, steps)
                           : scan_back<true, 2>(t0, steps);
    else
        inputs_here == 0   ? scan_back<false, 0>(t0, steps)
        : inputs_here == 1 ? scan_back<false, 1>(t0, steps)
                           : scan_back<false, 2>(t0, steps);
}

}  // namespace MRNN_NS
