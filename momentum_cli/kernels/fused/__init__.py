"""Our own CPU kernels: the C++ library in `kernels/cpu` and what calls it."""
