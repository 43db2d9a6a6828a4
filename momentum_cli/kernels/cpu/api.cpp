// The C entry points: check the arguments, pick the instruction set.
#include "momentum_rnn.h"

#define MRNN_DECLARE(NS) \
    namespace NS { \
    int64_t select(const mrnn_args& args, int what); \
    }
MRNN_DECLARE(mrnn_generic)
#if defined(__x86_64__)
MRNN_DECLARE(mrnn_avx2)
MRNN_DECLARE(mrnn_avx512)
#endif

int64_t mrnn_abi(void) { return MRNN_ABI; }
int64_t mrnn_args_bytes(void) { return sizeof(mrnn_args); }

int64_t mrnn_has_isa(int64_t isa) {
    switch (isa) {
        case MRNN_ISA_GENERIC: return 1;
#if defined(__x86_64__)
        case MRNN_ISA_AVX2: return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
        case MRNN_ISA_AVX512:
            return mrnn_has_isa(MRNN_ISA_AVX2) && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                   __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512bw");
#endif
        default: return 0;
    }
}

int64_t mrnn_best_isa(void) {
    for (int64_t isa = MRNN_ISA_AVX512; isa > MRNN_ISA_GENERIC; isa--)
        if (mrnn_has_isa(isa)) return isa;
    return MRNN_ISA_GENERIC;
}

static int64_t call(const mrnn_args* args, int what) {
    const mrnn_args& a = *args;
    const bool known = a.abi == MRNN_ABI && (a.real_bytes == 4 || a.real_bytes == 8) && a.recurrence >= 0 &&
                       a.recurrence <= MRNN_RNN_RELU && a.dynamics >= 0 && a.dynamics <= MRNN_RMSPROP;
    if (!known || a.steps < 1 || a.batch < 1 || a.input < 1 || a.hidden < 1 || a.parts < 1 || a.chunk < 1) return -MRNN_BAD_ARGUMENT;
    if (!mrnn_has_isa(a.isa)) return -MRNN_NO_ISA;
    switch (a.isa) {
#if defined(__x86_64__)
        case MRNN_ISA_AVX2: return mrnn_avx2::select(a, what);
        case MRNN_ISA_AVX512: return mrnn_avx512::select(a, what);
#endif
        default: return mrnn_generic::select(a, what);
    }
}

int64_t mrnn_forward(const mrnn_args* args) { return call(args, 0); }
int64_t mrnn_backward(const mrnn_args* args) { return call(args, 1); }
int64_t mrnn_saved_size(const mrnn_args* args) { return call(args, 2); }
int64_t mrnn_checkpoints_size(const mrnn_args* args) { return call(args, 3); }
