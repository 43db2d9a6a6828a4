// The rows of the batch that one thread runs, through all time steps. Time is cut into chunks: the dynamics of a chunk are scanned
// before its steps (dynamics.h), its weight gradient is taken after them (backward.h).

namespace MRNN_NS {

template <class Cell, class Numbers> struct Part {
    typedef Layer<Cell, Numbers> Whole;
    typedef typename Whole::real real;
    typedef typename Whole::stored stored;
    typedef typename Whole::factor factor;
    typedef Vec<real> V;
    static constexpr int W = Whole::W, L = Whole::L, G = Whole::G, S = Whole::S, PAIR = Whole::PAIR;
    static constexpr int LINE = 64;  // bytes of the cache
    static constexpr bool HAS_CELL = Cell::CELL && !Cell::DIRECT;

    const Whole& layer;
    const mrnn_args& a;
    const int64_t b0, n;  // first row, rows
    const int64_t rows, T, B, D, H, tiles, panels, chunk;
    const int64_t capacity;     // rows of a panel of the chunk; a few more than needed: strides of 4 KB would share sets of L1
    int64_t* offset = nullptr;  // first row of each step of the chunk in its panels (chunk + 1)
    // h_0 in the form that products read, and rows of h and x converted to factors where they are not yet factors
    stored* first = nullptr;
    factor *h_rows = nullptr, *x_rows = nullptr;
    // forward, [tile | panel][row][W]
    real *cell = nullptr, *v = nullptr, *m = nullptr, *drive = nullptr;
    // backward
    real *dh = nullptr, *d_cell = nullptr, *dv = nullptr, *dm = nullptr, *scratch = nullptr;
    stored *gates = nullptr, *inputs = nullptr;  // gradients of the recurrent products and of the dynamics: [panel][capacity][W]
    factor *left = nullptr, *left_inputs = nullptr, *right = nullptr;
    real *dw = nullptr, *dw_inputs = nullptr, *d_bias = nullptr, *d_bias_chunk = nullptr;
    const stored** left_rows = nullptr;

    Part(const Whole& l, int64_t index)
        : layer(l), a(l.a), b0(l.B / a.parts * index + (index < l.B % a.parts ? index : l.B % a.parts)),
          n(l.B / a.parts + (index < l.B % a.parts)), rows(l.rows), T(l.T), B(l.B), D(l.D), H(l.H), tiles(l.tiles),
          panels(l.panels), chunk(l.chunk), capacity(chunk * l.rows + 4) {}

    // ------------------------------------------------------------------ where things are
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
    stored* output(int64_t t) const { return (stored*)a.out + (t * B + b0) * H; }
    const stored* before(int64_t t) const { return t ? output(t - 1) : first; }
    const stored* input(int64_t t) const { return (const stored*)a.x + (t * B + b0) * D; }
    stored* saved(int64_t t, int64_t tile, int64_t r) const {
        return (stored*)a.saved + ((b0 * T + t * n) * tiles + tile * n + r) * S * W;
    }
    real* checkpoint(int64_t t, int64_t which) const {
        return (real*)a.checkpoints + ((t / chunk * layer.states() + which) * B + b0) * panels * W;
    }

    // ------------------------------------------------------------------ rows as factors
    // Rows of `columns` numbers; a Pair needs an even number of them, so odd rows are copied, with a zero behind.
    const factor* factors(const stored* from, int64_t columns, int64_t count, factor* room) const {
        if constexpr (PAIR == 1) {
            return from;
        } else {
            if (columns % PAIR == 0) return (const factor*)from;
            factor* to = room;
            for (int64_t r = 0; r < count; r++, from += columns, to += ceil_div(columns, PAIR)) {
                to[columns / PAIR] = factor{};
                memcpy((void*)to, from, columns * sizeof(stored));
            }
            return room;
        }
    }
    const factor* x_factors(int64_t t, int64_t s) const {
        return D % PAIR == 0 ? (const factor*)input(t) : x_rows + offset[s] * layer.depth_x;
    }
    void take_rows(Arena& arena) {
        offset = arena.take<int64_t>(chunk + 1);
        first = arena.take<stored>(rows * H);
        if (H % PAIR) h_rows = arena.take<factor>(rows * layer.depth_h);
        if (D % PAIR) x_rows = arena.take<factor>(capacity * layer.depth_x);
    }
    void read_first() {
        const real* h0 = (const real*)a.h0 + b0 * H;
        for (int64_t i = 0; i < n * H; i++) put(first + i, a.h0 ? h0[i] : 0);
    }
    void start_chunk(int64_t t0, int64_t steps) {
        offset[0] = 0;
        for (int64_t s = 0; s < steps; s++) {
            offset[s + 1] = offset[s] + active(t0 + s);
            if (D % PAIR) factors(input(t0 + s), D, offset[s + 1] - offset[s], x_rows + offset[s] * layer.depth_x);
        }
    }

    // dynamics.h
    void project(int64_t t0, int64_t steps);
    template <bool ADAM, int INPUTS> struct Moments;
    template <bool ADAM, int INPUTS> void scan(int64_t t0, int64_t steps);
    template <bool ADAM, int INPUTS> void scan_back(int64_t t0, int64_t steps);
    void run_dynamics(int64_t t0, int64_t steps);
    void run_dynamics_back(int64_t t0, int64_t steps);

    // forward.h
    void take_forward(Arena& arena);
    void forward();
    template <int M, bool SPLIT>
    void gate_tile(int64_t t, int64_t s, const factor* h, int64_t p, int64_t r0, real* pre, real* separate);
    void row_tile(int64_t t, int64_t s, const factor* h, int64_t tile, int64_t r0, real* pre);
    template <int M> void forward_tile(int64_t t, int64_t s, const factor* h, int64_t tile, int64_t r0);

    // backward.h
    void take_backward(Arena& arena);
    void backward();
    void add_gradients() const;
    int64_t left_columns() const { return layer.apart() ? H + 1 : H + D + 1; }  // [h | x | 1]
    int64_t left_blocks() const { return ceil_div(left_columns(), ROWS); }
    int64_t input_blocks() const { return ceil_div(D + 1, ROWS); }  // [x | 1]
    int64_t factor_rows() const { return ceil_div(capacity, PAIR); }
    int64_t block_stride() const { return factor_rows() * ROWS + L; }
    void gate_gradients(int64_t t, int64_t s);
    void hidden_gradient(int64_t t, int64_t s);
    void input_gradient(int64_t t0, int64_t steps) const;
    void pack_left(int64_t t0, int64_t steps, int64_t columns1, int64_t columns2, factor* out) const;
    void pack_left_rows(const stored* const* from, int64_t count, int64_t columns, int64_t k0, factor* out) const;
    const factor* pack_right(const stored* gradients, int64_t count) const;
    void weight_gradient(const factor* right_side, const factor* left_side, int64_t blocks, int64_t depth, real* to) const;
    void zero_sums();
    void add_gradient(const real* sums, int64_t blocks, int64_t first_column, int64_t count, real* gradient) const;
};

}  // namespace MRNN_NS
