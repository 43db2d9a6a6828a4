// Included once by each isa_*.cpp, inside its target. No C++ library header may be included here: its inline functions
// would be compiled for that instruction set and the linker might keep that copy for everyone.
#include "momentum_rnn.h"
#include "parallel.h"
#define MRNN_LAMBDA __attribute__((always_inline))
#pragma GCC diagnostic ignored "-Wpsabi"
#include "numbers.h"
#include "functions.h"
#include "gemm.h"
#include "cells.h"
#include "layer.h"
#include "part.h"
#include "dynamics.h"
#include "forward.h"
#include "backward.h"
#include "entry.h"
#if !defined(MRNN_BF16)
#include "update.h"
#endif
