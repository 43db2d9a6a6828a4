// The plain C interface of the kernels, fused recurrences, filters and updates of optimizers: pointers and sizes, nothing of torch.
// Axes: T time, B batch, D input, H hidden, G gates (4 lstm, 3 gru, 1 rnn). All arrays are contiguous, row-major.
#pragma once
#include <stdint.h>

#if defined(_WIN32)
#define MRNN_API extern "C" __declspec(dllexport)
#else
#define MRNN_API extern "C" __attribute__((visibility("default")))
#endif

#define MRNN_ABI 9

// Vector size and register tile of the portable kernels. Tests set 64 and 12, the shape of the AVX-512 kernels, on any machine.
#if !defined(MRNN_GENERIC_VECTOR_BYTES)
#define MRNN_GENERIC_VECTOR_BYTES 16
#define MRNN_GENERIC_ROWS 6
#endif

enum { MRNN_LSTM = 0, MRNN_GRU = 1, MRNN_RNN_TANH = 2, MRNN_RNN_RELU = 3, MRNN_MODRELU = 4 };
enum { MRNN_LINEAR = 0, MRNN_ADAM = 1, MRNN_RMSPROP = 2 };
enum { MRNN_ISA_GENERIC = 0, MRNN_ISA_AVX2 = 1, MRNN_ISA_AVX512 = 2, MRNN_ISA_AVX512_BF16 = 3 };
enum { MRNN_BF16_BYTES = 2, MRNN_FLOAT_BYTES = 4, MRNN_DOUBLE_BYTES = 8 };
enum { MRNN_OK = 0, MRNN_BAD_ARGUMENT = 1, MRNN_NO_MEMORY = 2, MRNN_NO_ISA = 3 };

// Which instruction sets are compiled in. MRNN_WITHOUT_AVX512 and MRNN_WITHOUT_AVX2 shorten special builds (sanitizers).
#if defined(__x86_64__) && !defined(MRNN_WITHOUT_AVX2)
#define MRNN_HAS_AVX2
#if !defined(MRNN_WITHOUT_AVX512)
#define MRNN_HAS_AVX512
#define MRNN_HAS_AVX512_BF16
#endif
#endif

// One layer, one direction. A null pointer means: absent (biases, states: zero; gradients: not asked for).
typedef struct mrnn_args {
    int64_t abi;         // MRNN_ABI
    int64_t isa;         // MRNN_ISA_*
    int64_t real_bytes;  // MRNN_*_BYTES: of x, out, saved, d_out and dx; bf16 has all else in float
    int64_t recurrence, dynamics;
    int64_t threads;  // how many threads may run
    int64_t parts;    // row partition of the batch; the saved activations depend on it, so backward must get forward's
    int64_t chunk;    // time steps per chunk (state checkpoints, weight gradient batches); as for parts
    int64_t steps, batch, input, hidden;
    int64_t folded;  // 1: the last channel of x is multiplied by b_ih in place of 1, and w_ih is (G*H,D-1); only without moments
    double momentum, step_size, beta2, eps;
    const void *x, *w_ih, *w_hh, *b_ih, *b_hh;  // (T,B,D) (G*H,D) (G*H,H) (G*H) (G*H)
    const void *h0, *c0, *v0, *m0;              // (B,H) (B,H) (B,G*H) (B,G*H)
    const int64_t* lengths;                     // (B), descending within each part; null: all T
    void *out, *hn, *cn, *vn, *mn;              // out must be zeroed by the caller when lengths are given
    void *saved, *checkpoints;                  // activations for backward; null: inference
    const void *d_out, *d_hn, *d_cn, *d_vn, *d_mn;
    void *dx, *dw_ih, *dw_hh, *db_ih, *db_hh, *dh0, *dc0, *dv0, *dm0;
    void* packed;  // what mrnn_pack wrote for the same weights, sizes, parts and chunk; null: forward packs the weights itself
} mrnn_args;

// The scan v_t = decay_t v_{t-1} + gain x_t, or its transpose v_t = decay_{t+1} v_{t+1} + gain x_t, over (T,B,C).
typedef struct mrnn_scan {
    int64_t real_bytes;  // MRNN_FLOAT_BYTES or MRNN_DOUBLE_BYTES: of x, start and out
    int64_t threads;     // how many threads may run
    int64_t steps, batch, channels;
    int64_t constant;                    // 1: x has C - 1 channels, and the last one is 1 at all steps; 0 in the transpose
    int64_t backward;                    // 1 for the transpose
    int64_t decay_steps, decay_columns;  // 1 or T, 1 or B
    double gain;
    const double* decays;   // (decay_steps,decay_columns), or null: all 0
    const void *x, *start;  // start: (B,C) before the first step, or null for 0; null in the transpose
    void* out;              // may be x, unless there is a constant
} mrnn_scan;

// One layer of a stack that runs with its weights packed once and its states updated in place: hn may be h0, and so on.
typedef struct mrnn_stage {
    mrnn_args layer;
    // A linear dynamics writes layer.x from this input; null: layer.x is the input itself. It is the x of the filter, whose out is layer.x.
    // The start, where there is one, is replaced by the state after the last step; decays need one.
    const void* input;
    mrnn_scan filter;
} mrnn_stage;

// One float32 tensor of an optimizer, contiguous. A pass touches only the arrays it needs and sets the norm.
typedef struct mrnn_update {
    int64_t size;
    float *parameter, *momentum, *square, *previous;
    const float* gradient;
    float lr, decay;                 // decay: decoupled weight decay
    float factor;                    // of the momentum
    float beta2, root_factor, eps;   // of the squares; the root is multiplied by root_factor, which corrects its bias
    double norm;
} mrnn_update;
enum { MRNN_REPLACE_PREVIOUS = 0, MRNN_HEAVY_BALL = 1, MRNN_ADAPTIVE = 2 };

MRNN_API int64_t mrnn_abi(void);
MRNN_API int64_t mrnn_args_bytes(void);
// Of float, for a layer of so many units; 0: for what is not padded to two vectors.
MRNN_API int64_t mrnn_best_isa(int64_t hidden);
MRNN_API int64_t mrnn_has_isa(int64_t isa);
MRNN_API int64_t mrnn_vector_bytes(int64_t isa);
// Mnemonics, separated by spaces, that the kernels of an instruction set were written to contain and no compiler finds by itself.
MRNN_API const char* mrnn_instructions(int64_t isa);
// Sizes are counts of numbers of real_bytes; those of a checkpoint are at least float. Hidden units are padded to two vectors, so the
// layout and these sizes depend on the instruction set.
MRNN_API int64_t mrnn_saved_size(const mrnn_args* args);
MRNN_API int64_t mrnn_checkpoints_size(const mrnn_args* args);
MRNN_API int64_t mrnn_forward(const mrnn_args* args);
MRNN_API int64_t mrnn_backward(const mrnn_args* args);
MRNN_API int64_t mrnn_scan_all(const mrnn_scan* scan);
// Bytes of `packed`, and filling it: weights in the order of the forward pass, and its scratch memory. One call at a time may use it.
MRNN_API int64_t mrnn_packed_bytes(const mrnn_args* args);
MRNN_API int64_t mrnn_pack(const mrnn_args* args);
MRNN_API int64_t mrnn_stage_bytes(void);
// Runs the stages one after the other; the caller points the x, or the input, of each to the out of the one before.
MRNN_API int64_t mrnn_stream(const mrnn_stage* stages, int64_t count);
// Replaces, for every tensor, and sets norm; norms do not depend on the number of threads.
// MRNN_REPLACE_PREVIOUS: previous <- gradient; norm |gradient - previous|.
// MRNN_HEAVY_BALL: momentum <- factor momentum + gradient; u = momentum + decay parameter; parameter <- parameter - lr u; norm |u|.
// MRNN_ADAPTIVE: momentum <- factor momentum + (1 - factor) gradient; square <- beta2 square + (1 - beta2) gradient^2;
//     u = momentum / (root_factor sqrt(square) + eps) + decay parameter; parameter <- parameter - lr u; norm |u|.
MRNN_API int64_t mrnn_update_all(int64_t isa, int64_t what, int64_t threads, int64_t count, mrnn_update* updates);
// Borrow an OpenMP runtime that is in the process already (torch's), so that no second pool of threads competes with it.
MRNN_API void mrnn_use_openmp(void* gomp_parallel, void* omp_get_thread_num, void* omp_get_num_threads);
