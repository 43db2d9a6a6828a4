// Included once by each isa_*.cpp, inside its target pragma. No C++ library header may be included here: its inline functions
// would be compiled for that instruction set and the linker might keep that copy for everyone.
#include "momentum_rnn.h"
#include "parallel.h"
#define MRNN_LAMBDA __attribute__((always_inline))
#pragma GCC diagnostic ignored "-Wpsabi"
#include "vector.h"
#include "gemm.h"
#include "cells.h"
#include "layer.h"
#include "entry.h"
#include "update.h"
