// One layer over a whole sequence: its sizes, its packed weights, and the layout of what it saves and of its states.
// The batch is partitioned into parts; a part runs all its time steps alone, without a barrier (part.h).

namespace MRNN_NS {

MRNN_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }

// Scratch memory: one allocation, cut into aligned pieces.
struct Arena {
    char *base = nullptr, *next = nullptr;
    int64_t wanted = 0;
    template <class number> number* take(int64_t n) {  // first pass (base null): only counts
        const int64_t bytes = ceil_div(n * (int64_t)sizeof(number), 64) * 64 + 64;  // + a line: no two pieces alias in L1
        char* p = next;
        wanted += bytes;
        if (base) next += bytes;
        return (number*)p;
    }
};

template <class Cell, class Numbers> struct Layer {
    typedef typename Numbers::real real;
    typedef typename Numbers::stored stored;
    typedef typename Numbers::factor factor;
    static constexpr int W = WIDTH<real>, L = LANES<real>, G = Cell::GATES, S = Cell::SAVED, PAIR = Numbers::PAIR;
    static constexpr int FEW = 2;  // inputs: multiplied as real numbers, without a buffer
    // Rows of a part up to which the products of the inputs are taken for a chunk of steps at once, with the same bits: step by step,
    // all weights would be read for so few rows.
    static constexpr int AHEAD = 4;

    const mrnn_args& a;
    const int64_t T, B, D, H;
    const int64_t columns;  // of w_ih: D, or one less if the last channel of x is multiplied by b_ih
    const int64_t tiles;    // of W hidden units
    const int64_t panels;   // tiles * G
    const int64_t rows;     // of the first part; later ones may have one less
    const int64_t chunk;
    const int64_t depth_h, depth_x;  // factors of a row of h and of x
    const bool nonlinear, adam, few, ahead, far;
    // packed once, shared by all parts
    factor *wh = nullptr, *wx = nullptr;             // forward: [panel][depth_h | depth_x][W]
    real* wx_few = nullptr;                          // the same of few inputs
    real *bias_in = nullptr, *bias_hidden = nullptr;  // [panel][W]
    real* start = nullptr;                           // [panel][W], all that is added to the products at each step
    factor *wh_back = nullptr, *wx_back = nullptr;   // backward: [tile of H | D][panel * W / PAIR][W]

    // Saved activations of more bytes than this have left the caches before they are read again.
    static constexpr int64_t CACHES = 4 << 20;

    explicit Layer(const mrnn_args& args)
        : a(args), T(args.steps), B(args.batch), D(args.input), H(args.hidden), columns(D - args.folded),
          tiles(ceil_div(H, W)), panels(tiles * G), rows(ceil_div(B, args.parts)), chunk(args.chunk),
          depth_h(ceil_div(H, PAIR)), depth_x(ceil_div(D, PAIR)),
          nonlinear(args.dynamics != MRNN_LINEAR), adam(args.dynamics == MRNN_ADAM), few(D <= FEW),
          ahead(!nonlinear && !few && rows <= AHEAD && (args.parts == 1 || rows == 1)),
          far(saved_size() * (int64_t)sizeof(stored) > CACHES && (uintptr_t)args.saved % MRNN_VECTOR_BYTES == 0) {}

    int64_t saved_size() const { return T * B * tiles * S * W; }
    int64_t chunks() const { return ceil_div(T, chunk); }
    int64_t states() const { return adam ? 2 : nonlinear ? 1 : 0; }
    int64_t checkpoints_size() const { return chunks() * states() * B * panels * W; }

    // True if the gradients of the dynamics' outputs need memory of their own: they differ from those of the recurrent products, or
    // are turned into those of the inputs in place.
    bool apart() const { return Cell::SPLIT || nonlinear; }

    // ------------------------------------------------------------------ packing
    void take_packed(Arena& arena, bool backward) {
        if (!backward || nonlinear) {
            few ? void(wx_few = arena.take<real>(panels * D * W)) : void(wx = arena.take<factor>(panels * depth_x * W));
            bias_in = arena.take<real>(panels * W);
        }
        if (!backward) {
            bias_hidden = arena.take<real>(panels * W);
            start = arena.take<real>(panels * W);
            wh = arena.take<factor>(panels * depth_h * W);
        } else {
            wh_back = arena.take<factor>(tiles * panels * W / PAIR * W);
            if (a.dx) wx_back = arena.take<factor>(ceil_div(D, W) * panels * W / PAIR * W);
        }
    }

    // Four rows become four columns, so that whole vectors are written; number by number, each write would go to another line.
    static void transpose(const float* from, int64_t depth, float* to) {
        typedef float Four __attribute__((vector_size(16), aligned(4), may_alias));
        const float *b = from + depth, *c = b + depth, *d = c + depth;
        int64_t k = 0;
        for (; k + 4 <= depth; k += 4) {
            const Four r0 = *(const Four*)(from + k), r1 = *(const Four*)(b + k), r2 = *(const Four*)(c + k), r3 = *(const Four*)(d + k);
            *(Four*)(to + k * W) = Four{r0[0], r1[0], r2[0], r3[0]};
            *(Four*)(to + (k + 1) * W) = Four{r0[1], r1[1], r2[1], r3[1]};
            *(Four*)(to + (k + 2) * W) = Four{r0[2], r1[2], r2[2], r3[2]};
            *(Four*)(to + (k + 3) * W) = Four{r0[3], r1[3], r2[3], r3[3]};
        }
        for (; k < depth; k++) *(Four*)(to + k * W) = Four{from[k], b[k], c[k], d[k]};
    }

    // panels[tile, gate][k / places][lane], place k % places of it = weight[gate * H + tile * W + lane][k], zero beyond H and depth;
    // `last`, where there is one, is a column behind those of the weight
    template <class number>
    void pack_rows(const real* weight, int64_t depth, int places, number* out, const real* last = nullptr) const {
        const int64_t deep = ceil_div(depth + (last != nullptr), places);
        for (int64_t p = 0; p < panels; p++, out += deep * W) {
            const int64_t first = p / G * W, count = !weight ? 0 : H - first < W ? H - first : W, gate = (p % G) * H + first;
            const real* rows_from = weight ? weight + gate * depth : nullptr;
            int64_t lane = 0;
            if constexpr (FOUR<number>)
                for (; lane + 4 <= count; lane += 4) transpose(rows_from + lane * depth, depth, out + lane);
            for (int64_t i = 0; last && i < lane; i++) put_half(out + depth / places * W + i, depth % places, last[gate + i]);
            for (; lane < W; lane++) {
                const real* row = lane < count ? rows_from + lane * depth : nullptr;
                number* to = out + lane;
                for (int64_t k = 0; k < deep * places; k++) put_half(to + k / places * W, k % places, row && k < depth ? row[k] : 0);
                if (last && row) put_half(to + depth / places * W, depth % places, last[gate + lane]);
            }
        }
    }

    // out[tile][(panel * W + lane) / PAIR][column], place lane % PAIR of it = weight[row of (panel, lane)][tile * W + column];
    // `last` as above
    void pack_columns(const real* weight, int64_t width, factor* out, const real* last = nullptr) const {
        for (int64_t c0 = 0; c0 < width + (last != nullptr); c0 += W) {
            const int64_t count = width - c0 < W ? width - c0 : W;
            for (int64_t p = 0; p < panels; p++)
                for (int64_t lane = 0; lane < W; lane++) {
                    const int64_t unit = p / G * W + lane, gate = (p % G) * H + unit;
                    const real* row = weight + gate * width + c0;
                    factor* to = out + lane / PAIR * W;
                    if (unit < H)
                        for (int64_t c = 0; c < count; c++) put_half(to + c, lane % PAIR, row[c]);
                    for (int64_t c = unit < H ? count : 0; c < W; c++) put_half(to + c, lane % PAIR, real(0));
                    if (last && unit < H && count < W) put_half(to + count, lane % PAIR, last[gate]);
                    if (lane == W - 1) out += W / PAIR * W;
                }
        }
    }

    void pack() const {
        const real* const last = a.folded ? (const real*)a.b_ih : nullptr;
        if (wx) pack_rows((const real*)a.w_ih, columns, PAIR, wx, last);
        if (wx_few) pack_rows((const real*)a.w_ih, columns, 1, wx_few, last);
        if (bias_in) pack_rows(last ? nullptr : (const real*)a.b_ih, 1, 1, bias_in);
        if (bias_hidden) pack_rows((const real*)a.b_hh, 1, 1, bias_hidden);
        for (int64_t i = 0; start && i < panels * W; i++) {
            const bool hidden = !(Cell::THRESHOLD || (Cell::SPLIT && i / W % G == G - 1));
            start[i] = (nonlinear ? 0 : bias_in[i]) + (hidden ? bias_hidden[i] : 0);
        }
        if (wh) pack_rows((const real*)a.w_hh, H, PAIR, wh);
        if (wh_back) pack_columns((const real*)a.w_hh, H, wh_back);
        if (wx_back) pack_columns((const real*)a.w_ih, columns, wx_back, last);
    }

    const real* zero() const {
        alignas(64) static const real zeros[W] = {};
        return zeros;
    }

    // ------------------------------------------------------------------ states
    // (B, blocks * H) <-> [block tile][row][W]; `block` gates of one tile are neighbours
    void read_state(const real* state, int64_t blocks, int64_t b0, int64_t n, real* out) const {
        for (int64_t p = 0; p < tiles * blocks; p++)
            for (int64_t r = 0; r < n; r++) {
                const int64_t unit = p / blocks * W, count = !state ? 0 : H - unit < W ? H - unit : W;
                real* to = out + (p * rows + r) * W;
                if (count) memcpy(to, state + (b0 + r) * blocks * H + (p % blocks) * H + unit, count * sizeof(real));
                for (int64_t lane = count; lane < W; lane++) to[lane] = 0;
            }
    }
    void write_state(const real* in, int64_t blocks, int64_t b0, int64_t n, real* state) const {
        if (!state) return;
        for (int64_t p = 0; p < tiles * blocks; p++)
            for (int64_t r = 0; r < n; r++) {
                const int64_t unit = p / blocks * W, count = H - unit < W ? H - unit : W;
                memcpy(state + (b0 + r) * blocks * H + (p % blocks) * H + unit, in + (p * rows + r) * W, count * sizeof(real));
            }
    }
};

}  // namespace MRNN_NS
