// Steps of optimizers over lists of tensors: cut into pieces, spread over threads, norms added in the order of the pieces.
#include <math.h>

#include <vector>

#include "momentum_rnn.h"
#include "parallel.h"

typedef double (*Pass)(const mrnn_update&, int64_t start, int64_t n);
#define MRNN_DECLARE(NS) \
    namespace NS { \
    double replace_previous(const mrnn_update&, int64_t start, int64_t n); \
    double heavy_ball(const mrnn_update&, int64_t start, int64_t n); \
    double adaptive(const mrnn_update&, int64_t start, int64_t n); \
    }
MRNN_DECLARE(mrnn_generic)
#if defined(MRNN_HAS_AVX2)
MRNN_DECLARE(mrnn_avx2)
#endif
#if defined(MRNN_HAS_AVX512)
MRNN_DECLARE(mrnn_avx512)
#endif

namespace {
constexpr int64_t PIECE = 1 << 16;  // values: long against the start of a task, short against a large tensor

struct Piece {
    const mrnn_update* update;
    int64_t start, size;
    double squares;
};

struct Work {
    Pass pass;
    Piece* pieces;
};

void run_piece(void* context, int64_t index) {
    const Work& work = *static_cast<const Work*>(context);
    Piece& piece = work.pieces[index];
    piece.squares = work.pass(*piece.update, piece.start, piece.size);
}

#define MRNN_PASSES(NS) {NS::replace_previous, NS::heavy_ball, NS::adaptive}
const Pass passes[][3] = {
    MRNN_PASSES(mrnn_generic),
#if defined(MRNN_HAS_AVX2)
    MRNN_PASSES(mrnn_avx2),
#endif
#if defined(MRNN_HAS_AVX512)
    MRNN_PASSES(mrnn_avx512),
#endif
};

}  // namespace

int64_t mrnn_update_all(int64_t isa, int64_t what, int64_t threads, int64_t count, mrnn_update* updates) {
    if (what < MRNN_REPLACE_PREVIOUS || what > MRNN_ADAPTIVE || count < 0) return -MRNN_BAD_ARGUMENT;
    if (isa > MRNN_ISA_AVX512 || !mrnn_has_isa(isa)) return -MRNN_NO_ISA;
    const Pass pass = passes[isa][what];
    std::vector<Piece> pieces;
    for (int64_t k = 0; k < count; k++)
        for (int64_t start = 0; start < updates[k].size; start += PIECE) {
            const int64_t rest = updates[k].size - start;
            pieces.push_back({updates + k, start, rest < PIECE ? rest : PIECE, 0.0});
        }
    Work work{pass, pieces.data()};
    mrnn::parallel_for(static_cast<int64_t>(pieces.size()), threads, run_piece, &work);
    const Piece* piece = pieces.data();
    for (int64_t k = 0; k < count; k++) {
        double squares = 0;
        for (int64_t start = 0; start < updates[k].size; start += PIECE) squares += (piece++)->squares;
        updates[k].norm = sqrt(squares);
    }
    return MRNN_OK;
}
