"""Our own CPU kernels: the C++ library of `kernels/cpu`, called through ctypes."""
