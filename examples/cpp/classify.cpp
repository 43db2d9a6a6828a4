// Classify raw images with a TorchScript file of `momentumrnn export RUN --format torchscript`, with libtorch alone.
//
//     classify MODEL.pt HEIGHT WIDTH < images.raw          whole images
//     classify MODEL-stateful.pt HEIGHT WIDTH < images.raw one time step a call
//
// Build it against the libtorch of a Python environment (or of a libtorch archive, with TORCH its folder):
//
//     TORCH=$(python -c 'import torch, os; print(os.path.dirname(torch.__file__))')
//     c++ -std=c++20 -O2 -I$TORCH/include -I$TORCH/include/torch/csrc/api/include examples/cpp/classify.cpp
//         -L$TORCH/lib -Wl,-rpath,$TORCH/lib -ltorch -ltorch_cpu -lc10 -o classify
//
// images.raw holds one byte a pixel, row by row, image after image. Prints one class number a line.
#include <torch/script.h>

#include <cstdint>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

int main(int count, char **arguments) {
  if (count != 4) {
    std::cerr << "usage: classify MODEL.pt HEIGHT WIDTH < images.raw\n";
    return 2;
  }
  try {
    const int64_t height = std::stoll(arguments[2]), width = std::stoll(arguments[3]);
    std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(std::cin)), std::istreambuf_iterator<char>());
    const int64_t pixels = height * width;
    if (pixels <= 0 || bytes.empty() || bytes.size() % pixels != 0) {
      std::cerr << "the input is not a whole number of " << height << " x " << width << " images\n";
      return 3;
    }
    torch::NoGradGuard no_grad;
    torch::jit::Module model = torch::jit::load(arguments[1]);
    const int64_t batch = static_cast<int64_t>(bytes.size()) / pixels;
    const auto images = torch::from_blob(bytes.data(), {batch, height, width}, torch::kUInt8);
    // Scaling and permutation are in the file.
    const auto inputs = model.get_method("prepare")({images}).toTensor();  // (B, T, D)
    torch::Tensor outputs;
    if (!model.find_method("zero_state")) {
      outputs = model.forward({inputs}).toTensor();
    } else {
      auto state = model.get_method("zero_state")({batch});
      for (int64_t t = 0; t < inputs.size(1); ++t) {
        const auto result = model.forward({inputs.slice(1, t, t + 1), state}).toTuple();
        outputs = result->elements()[0].toTensor();
        state = result->elements()[1];
      }
    }
    const auto classes = outputs.argmax(1);
    for (int64_t i = 0; i < batch; ++i) std::cout << classes[i].item<int64_t>() << "\n";
  } catch (const std::exception &error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}
