// The C entry points: check the arguments, pick the instruction set.
#include "momentum_rnn.h"

#if defined(__linux__)
#include <sys/mman.h>
#endif
#if defined(MRNN_HAS_AVX512)
#include <cpuid.h>
#endif

#define MRNN_DECLARE(NS) \
    namespace NS { \
    int64_t select(const mrnn_args& args, int what); \
    const char* instructions(); \
    }
MRNN_DECLARE(mrnn_generic)
#if defined(MRNN_HAS_AVX2)
MRNN_DECLARE(mrnn_avx2)
#endif
#if defined(MRNN_HAS_AVX512)
MRNN_DECLARE(mrnn_avx512)
#endif
#if defined(MRNN_HAS_AVX512_BF16)
MRNN_DECLARE(mrnn_avx512_bf16)
#endif

int64_t mrnn_abi(void) { return MRNN_ABI; }
int64_t mrnn_args_bytes(void) { return sizeof(mrnn_args); }
int64_t mrnn_stage_bytes(void) { return sizeof(mrnn_stage); }

int64_t mrnn_has_isa(int64_t isa) {
    switch (isa) {
        case MRNN_ISA_GENERIC: return 1;
#if defined(MRNN_HAS_AVX2)
        case MRNN_ISA_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
#if defined(MRNN_HAS_AVX512)
        case MRNN_ISA_AVX512:
            return mrnn_has_isa(MRNN_ISA_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
#endif
#if defined(MRNN_HAS_AVX512_BF16)
        case MRNN_ISA_AVX512_BF16: return mrnn_has_isa(MRNN_ISA_AVX512) && __builtin_cpu_supports("avx512bf16");
#endif
        default: return 0;
    }
}

const char* mrnn_instructions(int64_t isa) {
    switch (isa) {
#if defined(MRNN_HAS_AVX2)
        case MRNN_ISA_AVX2: return mrnn_avx2::instructions();
#endif
#if defined(MRNN_HAS_AVX512)
        case MRNN_ISA_AVX512: return mrnn_avx512::instructions();
#endif
#if defined(MRNN_HAS_AVX512_BF16)
        case MRNN_ISA_AVX512_BF16: return mrnn_avx512_bf16::instructions();
#endif
        default: return mrnn_generic::instructions();
    }
}

int64_t mrnn_vector_bytes(int64_t isa) {
    return isa >= MRNN_ISA_AVX512 ? 64 : isa == MRNN_ISA_AVX2 ? 32 : MRNN_GENERIC_VECTOR_BYTES;
}

#if defined(MRNN_HAS_AVX512)
// True if a vector of 64 bytes is computed as two of 32, as in Zen 4, the only processors of AMD's family 25 with AVX-512.
static bool halves_vectors() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__builtin_cpu_is("amd") || !__get_cpuid(1, &a, &b, &c, &d)) return false;
    return (a >> 8 & 15) + (a >> 20 & 255) == 25;
}

static int64_t padded(int64_t hidden, int64_t isa) {
    const int64_t tile = 2 * mrnn_vector_bytes(isa) / (int64_t)sizeof(float);
    return (hidden + tile - 1) / tile * tile;
}
#endif

int64_t mrnn_best_isa([[maybe_unused]] int64_t hidden) {
#if defined(MRNN_HAS_AVX512)
    if (mrnn_has_isa(MRNN_ISA_AVX512)) {
        // Half as many numbers in a vector pay where it saves half of the padded units, and on processors that compute a vector in two
        // halves already where it saves a sixth.
        const int64_t wide = padded(hidden, MRNN_ISA_AVX512), narrow = padded(hidden, MRNN_ISA_AVX2);
        const bool pays = wide >= 2 * narrow || (halves_vectors() && 5 * wide >= 6 * narrow);
        return hidden > 0 && pays ? MRNN_ISA_AVX2 : MRNN_ISA_AVX512;
    }
#endif
    return mrnn_has_isa(MRNN_ISA_AVX2) ? MRNN_ISA_AVX2 : MRNN_ISA_GENERIC;
}

// Fresh memory comes a page at a time; asked for in large pages, the activations of a training step cost a hundredth of the faults.
static void prefer_large_pages(const void* start, int64_t bytes) {
#if defined(__linux__)
    const uintptr_t page = 4096, first = ((uintptr_t)start + page - 1) & ~(page - 1), end = ((uintptr_t)start + bytes) & ~(page - 1);
    if (start && bytes > (4 << 20)) madvise(reinterpret_cast<void*>(first), end - first, MADV_HUGEPAGE);
#else
    (void)start, (void)bytes;
#endif
}

static int64_t call(const mrnn_args* args, int what) {
    const mrnn_args& a = *args;
    const bool known = a.abi == MRNN_ABI && a.recurrence >= 0 &&
                       a.recurrence <= MRNN_MODRELU && a.dynamics >= 0 && a.dynamics <= MRNN_RMSPROP;
    if (!known || a.steps < 1 || a.batch < 1 || a.input < 1 || a.hidden < 1 || a.parts < 1 || a.chunk < 1) return -MRNN_BAD_ARGUMENT;
    const bool folded = a.folded == 1 && a.dynamics == MRNN_LINEAR && a.input > 1;
    if (a.folded != 0 && !folded) return -MRNN_BAD_ARGUMENT;
    if (!mrnn_has_isa(a.isa)) return -MRNN_NO_ISA;
    switch (a.isa) {
#if defined(MRNN_HAS_AVX2)
        case MRNN_ISA_AVX2: return mrnn_avx2::select(a, what);
#endif
#if defined(MRNN_HAS_AVX512)
        case MRNN_ISA_AVX512: return mrnn_avx512::select(a, what);
#endif
#if defined(MRNN_HAS_AVX512_BF16)
        case MRNN_ISA_AVX512_BF16: return mrnn_avx512_bf16::select(a, what);
#endif
        default: return mrnn_generic::select(a, what);
    }
}

int64_t mrnn_forward(const mrnn_args* args) {
    if (args->folded && !args->b_ih) return -MRNN_BAD_ARGUMENT;
    if (args->saved) {
        const int64_t saved = call(args, 2), checkpoints = call(args, 3);
        if (saved < 0) return saved;
        prefer_large_pages(args->saved, saved * args->real_bytes);
        prefer_large_pages(args->checkpoints, checkpoints * (args->real_bytes < MRNN_FLOAT_BYTES ? (int64_t)MRNN_FLOAT_BYTES : args->real_bytes));
    }
    prefer_large_pages(args->out, args->steps * args->batch * args->hidden * args->real_bytes);
    return call(args, 0);
}
int64_t mrnn_backward(const mrnn_args* args) { return args->folded && !args->b_ih ? -MRNN_BAD_ARGUMENT : call(args, 1); }
int64_t mrnn_saved_size(const mrnn_args* args) { return call(args, 2); }
int64_t mrnn_checkpoints_size(const mrnn_args* args) { return call(args, 3); }
int64_t mrnn_packed_bytes(const mrnn_args* args) { return call(args, 4); }
int64_t mrnn_pack(const mrnn_args* args) { return args->packed && (args->b_ih || !args->folded) ? call(args, 5) : -MRNN_BAD_ARGUMENT; }
