// One layer over a whole sequence. The batch is partitioned into parts; a part runs all its time steps alone, without a barrier.
// Time is cut into chunks: the dynamics of a chunk are scanned before its steps, its weight gradient is taken after them.

namespace MRNN_NS {

MRNN_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Scratch of one part: one allocation, cut into aligned pieces.
struct Arena {
    char *base = nullptr, *next = nullptr;
    int64_t wanted = 0;
    template <class real> real* take(int64_t n) {  // first pass (base null): only counts
        const int64_t bytes = ceil_div(n * (int64_t)sizeof(real), 64) * 64 + 64;  // + a line: no two pieces alias in L1
        char* p = next;
        wanted += bytes;
        if (base) next += bytes;
        return (real*)p;
    }
};

template <class Cell, class real> struct Layer {
    static constexpr int W = WIDTH<real>, L = LANES<real>, G = Cell::GATES, S = Cell::SAVED;
    static constexpr int LINE = 64 / sizeof(real);  // of the cache
    typedef Vec<real> V;

    const mrnn_args& a;
    const int64_t T, B, D, H;
    const int64_t tiles;   // of W hidden units
    const int64_t panels;  // tiles * G
    const int64_t rows;    // of the first part; later ones may have one less
    const int64_t chunk;
    const bool nonlinear, adam;
    // packed once, shared by all parts
    real *wh = nullptr, *wx = nullptr, *bias_in = nullptr, *bias_hidden = nullptr;  // forward: [panel][H | D][W], [panel][W]
    real *wh_back = nullptr, *wx_back = nullptr;                                      // backward: [tile of H | D][panel * W][W]

    explicit Layer(const mrnn_args& args)
        : a(args), T(args.steps), B(args.batch), D(args.input), H(args.hidden), tiles(ceil_div(H, W)), panels(tiles * G),
          rows(ceil_div(B, args.parts)), chunk(args.chunk), nonlinear(args.dynamics != MRNN_LINEAR),
          adam(args.dynamics == MRNN_ADAM) {}

    int64_t saved_size() const { return T * B * tiles * S * W; }
    int64_t chunks() const { return ceil_div(T, chunk); }
    int64_t states() const { return adam ? 2 : nonlinear ? 1 : 0; }
    int64_t checkpoints_size() const { return chunks() * states() * B * panels * W; }

    // ------------------------------------------------------------------ packing
    static constexpr bool separate_inputs(const mrnn_args& args) { return Cell::SPLIT || args.dynamics != MRNN_LINEAR; }

    void take_packed(Arena& arena, bool backward) {
        wx = arena.take<real>(panels * D * W);
        bias_in = arena.take<real>(panels * W);
        bias_hidden = arena.take<real>(panels * W);
        if (!backward) wh = arena.take<real>(panels * H * W);
        if (backward) wh_back = arena.take<real>(tiles * panels * W * W);
        if (backward && a.dx) wx_back = arena.take<real>(ceil_div(D, W) * panels * W * W);
    }

    // panels[tile, gate][k][lane] = weight[gate * H + tile * W + lane][k], zero beyond H
    void pack_rows(const real* weight, int64_t depth, real* out) const {
        for (int64_t p = 0; p < panels; p++)
            for (int64_t lane = 0; lane < W; lane++) {
                const int64_t unit = p / G * W + lane;
                const real* row = weight ? weight + ((p % G) * H + unit) * depth : nullptr;
                for (int64_t k = 0; k < depth; k++) out[(p * depth + k) * W + lane] = row && unit < H ? row[k] : 0;
            }
    }

    // out[tile][panel * W + lane][column] = weight[row of (panel, lane)][tile * W + column]
    void pack_columns(const real* weight, int64_t columns, real* out) const {
        for (int64_t c0 = 0; c0 < columns; c0 += W)
            for (int64_t p = 0; p < panels; p++)
                for (int64_t lane = 0; lane < W; lane++, out += W) {
                    const int64_t unit = p / G * W + lane;
                    for (int64_t c = 0; c < W; c++)
                        out[c] = unit < H && c0 + c < columns ? weight[((p % G) * H + unit) * columns + c0 + c] : 0;
                }
    }

    void pack(bool backward) const {
        pack_rows((const real*)a.w_ih, D, wx);
        pack_rows((const real*)a.b_ih, 1, bias_in);
        pack_rows((const real*)a.b_hh, 1, bias_hidden);
        if (wh) pack_rows((const real*)a.w_hh, H, wh);
        if (wh_back) pack_columns((const real*)a.w_hh, H, wh_back);
        if (wx_back) pack_columns((const real*)a.w_ih, D, wx_back);
        (void)backward;
    }

    // states (B, blocks * H) <-> [block tile][row][W]; `block` gates of one tile are neighbours
    void read_state(const real* state, int64_t blocks, int64_t b0, int64_t n, real* out) const {
        for (int64_t p = 0; p < tiles * blocks; p++)
            for (int64_t r = 0; r < n; r++)
                for (int64_t lane = 0; lane < W; lane++) {
                    const int64_t unit = p / blocks * W + lane;
                    out[(p * rows + r) * W + lane] =
                        state && unit < H ? state[(b0 + r) * blocks * H + (p % blocks) * H + unit] : 0;
                }
    }
    void write_state(const real* in, int64_t blocks, int64_t b0, int64_t n, real* state) const {
        if (!state) return;
        for (int64_t p = 0; p < tiles * blocks; p++)
            for (int64_t r = 0; r < n; r++)
                for (int64_t lane = 0; lane < W && p / blocks * W + lane < H; lane++)
                    state[(b0 + r) * blocks * H + (p % blocks) * H + p / blocks * W + lane] = in[(p * rows + r) * W + lane];
    }

    // ------------------------------------------------------------------ one part
    struct Part {
        const Layer& layer;
        const mrnn_args& a;
        const int64_t b0, n;  // first row, rows
        const int64_t rows, T, B, D, H, tiles, panels, chunk;
        int64_t* offset = nullptr;  // first row of each step of the chunk in the chunk's panels (chunk + 1)
        int64_t capacity;           // rows of a chunk panel
        real *cell = nullptr, *v = nullptr, *m = nullptr, *drive = nullptr;
        real *dh = nullptr, *d_cell = nullptr, *dv = nullptr, *dm = nullptr, *gates = nullptr, *inputs = nullptr;
        real *left = nullptr, *left_inputs = nullptr, *dw = nullptr, *dw_inputs = nullptr, *scratch = nullptr;
        real *d_bias = nullptr, *d_bias_chunk = nullptr;

        Part(const Layer& l, int64_t index)
            : layer(l), a(l.a), b0(l.B / a.parts * index + (index < l.B % a.parts ? index : l.B % a.parts)),
              n(l.B / a.parts + (index < l.B % a.parts)), rows(l.rows), T(l.T), B(l.B), D(l.D), H(l.H), tiles(l.tiles), panels(l.panels), chunk(l.chunk), capacity(chunk * l.rows) {}

        int64_t active(int64_t t) const {  // rows not past their end; they are a prefix
            if (!a.lengths) return n;
            int64_t r = n;
            while (r > 0 && a.lengths[b0 + r - 1] <= t) r--;
            return r;
        }
        int64_t active_steps(int64_t r, int64_t t0, int64_t steps) const {  // of the chunk at t0, for row r
            if (!a.lengths) return steps;
            const int64_t left_steps = a.lengths[b0 + r] - t0;
            return left_steps < 0 ? 0 : left_steps < steps ? left_steps : steps;
        }
        void start_chunk(int64_t t0, int64_t steps) {
            offset[0] = 0;
            for (int64_t s = 0; s < steps; s++) offset[s + 1] = offset[s] + active(t0 + s);
        }
        const real* before(int64_t t) const { return t ? (const real*)a.out + ((t - 1) * B + b0) * H : h0(); }
        const real* h0() const { return a.h0 ? (const real*)a.h0 + b0 * H : nullptr; }
        const real* input(int64_t t) const { return (const real*)a.x + (t * B + b0) * D; }
        real* saved(int64_t t, int64_t tile, int64_t r) const {
            return (real*)a.saved + ((b0 * T + t * n) * tiles + tile * n + r) * S * W;
        }
        real* checkpoint(int64_t t, int64_t which) const {
            return (real*)a.checkpoints + ((t / chunk * layer.states() + which) * B + b0) * panels * W;
        }

        // -------------------------------------------------------------- dynamics
        // drive[panel][chunk row] = u = W_ih x + b_ih
        void project(int64_t t0, int64_t steps, real* out) const {
            for (int64_t p = 0; p < panels; p++)
                for (int64_t s = 0; s < steps; s++)
                    row_blocks(offset[s + 1] - offset[s], [&](auto count, int64_t r0) MRNN_LAMBDA {
                        constexpr int M = decltype(count)::value;
                        V acc[M][2];
                        load_tile<real, M>(acc, layer.bias_in + p * W, 0);
                        multiply<real, M, 1>(acc, input(t0 + s) + r0 * D, D, layer.wx + p * D * W, D);
                        store_tile<real, M>(acc, out + (p * capacity + offset[s] + r0) * W, W);
                    });
        }

        template <bool ADAM> MRNN_INLINE void advance(V u, V& v, V& m) const {
            const real mu = a.momentum, step = a.step_size, beta = a.beta2, rest = 1 - a.beta2;
            v = ADAM ? mu * v + step * u : step * u;
            m = beta * m + rest * (u * u);
        }

        static constexpr int FEW = 2;  // inputs: projected in registers, without a buffer
        bool few() const { return D <= FEW; }

        // u of one row and vector: from the buffer, or of few inputs on the spot
        struct Source {
            const real *x[2], *u;
            int64_t x_step;
            V w[2], bias;
        };
        MRNN_INLINE Source source(int64_t t0, int64_t p, int64_t lane) const {
            const real* weight = layer.wx + p * D * W + lane;
            return {{input(t0), input(t0) + (D > 1)}, nullptr, B * D, {load(weight), D > 1 ? load(weight + W) : V{}},
                    load(layer.bias_in + p * W + lane)};
        }
        MRNN_INLINE V project_one(const Source& from, int64_t r, int64_t s) const {
            const int64_t at = r * D + s * from.x_step;
            return from.bias + from.x[0][at] * from.w[0] + from.x[1][at] * from.w[1];
        }

        // u -> d over the chunk, states in registers
        template <bool ADAM, bool ON_THE_SPOT> void scan(int64_t t0, int64_t steps) {
            const V eps = (real)a.eps - V{};
            for (int64_t p = 0; p < panels; p++)
                for (int64_t lane = 0; lane < W; lane += L) {
                    const Source from = ON_THE_SPOT ? source(t0, p, lane) : Source{};
                    for (int64_t r = 0; r < n; r++) {
                        const int64_t at = (p * rows + r) * W + lane, packed = (p * n + r) * W + lane;
                        V vv = ADAM ? load(v + at) : V{}, mm = load(m + at);
                        if (a.checkpoints) {
                            if (ADAM) store(checkpoint(t0, 1) + packed, vv);
                            store(checkpoint(t0, 0) + packed, mm);
                        }
                        const int64_t end = active_steps(r, t0, steps);
                        for (int64_t s = 0; s < end; s++) {
                            real* d = drive + (p * capacity + offset[s] + r) * W + lane;
                            advance<ADAM>(ON_THE_SPOT ? project_one(from, r, s) : load(d), vv, mm);
                            store(d, vv * inverse_root(mm + eps));
                        }
                        if (ADAM) store(v + at, vv);
                        store(m + at, mm);
                    }
                }
        }

        // d/dd -> d/du in place over the chunk: the forward states are recomputed from the checkpoint, then run in reverse.
        template <bool ADAM, bool ON_THE_SPOT> void scan_back(int64_t t0, int64_t steps) {
            const real mu = a.momentum, step = a.step_size, beta = a.beta2, rest2 = 2 * (1 - a.beta2);
            const V eps = (real)a.eps - V{};
            for (int64_t p = 0; p < panels; p++)
                for (int64_t lane = 0; lane < W; lane += L) {
                    const Source from = ON_THE_SPOT ? source(t0, p, lane) : Source{};
                    for (int64_t r = 0; r < n; r++) {
                        const int64_t at = (p * rows + r) * W + lane, packed = (p * n + r) * W + lane;
                        V vv = ADAM ? load(checkpoint(t0, 1) + packed) : V{}, mm = load(checkpoint(t0, 0) + packed);
                        const int64_t end = active_steps(r, t0, steps);
                        for (int64_t s = 0; s < end; s++) {
                            const V u = ON_THE_SPOT ? project_one(from, r, s)
                                                    : load(drive + (p * capacity + offset[s] + r) * W + lane);
                            advance<ADAM>(u, vv, mm);
                            const V q = inverse_root(mm + eps);
                            store(scratch + s * 4 * L, u);
                            store(scratch + s * 4 * L + L, q);
                            store(scratch + s * 4 * L + 2 * L, (V)((real)-0.5 * vv * (q * q)));
                        }
                        V gv = ADAM ? load(dv + at) : V{}, gm = load(dm + at);
                        for (int64_t s = end - 1; s >= 0; s--) {
                            real* gradient = inputs + (p * capacity + offset[s] + r) * W + lane;
                            const V dq = load(gradient) * load(scratch + s * 4 * L + L);
                            gv += dq;
                            gm += dq * load(scratch + s * 4 * L + 2 * L);
                            store(gradient, gv * step + gm * load(scratch + s * 4 * L) * rest2);
                            gv = ADAM ? gv * mu : V{};
                            gm *= beta;
                        }
                        if (ADAM) store(dv + at, gv);
                        store(dm + at, gm);
                    }
                }
        }

        void run_dynamics(int64_t t0, int64_t steps) {
            if (!few()) project(t0, steps, drive);
            if (layer.adam)
                few() ? scan<true, true>(t0, steps) : scan<true, false>(t0, steps);
            else
                few() ? scan<false, true>(t0, steps) : scan<false, false>(t0, steps);
        }
        void run_dynamics_back(int64_t t0, int64_t steps) {
            if (!few()) project(t0, steps, drive);
            if (layer.adam)
                few() ? scan_back<true, true>(t0, steps) : scan_back<true, false>(t0, steps);
            else
                few() ? scan_back<false, true>(t0, steps) : scan_back<false, false>(t0, steps);
        }

        // -------------------------------------------------------------- forward
        // Pre-activations of one gate of M rows into `pre`; SPLIT: the input part goes to `apart`, past W_hh h.
        template <int M, bool SPLIT> MRNN_INLINE void gate_tile(int64_t t, int64_t s, int64_t p, int64_t r0, real* pre, real* apart) {
            const real* h = before(t);
            V acc[M][2];
            load_tile<real, M>(acc, SPLIT || Cell::THRESHOLD ? layer.zero() : layer.bias_hidden + p * W, 0);
            if (layer.nonlinear) {
                const real* d = drive + (p * capacity + offset[s] + r0) * W;
#pragma GCC unroll 16
                for (int r = 0; r < M; r++) {
                    acc[r][0] += load(d + r * W);
                    acc[r][1] += load(d + r * W + L);
                }
            } else {
                const V bias0 = load(layer.bias_in + p * W), bias1 = load(layer.bias_in + p * W + L);
#pragma GCC unroll 16
                for (int r = 0; r < M; r++) {
                    acc[r][0] += bias0;
                    acc[r][1] += bias1;
                }
                multiply<real, M, 1>(acc, input(t) + r0 * D, D, layer.wx + p * D * W, D);
            }
            if (SPLIT) {
                store_tile<real, M>(acc, apart, W);
                load_tile<real, M>(acc, layer.bias_hidden + p * W, 0);
            }
            if (h) multiply<real, M, 1>(acc, h + r0 * H, H, layer.wh + p * H * W, H);
            store_tile<real, M>(acc, pre, W);
        }

        template <int M> void forward_tile(int64_t t, int64_t s, int64_t tile, int64_t r0) {
            alignas(64) real pre[(G + 1) * ROWS * W];
            const int joint = Cell::SPLIT ? G - 1 : G;
            // The lines that this tile will write come from memory while the product is computed.
            real* keep = a.saved ? saved(t, tile, r0) : nullptr;
            for (int at = 0; keep && at < M * S * W; at += LINE) __builtin_prefetch(keep + at, 1, 3);
            for (int r = 0; r < M; r++) __builtin_prefetch((real*)a.out + (t * B + b0 + r0 + r) * H + tile * W, 1, 3);
            for (int g = 0; g < joint; g++) gate_tile<M, false>(t, s, tile * G + g, r0, pre + g * ROWS * W, nullptr);
            if (Cell::SPLIT) gate_tile<M, true>(t, s, tile * G + joint, r0, pre + joint * ROWS * W, pre + G * ROWS * W);
            if (Cell::THRESHOLD) {
                V bias[M][2];
                load_tile<real, M>(bias, layer.bias_hidden + tile * W, 0);
                store_tile<real, M>(bias, pre + G * ROWS * W, W);
            }
            Cell::template activate<real>(pre, ROWS * W, M * W);
            real* state = Cell::CELL ? cell + (tile * rows + r0) * W : nullptr;
            real* out = (real*)a.out + ((t * B + b0 + r0) * H) + tile * W;
            for (int r = 0; r < M; r++)
                for (int lane = 0; lane < W; lane += L) {
                    const int64_t at = r * W + lane;
                    const V value = Cell::template forward<real>(pre + at, ROWS * W, Cell::CELL ? state + at : nullptr,
                                                                 keep ? keep + r * S * W + lane : nullptr, W);
                    if (H - tile * W > lane) store_some(out + r * H + lane, value, H - tile * W - lane);
                }
        }

        void take_forward(Arena& arena) {
            offset = arena.take<int64_t>(chunk + 1);
            if (Cell::CELL) cell = arena.take<real>(tiles * rows * W);
            if (layer.adam) v = arena.take<real>(panels * rows * W);
            if (layer.nonlinear) m = arena.take<real>(panels * rows * W), drive = arena.take<real>(panels * capacity * W);
        }

        void forward() {
            if (n <= 0) return;
            if (Cell::CELL) layer.read_state((const real*)(Cell::DIRECT ? a.h0 : a.c0), 1, b0, n, cell);
            if (layer.adam) layer.read_state((const real*)a.v0, G, b0, n, v);
            if (layer.nonlinear) layer.read_state((const real*)a.m0, G, b0, n, m);
            for (int64_t t0 = 0; t0 < T; t0 += chunk) {
                const int64_t steps = T - t0 < chunk ? T - t0 : chunk;
                start_chunk(t0, steps);
                if (layer.nonlinear) run_dynamics(t0, steps);
                for (int64_t s = 0; s < steps; s++)
                    for (int64_t tile = 0; tile < tiles; tile++)
                        row_blocks(offset[s + 1] - offset[s], [&](auto count, int64_t r0) MRNN_LAMBDA {
                            this->template forward_tile<decltype(count)::value>(t0 + s, s, tile, r0);
                        });
            }
            for (int64_t r = 0; r < n && a.hn; r++) {
                const int64_t last = a.lengths ? a.lengths[b0 + r] : T;
                const real* from = last ? (const real*)a.out + ((last - 1) * B + b0 + r) * H : h0() ? h0() + r * H : nullptr;
                for (int64_t k = 0; k < H; k++) ((real*)a.hn)[(b0 + r) * H + k] = from ? from[k] : 0;
            }
            if (Cell::CELL && !Cell::DIRECT) layer.write_state(cell, 1, b0, n, (real*)a.cn);
            if (layer.adam) layer.write_state(v, G, b0, n, (real*)a.vn);
            if (layer.nonlinear) layer.write_state(m, G, b0, n, (real*)a.mn);
        }

        // -------------------------------------------------------------- backward
        bool apart() const { return separate_inputs(a); }
        int64_t left_columns() const { return apart() ? H + 1 : H + D + 1; }  // [h | x | 1]
        int64_t left_blocks() const { return ceil_div(left_columns(), ROWS); }
        int64_t input_blocks() const { return ceil_div(D + 1, ROWS); }  // [x | 1]

        void take_backward(Arena& arena) {
            offset = arena.take<int64_t>(chunk + 1);
            if (Cell::CELL && !Cell::DIRECT) cell = arena.take<real>(tiles * rows * W), d_cell = arena.take<real>(tiles * rows * W);
            dh = arena.take<real>(tiles * rows * W);
            scratch = arena.take<real>(chunk * 4 * L);
            if (layer.adam) dv = arena.take<real>(panels * rows * W);
            if (layer.nonlinear) dm = arena.take<real>(panels * rows * W);
            if (layer.nonlinear && !few()) drive = arena.take<real>(panels * capacity * W);
            gates = arena.take<real>(panels * capacity * W);
            inputs = Cell::SPLIT ? arena.take<real>(panels * capacity * W) : gates;
            left = arena.take<real>(left_blocks() * ROWS * capacity);
            dw = arena.take<real>(panels * left_blocks() * ROWS * W);
            if (Cell::THRESHOLD) d_bias = arena.take<real>(tiles * W), d_bias_chunk = arena.take<real>(tiles * W);
            if (apart()) {
                left_inputs = arena.take<real>(input_blocks() * ROWS * capacity);
                dw_inputs = arena.take<real>(panels * input_blocks() * ROWS * W);
            }
        }

        void gate_gradients(int64_t t, int64_t s) {
            const int64_t count = offset[s + 1] - offset[s];
            for (int64_t tile = 0; tile < tiles; tile++)
                for (int64_t r = 0; r < count; r++)
                    for (int64_t lane = 0; lane < W; lane += L) {
                        const int64_t at = (tile * rows + r) * W + lane, place = (tile * G * capacity + offset[s] + r) * W + lane;
                        V d = load(dh + at);
                        if (a.d_out && H - tile * W > lane)
                            d += load_some((const real*)a.d_out + (t * B + b0 + r) * H + tile * W + lane, H - tile * W - lane);
                        V past = {};
                        if (Cell::CELL && !Cell::DIRECT) past = t ? load(saved(t - 1, tile, r) + 4 * W + lane) : load(cell + at);
                        real* second = Cell::THRESHOLD ? d_bias_chunk + tile * W + lane : inputs + place;
                        const V direct =
                            Cell::template backward<real>(d, Cell::CELL && !Cell::DIRECT ? d_cell + at : nullptr, past,
                                                          saved(t, tile, r) + lane, W, gates + place, second, capacity * W);
                        if (Cell::DIRECT) store(dh + at, direct);
                    }
        }

        // dh_{t-1} (+)= sum over panels of gates_t W_hh
        void hidden_gradient(int64_t t, int64_t s) {
            for (int64_t tile = 0; tile < tiles; tile++)
                row_blocks(offset[s + 1] - offset[s], [&](auto count, int64_t r0) MRNN_LAMBDA {
                    constexpr int M = decltype(count)::value;
                    if (t) {  // what the step before will read comes from memory while the product is computed
                        const real* next = saved(t - 1, tile, r0);
                        for (int at = 0; at < M * S * W; at += LINE) __builtin_prefetch(next + at, 0, 2);
                        if (Cell::CELL && !Cell::DIRECT && t > 1)  // of the step before that, c alone
                            for (int at = 4 * W; at < M * S * W; at += S * W)
                                for (int k = 0; k < W; k += LINE) __builtin_prefetch(saved(t - 2, tile, r0) + at + k, 0, 2);
                        const int64_t first = ((t - 1) * B + b0 + r0) * H + tile * W;
                        for (int r = 0; r < M; r++) __builtin_prefetch((const real*)a.out + first + r * H, 0, 2);
                        for (int r = 0; r < M && a.d_out; r++) __builtin_prefetch((const real*)a.d_out + first + r * H, 0, 2);
                    }
                    V acc[M][2];
                    real* to = dh + (tile * rows + r0) * W;
                    if (Cell::DIRECT)
                        load_tile<real, M>(acc, to, W);
                    else
                        load_tile<real, M>(acc, layer.zero(), 0);
                    const real *from = gates + (offset[s] + r0) * W, *weight = layer.wh_back + tile * panels * W * W;
                    for (int64_t p = 0; p < panels; p++, from += capacity * W, weight += W * W)
                        multiply<real, M, 1>(acc, from, W, weight, W);
                    store_tile<real, M>(acc, to, W);
                });
        }

        void input_gradient(int64_t t0, int64_t steps) const {
            for (int64_t tile = 0; tile * W < D; tile++)
                for (int64_t s = 0; s < steps; s++)
                    row_blocks(offset[s + 1] - offset[s], [&](auto count, int64_t r0) MRNN_LAMBDA {
                        constexpr int M = decltype(count)::value;
                        V acc[M][2];
                        load_tile<real, M>(acc, layer.zero(), 0);
                        const real *from = inputs + (offset[s] + r0) * W, *weight = layer.wx_back + tile * panels * W * W;
                        for (int64_t p = 0; p < panels; p++, from += capacity * W, weight += W * W)
                            multiply<real, M, 1>(acc, from, W, weight, W);
                        real* to = (real*)a.dx + ((t0 + s) * B + b0 + r0) * D + tile * W;
                        for (int r = 0; r < M; r++)
                            for (int lane = 0; lane < W && D - tile * W > lane; lane += L)
                                store_some(to + r * D + lane, acc[r][lane / L], D - tile * W - lane);
                    });
        }

        // out[block][chunk row][ROWS] <- columns [first | second | 1], the left factor of the weight gradient
        void pack_left(int64_t t0, int64_t steps, int64_t columns1, int64_t columns2, real* out) const {
            const int64_t blocks = ceil_div(columns1 + columns2 + 1, ROWS);
            for (int64_t s = 0; s < steps; s++) {
                const real *h = columns1 ? before(t0 + s) : nullptr, *x = input(t0 + s);
                for (int64_t r = 0; r < offset[s + 1] - offset[s]; r++) {
                    real* to = out + (offset[s] + r) * ROWS;
                    const auto put = [&](int64_t k, real value) { to[k / ROWS * capacity * ROWS + k % ROWS] = value; };
                    int64_t k = 0;
                    for (; k + ROWS <= columns1; k += ROWS)
                        for (int64_t i = 0; i < ROWS; i++) to[k / ROWS * capacity * ROWS + i] = h ? h[r * H + k + i] : 0;
                    for (; k < columns1; k++) put(k, h ? h[r * H + k] : 0);
                    for (int64_t i = 0; i < columns2; i++) put(k++, x[r * D + i]);
                    put(k++, 1);
                    while (k < blocks * ROWS) put(k++, 0);
                }
            }
        }

        // Summed in batches of ROWS_SUMMED rows from zero, and batches to the total: a running total of T * B terms would lose
        // the low bits of each of them.
        static constexpr int64_t ROWS_SUMMED = 128;
        void weight_gradient(const real* right, const real* left_side, int64_t blocks, int64_t depth, real* to) const {
            for (int64_t p = 0; p < panels; p++)
                for (int64_t block = 0; block < blocks; block++)
                    for (int64_t k = 0; k < depth; k += ROWS_SUMMED) {
                        V acc[ROWS][2];
                        real* tile = to + (p * blocks + block) * ROWS * W;
                        load_tile<real, ROWS>(acc, layer.zero(), 0);
                        multiply<real, ROWS, ROWS>(acc, left_side + (block * capacity + k) * ROWS, 1, right + (p * capacity + k) * W,
                                                   depth - k < ROWS_SUMMED ? depth - k : ROWS_SUMMED);
#pragma GCC unroll 16
                        for (int r = 0; r < ROWS; r++) {
                            acc[r][0] += load(tile + r * W);
                            acc[r][1] += load(tile + r * W + L);
                        }
                        store_tile<real, ROWS>(acc, tile, W);
                    }
        }

        void backward() {
            zero_all();
            if (n <= 0) return;
            const bool has_cell = Cell::CELL && !Cell::DIRECT;
            layer.read_state((const real*)a.d_hn, 1, b0, n, dh);
            if (has_cell) layer.read_state((const real*)a.c0, 1, b0, n, cell), layer.read_state((const real*)a.d_cn, 1, b0, n, d_cell);
            if (layer.adam) layer.read_state((const real*)a.d_vn, G, b0, n, dv);
            if (layer.nonlinear) layer.read_state((const real*)a.d_mn, G, b0, n, dm);
            for (int64_t t0 = (T - 1) / chunk * chunk; t0 >= 0; t0 -= chunk) {
                const int64_t steps = T - t0 < chunk ? T - t0 : chunk;
                start_chunk(t0, steps);
                for (int64_t s = steps - 1; s >= 0; s--) {
                    gate_gradients(t0 + s, s);
                    hidden_gradient(t0 + s, s);
                }
                for (int64_t i = 0; Cell::THRESHOLD && i < tiles * W; i++) d_bias[i] += d_bias_chunk[i], d_bias_chunk[i] = 0;
                pack_left(t0, steps, H, apart() ? 0 : D, left);
                weight_gradient(gates, left, left_blocks(), offset[steps], dw);
                if (layer.nonlinear) run_dynamics_back(t0, steps);
                if (apart()) {
                    pack_left(t0, steps, 0, D, left_inputs);
                    weight_gradient(inputs, left_inputs, input_blocks(), offset[steps], dw_inputs);
                }
                if (a.dx) input_gradient(t0, steps);
            }
            layer.write_state(dh, 1, b0, n, (real*)a.dh0);
            if (has_cell) layer.write_state(d_cell, 1, b0, n, (real*)a.dc0);
            if (layer.adam) layer.write_state(dv, G, b0, n, (real*)a.dv0);
            if (layer.nonlinear) layer.write_state(dm, G, b0, n, (real*)a.dm0);
        }

        void zero_all() {
            memset(dw, 0, sizeof(real) * panels * left_blocks() * ROWS * W);
            if (apart()) memset(dw_inputs, 0, sizeof(real) * panels * input_blocks() * ROWS * W);
            for (int64_t i = 0; Cell::THRESHOLD && i < tiles * W; i++) d_bias[i] = d_bias_chunk[i] = 0;
        }

        // gradient[row of (panel, lane)][k] += this part's sum for column `first + k`
        void add_gradient(const real* sums, int64_t blocks, int64_t first, int64_t count, real* gradient) const {
            for (int64_t p = 0; p < panels && gradient; p++)
                for (int64_t lane = 0; lane < W; lane++) {
                    const int64_t unit = p / G * W + lane;
                    if (unit >= H) continue;
                    for (int64_t k = 0; k < count; k++)
                        gradient[((p % G) * H + unit) * count + k] += sums[(p * blocks * ROWS + first + k) * W + lane];
                }
        }
        void add_gradients() const {
            add_gradient(dw, left_blocks(), 0, H, (real*)a.dw_hh);
            if (Cell::THRESHOLD)
                for (int64_t unit = 0; unit < H && a.db_hh; unit++) ((real*)a.db_hh)[unit] += d_bias[unit];
            else
                add_gradient(dw, left_blocks(), left_columns() - 1, 1, (real*)a.db_hh);
            const real* sums = apart() ? dw_inputs : dw;
            const int64_t blocks = apart() ? input_blocks() : left_blocks(), first = apart() ? 0 : H;
            add_gradient(sums, blocks, first, D, (real*)a.dw_ih);
            add_gradient(sums, blocks, first + D, 1, (real*)a.db_ih);
        }
    };

    const real* zero() const {
        alignas(64) static const real zeros[W] = {};
        return zeros;
    }
};

}  // namespace MRNN_NS
