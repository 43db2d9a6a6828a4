// What an isa_*.cpp exports: the kernels of one instruction set, for every cell and precision.
#include <stdlib.h>

namespace MRNN_NS {

// Flush denormals to zero, and restore the caller's mode afterwards: Adam's states decay into denormals, and an operation on one
// costs a hundred normal ones.
struct FlushDenormals {
#if defined(__SSE__)
    unsigned mode = __builtin_ia32_stmxcsr();
    FlushDenormals() { __builtin_ia32_ldmxcsr(mode | 0x8040); }
    ~FlushDenormals() { __builtin_ia32_ldmxcsr(mode); }
#elif defined(__aarch64__)
    uint64_t mode;
    FlushDenormals() {
        __asm__ volatile("mrs %0, fpcr" : "=r"(mode));
        __asm__ volatile("msr fpcr, %0" : : "r"(mode | (1ull << 24)));
    }
    ~FlushDenormals() { __asm__ volatile("msr fpcr, %0" : : "r"(mode)); }
#else
    FlushDenormals() {}
    ~FlushDenormals() {}
#endif
};

template <class Cell, class Numbers> struct Run {
    typedef Layer<Cell, Numbers> L;
    typedef Part<Cell, Numbers> P;
    L layer;
    bool backward;
    char* blocks;  // one for each part
    int64_t block_bytes;

    static char* aligned(void* p) { return (char*)(((uintptr_t)p + 63) & ~(uintptr_t)63); }

    static int64_t part_bytes(const L& layer, bool backward) {
        P part(layer, 0);
        Arena count;
        backward ? part.take_backward(count) : part.take_forward(count);
        return count.wanted;
    }

    // Lays the packed weights and the scratch memory of the parts out in `memory`; returns the bytes they take.
    int64_t place(void* memory) {
        Arena shared;
        layer.take_packed(shared, backward);
        block_bytes = part_bytes(layer, backward);
        const int64_t bytes = shared.wanted + block_bytes * layer.a.parts + 64;
        if (memory) {
            blocks = aligned(memory) + shared.wanted;
            shared.base = shared.next = aligned(memory);
            layer.take_packed(shared, backward);
        }
        return bytes;
    }

    static void task(void* context, int64_t index) {
        const Run& run = *(const Run*)context;
        const FlushDenormals mode;
        P part(run.layer, index);
        Arena arena;
        arena.base = arena.next = run.blocks + index * run.block_bytes;
        run.backward ? part.take_backward(arena) : part.take_forward(arena);
        run.backward ? part.backward() : part.forward();
    }

    static int64_t call(const mrnn_args& args, bool backward) {
        Run run{L(args), backward, nullptr, 0};
        void* const own = !backward && args.packed ? nullptr : malloc(run.place(nullptr));
        void* const memory = own || backward ? own : args.packed;
        if (!memory) return -MRNN_NO_MEMORY;
        run.place(memory);
        if (own) run.layer.pack();
        mrnn::parallel_for(args.parts, args.threads, task, &run);
        if (backward)  // in the order of the parts: the sum does not depend on the threads
            for (int64_t i = 0; i < args.parts; i++) {
                P part(run.layer, i);
                Arena arena;
                arena.base = arena.next = run.blocks + i * run.block_bytes;
                part.take_backward(arena);
                part.add_gradients();
            }
        free(own);
        return MRNN_OK;
    }
    static int64_t pack(const mrnn_args& args) {
        Run run{L(args), false, nullptr, 0};
        run.place(args.packed);
        run.layer.pack();
        return MRNN_OK;
    }
    static int64_t packed_bytes(const mrnn_args& args) { return Run{L(args), false, nullptr, 0}.place(nullptr); }

    static int64_t size(const mrnn_args& args, bool checkpoints) {
        const L layer(args);
        return checkpoints ? layer.checkpoints_size() : layer.saved_size();
    }
};

// what: 0 forward, 1 backward, 2 size of the saved activations, 3 of the checkpoints, 4 bytes of packed, 5 fill it
template <class Cell, class Numbers> int64_t serve(const mrnn_args& a, int what) {
    typedef Run<Cell, Numbers> R;
    return what < 2 ? R::call(a, what) : what < 4 ? R::size(a, what == 3) : what == 4 ? R::packed_bytes(a) : R::pack(a);
}
template <class Cell> int64_t select_numbers(const mrnn_args& a, int what) {
    switch (a.real_bytes) {
#if defined(MRNN_BF16) || defined(MRNN_PORTABLE)
        case MRNN_BF16_BYTES:
            if constexpr (Cell::CELL) return serve<Cell, Half>(a, what);  // others would round their only state at each step
            return -MRNN_BAD_ARGUMENT;
#endif
#if !defined(MRNN_BF16)
        case MRNN_FLOAT_BYTES: return serve<Cell, Exact<float>>(a, what);
#endif
#if defined(MRNN_PORTABLE)  // float64 is for checking
        case MRNN_DOUBLE_BYTES: return serve<Cell, Exact<double>>(a, what);
#endif
        default: return -MRNN_BAD_ARGUMENT;
    }
}

int64_t select(const mrnn_args& a, int what) {
    switch (a.recurrence) {
        case MRNN_LSTM: return select_numbers<Lstm>(a, what);
#if !defined(MRNN_ONLY_LSTM)  // a quarter of the compile time, while working on the kernel
        case MRNN_GRU: return select_numbers<Gru>(a, what);
        case MRNN_RNN_TANH: return select_numbers<Rnn<true>>(a, what);
        case MRNN_RNN_RELU: return select_numbers<Rnn<false>>(a, what);
        case MRNN_MODRELU: return select_numbers<ModRelu>(a, what);
#endif
        default: return -MRNN_BAD_ARGUMENT;
    }
}

const char* instructions() { return INSTRUCTIONS; }

}  // namespace MRNN_NS
