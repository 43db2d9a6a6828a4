// The steps of a part backwards: gradients of gates, states, inputs and weights.

namespace MRNN_NS {

template <class Cell, class Numbers> void Part<Cell, Numbers>::take_backward(Arena& arena) {
    take_rows(arena);
    if (HAS_CELL) cell = arena.take<real>(tiles * rows * W), d_cell = arena.take<real>(tiles * rows * W);
    dh = arena.take<real>(tiles * rows * W);
    scratch = arena.take<real>(chunk * 2 * L);
    if (layer.adam) dv = arena.take<real>(panels * rows * W);
    if (layer.nonlinear) dm = arena.take<real>(panels * rows * W);
    if (layer.nonlinear && !layer.few) drive = arena.take<real>(panels * capacity * W);
    gates = arena.take<stored>(panels * capacity * W);
    inputs = Cell::SPLIT ? arena.take<stored>(panels * capacity * W) : gates;
    left_rows = arena.take<const stored*>(capacity);
    left = arena.take<factor>(left_blocks() * block_stride());
    if (PAIR > 1) right = arena.take<factor>(panels * factor_rows() * W);
    dw = arena.take<real>(panels * left_blocks() * ROWS * W);
    if (Cell::THRESHOLD) d_bias = arena.take<real>(tiles * W), d_bias_chunk = arena.take<real>(tiles * W);
    if (layer.apart()) {
        left_inputs = arena.take<factor>(input_blocks() * block_stride());
        dw_inputs = arena.take<real>(panels * input_blocks() * ROWS * W);
    }
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::gate_gradients(int64_t t, int64_t s) {
    const int64_t count = offset[s + 1] - offset[s];
    const stored *now = output(t), *last = t || a.h0 ? before(t) : nullptr;
    const stored* d_out = (const stored*)a.d_out + (t * B + b0) * H;
    for (int64_t tile = 0; tile < tiles; tile++)
        for (int64_t r = 0; r < count; r++)
            for (int64_t lane = 0; lane < W; lane += L) {
                const int64_t at = (tile * rows + r) * W + lane, place = (tile * G * capacity + offset[s] + r) * W + lane;
                const int64_t column = r * H + tile * W + lane, valid = H - tile * W - lane;
                V d = load(dh + at), here = {}, past = {};
                if (a.d_out && valid > 0) d += load_some(d_out + column, valid);
                if (S == 0 && valid > 0) here = load_some(now + column, valid);
                if (HAS_CELL) past = t ? load(saved(t - 1, tile, r) + 4 * W + lane) : load(cell + at);
                if (Cell::DIRECT && last && valid > 0) past = load_some(last + column, valid);
                const V direct = Cell::template backward<real, stored>(
                    d, HAS_CELL ? d_cell + at : nullptr, here, past, saved(t, tile, r) + lane, W, gates + place, inputs + place,
                    Cell::THRESHOLD ? d_bias_chunk + tile * W + lane : nullptr, capacity * W);
                if (Cell::DIRECT) store(dh + at, direct);
            }
}

// dh_{t-1} (+)= sum over panels of gates_t W_hh
template <class Cell, class Numbers> void Part<Cell, Numbers>::hidden_gradient(int64_t t, int64_t s) {
    constexpr int64_t line = LINE / sizeof(stored), depth = W / PAIR;
    for (int64_t tile = 0; tile < tiles; tile++)
        row_blocks(offset[s + 1] - offset[s], [&](auto count, int64_t r0) MRNN_LAMBDA {
            constexpr int M = decltype(count)::value;
            V acc[M][2];
            real* to = dh + (tile * rows + r0) * W;
            if (Cell::DIRECT)
                load_tile<real, M>(acc, to, W);
            else
                load_tile<real, M>(acc, layer.zero(), 0);
            // Prefetch what the step before will read while the product is computed, a share with each panel.
            constexpr int64_t lines = M * S * W / line;
            const stored* next = t ? saved(t - 1, tile, r0) : nullptr;
            const stored* cells = HAS_CELL && t > 1 ? saved(t - 2, tile, r0) + 4 * W : nullptr;  // of the step before that, c alone
            const int64_t column = ((t - 1) * B + b0 + r0) * H + tile * W;
            const factor *from = (const factor*)gates + (offset[s] + r0) * depth, *weight = layer.wh_back + tile * panels * depth * W;
            for (int64_t p = 0; p < panels; p++, from += capacity * depth, weight += depth * W) {
                if (next)
                    for (int64_t i = lines * p / panels; i < lines * (p + 1) / panels; i++) __builtin_prefetch(next + i * line, 0, 2);
                for (int64_t r = M * p / panels; r < M * (p + 1) / panels && t; r++)
                    for (int64_t k = 0; k < W; k += line) {
                        if (cells) __builtin_prefetch(cells + r * S * W + k, 0, 2);
                        __builtin_prefetch((const stored*)a.out + column + r * H + k, 0, 2);
                        if (a.d_out) __builtin_prefetch((const stored*)a.d_out + column + r * H + k, 0, 2);
                    }
                multiply<real, factor, M, 1>(acc, from, depth, weight, depth);
            }
            store_tile<real, M>(acc, to, W);
        });
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::input_gradient(int64_t t0, int64_t steps) const {
    constexpr int64_t depth = W / PAIR;
    for (int64_t tile = 0; tile * W < D; tile++)
        for (int64_t s = 0; s < steps; s++)
            row_blocks(offset[s + 1] - offset[s], [&](auto count, int64_t r0) MRNN_LAMBDA {
                constexpr int M = decltype(count)::value;
                V acc[M][2];
                load_tile<real, M>(acc, layer.zero(), 0);
                const factor* from = (const factor*)inputs + (offset[s] + r0) * depth;
                const factor* weight = layer.wx_back + tile * panels * depth * W;
                for (int64_t p = 0; p < panels; p++, from += capacity * depth, weight += depth * W)
                    multiply<real, factor, M, 1>(acc, from, depth, weight, depth);
                stored* to = (stored*)a.dx + ((t0 + s) * B + b0 + r0) * D + tile * W;
                for (int r = 0; r < M; r++)
                    for (int lane = 0; lane < W && D - tile * W > lane; lane += L)
                        store_some(to + r * D + lane, acc[r][lane / L], D - tile * W - lane);
            });
}

// ------------------------------------------------------------------ weight gradients
// Columns k0 … k0 + columns - 1 of out[block][factor row][ROWS] <- rows of `columns` numbers.
template <class Cell, class Numbers>
void Part<Cell, Numbers>::pack_left_rows(const stored* const* from, int64_t count, int64_t columns, int64_t k0, factor* out) const {
    constexpr int VECTORS = (ROWS + L - 1) / L;  // of a Pair; those beyond ROWS are overwritten by what comes next
    for (int64_t j = 0; j * PAIR < count; j++) {
        const stored* one = from[j * PAIR];
        const stored* two = from[j * PAIR + PAIR - 1 < count ? j * PAIR + PAIR - 1 : j * PAIR];  // behind the last: times 0
        const auto place = [&](int64_t k) { return out + k / ROWS * block_stride() + j * ROWS + k % ROWS; };
        int64_t i = 0;
        while (i < columns) {
            factor* to = place(k0 + i);
            if ((k0 + i) % ROWS == 0 && i + VECTORS * L <= columns) {
                if constexpr (PAIR == 1)
                    memcpy(to, one + i, ROWS * sizeof(real));
                else
                    for (int k = 0; k < VECTORS * L; k += L)
                        store(to + k, (VP)load(one + i + k) >> 16 | (VP)load(two + i + k));
                i += ROWS;
            } else {
                put_half(to, 0, widened(one[i]));
                if (PAIR > 1) put_half(to, 1, widened(two[i]));
                i++;
            }
        }
    }
}

// out <- columns [h | x | 1] of the chunk, the left factor of the weight gradient
template <class Cell, class Numbers>
void Part<Cell, Numbers>::pack_left(int64_t t0, int64_t steps, int64_t columns1, int64_t columns2, factor* out) const {
    const int64_t count = offset[steps], columns = columns1 + columns2;
    const auto rows_of = [&](int64_t width, auto of_step) {
        for (int64_t s = 0; s < steps; s++)
            for (int64_t r = offset[s]; r < offset[s + 1]; r++) left_rows[r] = of_step(t0 + s) + (r - offset[s]) * width;
    };
    if (columns1) {
        rows_of(H, [&](int64_t t) { return before(t); });
        pack_left_rows(left_rows, count, columns1, 0, out);
    }
    if (columns2) {
        rows_of(D, [&](int64_t t) { return input(t); });
        pack_left_rows(left_rows, count, columns2, columns1, out);
    }
    for (int64_t k = columns; k < ceil_div(columns + 1, ROWS) * ROWS; k++)
        for (int64_t j = 0; j < ceil_div(count, PAIR); j++)
            for (int place = 0; place < PAIR; place++)
                put_half(out + k / ROWS * block_stride() + j * ROWS + k % ROWS, place, real(k == columns));
}

// The right factor: gradients of neighbouring rows as Pairs.
template <class Cell, class Numbers>
auto Part<Cell, Numbers>::pack_right(const stored* gradients, int64_t count) const -> const factor* {
    if constexpr (PAIR == 1) {
        return gradients;
    } else {
        for (int64_t p = 0; p < panels; p++)
            for (int64_t j = 0; j * PAIR < count; j++) {
                const stored* from = gradients + (p * capacity + j * PAIR) * W;
                factor* to = right + (p * factor_rows() + j) * W;
                for (int64_t lane = 0; lane < W; lane += L) {
                    const VP two = j * PAIR + 1 < count ? (VP)load(from + W + lane) : VP{};
                    store(to + lane, (VP)load(from + lane) >> 16 | two);
                }
            }
        return right;
    }
}

// FACTORS_SUMMED rows are summed from zero, and these sums are added to the total: a running total of T * B terms would lose the
// low bits of each term.
template <class Cell, class Numbers>
void Part<Cell, Numbers>::weight_gradient(const factor* right_side, const factor* left_side, int64_t blocks, int64_t depth,
                                          real* to) const {
    constexpr int64_t FACTORS_SUMMED = 128;
    for (int64_t p = 0; p < panels; p++)
        for (int64_t block = 0; block < blocks; block++)
            for (int64_t k = 0; k < depth; k += FACTORS_SUMMED) {
                V acc[ROWS][2];
                real* tile = to + (p * blocks + block) * ROWS * W;
                load_tile<real, ROWS>(acc, layer.zero(), 0);
                multiply<real, factor, ROWS, ROWS>(acc, left_side + block * block_stride() + k * ROWS, 1,
                                                   right_side + (p * factor_rows() + k) * W,
                                                   depth - k < FACTORS_SUMMED ? depth - k : FACTORS_SUMMED);
#pragma GCC unroll 16
                for (int r = 0; r < ROWS; r++) {
                    acc[r][0] += load(tile + r * W);
                    acc[r][1] += load(tile + r * W + L);
                }
                store_tile<real, ROWS>(acc, tile, W);
            }
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::zero_sums() {
    memset(dw, 0, sizeof(real) * panels * left_blocks() * ROWS * W);
    if (layer.apart()) memset(dw_inputs, 0, sizeof(real) * panels * input_blocks() * ROWS * W);
    for (int64_t i = 0; Cell::THRESHOLD && i < tiles * W; i++) d_bias[i] = d_bias_chunk[i] = 0;
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::backward() {
    zero_sums();
    if (n <= 0) return;
    read_first();
    layer.read_state((const real*)a.d_hn, 1, b0, n, dh);
    if (HAS_CELL) layer.read_state((const real*)a.c0, 1, b0, n, cell), layer.read_state((const real*)a.d_cn, 1, b0, n, d_cell);
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
        const int64_t count = offset[steps], depth = ceil_div(count, PAIR);
        pack_left(t0, steps, H, layer.apart() ? 0 : D, left);
        weight_gradient(pack_right(gates, count), left, left_blocks(), depth, dw);
        if (layer.nonlinear) run_dynamics_back(t0, steps);
        if (layer.apart() && !(layer.nonlinear && layer.few)) {  // else the scan has summed it
            pack_left(t0, steps, 0, D, left_inputs);
            weight_gradient(pack_right(inputs, count), left_inputs, input_blocks(), depth, dw_inputs);
        }
        if (a.dx) input_gradient(t0, steps);
    }
    layer.write_state(dh, 1, b0, n, (real*)a.dh0);
    if (HAS_CELL) layer.write_state(d_cell, 1, b0, n, (real*)a.dc0);
    if (layer.adam) layer.write_state(dv, G, b0, n, (real*)a.dv0);
    if (layer.nonlinear) layer.write_state(dm, G, b0, n, (real*)a.dm0);
}

// gradient[row of (panel, lane)][k] += this part's sum for column `first_column + k`
template <class Cell, class Numbers>
void Part<Cell, Numbers>::add_gradient(const real* sums, int64_t blocks, int64_t first_column, int64_t count, real* gradient) const {
    for (int64_t p = 0; p < panels && gradient; p++)
        for (int64_t lane = 0; lane < W; lane++) {
            const int64_t unit = p / G * W + lane;
            if (unit >= H) continue;
            for (int64_t k = 0; k < count; k++)
                gradient[((p % G) * H + unit) * count + k] += sums[(p * blocks * ROWS + first_column + k) * W + lane];
        }
}

template <class Cell, class Numbers> void Part<Cell, Numbers>::add_gradients() const {
    add_gradient(dw, left_blocks(), 0, H, (real*)a.dw_hh);
    if (Cell::THRESHOLD)
        for (int64_t unit = 0; unit < H && a.db_hh; unit++) ((real*)a.db_hh)[unit] += d_bias[unit];
    else
        add_gradient(dw, left_blocks(), left_columns() - 1, 1, (real*)a.db_hh);
    const real* sums = layer.apart() ? dw_inputs : dw;
    const int64_t blocks = layer.apart() ? input_blocks() : left_blocks(), first_column = layer.apart() ? 0 : H;
    add_gradient(sums, blocks, first_column, layer.columns, (real*)a.dw_ih);
    add_gradient(sums, blocks, first_column + layer.columns, 1, (real*)a.db_ih);
}

}  // namespace MRNN_NS
