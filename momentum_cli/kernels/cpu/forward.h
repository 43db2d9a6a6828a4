// The steps of a part: products, activations, state.

namespace MRNN_NS {

// Pre-activations of one gate of M rows into `pre`; SPLIT: the input part goes to `separate`, past W_hh h.
template <class Cell, class Numbers>
template <int M, bool SPLIT>
MRNN_INLINE void Part<Cell, Numbers>::gate_tile(int64_t t, int64_t s, const factor* h, int64_t p, int64_t r0, real* pre,
                                                real* separate) {
    V acc[M][2];
    const real* const d = drive ? drive + (p * capacity + offset[s] + r0) * W : nullptr;
    load_tile<real, M>(acc, layer.ahead ? d : layer.start + p * W, layer.ahead ? W : 0);
    if (layer.ahead) {
        // the products of the inputs are in `drive`
    } else if (layer.nonlinear) {
#pragma GCC unroll 16
        for (int r = 0; r < M; r++) {
            acc[r][0] += load(d + r * W);
            acc[r][1] += load(d + r * W + L);
        }
    } else if (layer.few) {
        for (int64_t k = 0; k < D; k++) {
            const stored* x = input(t) + r0 * D + k;
            const V w0 = load(layer.wx_few + (p * D + k) * W), w1 = load(layer.wx_few + (p * D + k) * W + L);
#pragma GCC unroll 16
            for (int r = 0; r < M; r++) {
                const V value = widened(x[r * D]) - V{};
                acc[r][0] += value * w0;
                acc[r][1] += value * w1;
            }
        }
    } else {
        const int64_t depth = layer.depth_x;
        multiply<real, factor, M, 1>(acc, x_factors(t, s) + r0 * depth, depth, layer.wx + p * depth * W, depth);
    }
    if (SPLIT) {
        store_tile<real, M>(acc, separate, W);
        load_tile<real, M>(acc, layer.bias_hidden + p * W, 0);
    }
    const int64_t depth = layer.depth_h;
    if (h) multiply<real, factor, M, 1>(acc, h + r0 * depth, depth, layer.wh + p * depth * W, depth);
    store_tile<real, M>(acc, pre, W);
}

// The same for all gates of one row. Pre-activations of a gate are ROWS * W apart, and the separate one follows them. Same bits.
template <class Cell, class Numbers>
MRNN_INLINE void Part<Cell, Numbers>::row_tile(int64_t t, int64_t s, const factor* h, int64_t tile, int64_t r0, real* pre) {
    const int64_t p = tile * G;
    V acc[G][2];
    const real* const d = drive ? drive + (p * capacity + offset[s] + r0) * W : nullptr;
    load_tile<real, G>(acc, layer.ahead ? d : layer.start + p * W, layer.ahead ? capacity * W : W);
    if (layer.ahead) {
        // the products of the inputs are in `drive`
    } else if (layer.nonlinear) {
#pragma GCC unroll 4
        for (int g = 0; g < G; g++) {
            acc[g][0] += load(d + g * capacity * W);
            acc[g][1] += load(d + g * capacity * W + L);
        }
    } else if (layer.few) {
        for (int64_t k = 0; k < D; k++) {
            const V value = widened(input(t)[r0 * D + k]) - V{};
#pragma GCC unroll 4
            for (int g = 0; g < G; g++) {
                const real* w = layer.wx_few + ((p + g) * D + k) * W;
                acc[g][0] += value * load(w);
                acc[g][1] += value * load(w + L);
            }
        }
    } else {
        const int64_t depth = layer.depth_x;
        multiply_row<real, factor, G>(acc, x_factors(t, s) + r0 * depth, layer.wx + p * depth * W, depth * W, depth);
    }
    if (Cell::SPLIT) {
        store(pre + G * ROWS * W, acc[G - 1][0]);
        store(pre + G * ROWS * W + L, acc[G - 1][1]);
        acc[G - 1][0] = load(layer.bias_hidden + (p + G - 1) * W);
        acc[G - 1][1] = load(layer.bias_hidden + (p + G - 1) * W + L);
    }
    const int64_t depth = layer.depth_h;
    if (h) multiply_row<real, factor, G>(acc, h + r0 * depth, layer.wh + p * depth * W, depth * W, depth);
    store_tile<real, G>(acc, pre, ROWS * W);
}

template <class Cell, class Numbers>
template <int M>
void Part<Cell, Numbers>::forward_tile(int64_t t, int64_t s, const factor* h, int64_t tile, int64_t r0) {
    alignas(64) real pre[(G + 1) * ROWS * W];
    [[maybe_unused]] const int joint = Cell::SPLIT ? G - 1 : G;
    // Prefetch the lines that this tile will write while the product is computed.
    stored* keep = a.saved ? saved(t, tile, r0) : nullptr;
    const int line = LINE / sizeof(stored);
    for (int at = 0; keep && !layer.far && at < M * S * W; at += line) __builtin_prefetch(keep + at, 1, 3);
    for (int r = 0; r < M; r++) __builtin_prefetch(output(t) + (r0 + r) * H + tile * W, 1, 3);
    if constexpr (M == 1) {
        row_tile(t, s, h, tile, r0, pre);
    } else {
        for (int g = 0; g < joint; g++) gate_tile<M, false>(t, s, h, tile * G + g, r0, pre + g * ROWS * W, nullptr);
        if (Cell::SPLIT) gate_tile<M, true>(t, s, h, tile * G + joint, r0, pre + joint * ROWS * W, pre + G * ROWS * W);
    }
    if (Cell::THRESHOLD) {
        V bias[M][2];
        load_tile<real, M>(bias, layer.bias_hidden + tile * W, 0);
        store_tile<real, M>(bias, pre + G * ROWS * W, W);
    }
    Cell::template activate<real>(pre, ROWS * W, M * W);
    real* state = Cell::CELL ? cell + (tile * rows + r0) * W : nullptr;
    stored* out = output(t) + r0 * H + tile * W;
    for (int r = 0; r < M; r++)
        for (int lane = 0; lane < W; lane += L) {
            const int64_t at = r * W + lane;
            const V value = Cell::template forward<real, stored>(pre + at, ROWS * W, Cell::CELL ? state + at : nullptr,
                                                                 keep ? keep + r * S * W + lane : nullptr, W, layer.far);
            if (H - tile * W > lane) store_some(out + r * H + lane, value, H - tile * W - lane);
        }
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::take_forward(Arena& arena) {
    take_rows(arena);
    if (Cell::CELL) cell = arena.take<real>(tiles * rows * W);
    if (layer.adam) v = arena.take<real>(panels * rows * W);
    if (layer.nonlinear) m = arena.take<real>(panels * rows * W);
    if (layer.nonlinear || layer.ahead) drive = arena.take<real>(panels * capacity * W);
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::forward() {
    if (n <= 0) return;
    read_first();
    if (Cell::CELL) layer.read_state((const real*)(Cell::DIRECT ? a.h0 : a.c0), 1, b0, n, cell);
    if (layer.adam) layer.read_state((const real*)a.v0, G, b0, n, v);
    if (layer.nonlinear) layer.read_state((const real*)a.m0, G, b0, n, m);
    for (int64_t t0 = 0; t0 < T; t0 += chunk) {
        const int64_t steps = T - t0 < chunk ? T - t0 : chunk;
        start_chunk(t0, steps);
        if (layer.nonlinear)
            run_dynamics(t0, steps);
        else if (layer.ahead)
            project(t0, steps);
        for (int64_t s = 0; s < steps; s++) {
            const int64_t t = t0 + s, count = offset[s + 1] - offset[s];
            const factor* h = t || a.h0 ? factors(before(t), H, count, h_rows) : nullptr;
            for (int64_t tile = 0; tile < tiles; tile++)
                row_blocks(count, [&](auto size, int64_t r0) MRNN_LAMBDA {
                    this->template forward_tile<decltype(size)::value>(t, s, h, tile, r0);
                });
        }
    }
    if (layer.far) fence();
    if (Cell::DIRECT)
        layer.write_state(cell, 1, b0, n, (real*)a.hn);
    else
        for (int64_t r = 0; r < n && a.hn; r++) {
            const stored* from = before(a.lengths ? a.lengths[b0 + r] : T) + r * H;
            for (int64_t k = 0; k < H; k++) ((real*)a.hn)[(b0 + r) * H + k] = widened(from[k]);
        }
    if (HAS_CELL) layer.write_state(cell, 1, b0, n, (real*)a.cn);
    if (layer.adam) layer.write_state(v, G, b0, n, (real*)a.vn);
    if (layer.nonlinear) layer.write_state(m, G, b0, n, (real*)a.mn);
}

}  // namespace MRNN_NS
