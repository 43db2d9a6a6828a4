"""Our own CUDA kernels, in Triton."""
