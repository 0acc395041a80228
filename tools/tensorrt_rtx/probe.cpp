// Reads ONNX files with TensorRT-RTX's parser and builds their engines; no GPU is needed. See run.sh.
//
// Usage: probe FILE.onnx [--build]. Prints the parser's errors, the network's size and that of its engine. Ends with 1
// where the parser or the builder fails.

#include <NvInferVersion.h>

// The library takes the version of its own headers, which are not published; TensorRT's have the same interface.
#undef NV_TENSORRT_MAJOR
#undef NV_TENSORRT_MINOR
#undef NV_TENSORRT_PATCH
#define NV_TENSORRT_MAJOR RTX_MAJOR
#define NV_TENSORRT_MINOR RTX_MINOR
#define NV_TENSORRT_PATCH RTX_PATCH
#include <NvInfer.h>
#include <NvOnnxParser.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>
#include <string>

namespace {

// Prints warnings and errors, equal ones once, and counts them.
class Log : public nvinfer1::ILogger {
 public:
  void log(Severity severity, const char* text) noexcept override {
    if (severity > Severity::kWARNING) return;
    const char* kind = severity == Severity::kWARNING ? "warning" : "error";
    if (++seen_[std::string(kind) + ": " + text] == 1) std::printf("  %s: %s\n", kind, text);
  }

 private:
  std::map<std::string, int> seen_;
};

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void print_tensor(const char* kind, const nvinfer1::ITensor& tensor) {
  std::printf("  %s %s [", kind, tensor.getName());
  const nvinfer1::Dims dims = tensor.getDimensions();
  for (int i = 0; i < dims.nbDims; ++i) std::printf(i ? ", %ld" : "%ld", static_cast<long>(dims.d[i]));
  std::printf("], type %d\n", static_cast<int>(tensor.getType()));
}

int probe(const char* path, bool build) {
  Log log;
  const std::unique_ptr<nvinfer1::IBuilder> builder(nvinfer1::createInferBuilder(log));
  if (!builder) return std::fprintf(stderr, "probe: there is no builder\n"), 1;
  const std::unique_ptr<nvinfer1::INetworkDefinition> network(builder->createNetworkV2(0));
  const std::unique_ptr<nvonnxparser::IParser> parser(nvonnxparser::createParser(*network, log));
  if (!parser) return std::fprintf(stderr, "probe: there is no parser\n"), 1;
  auto start = std::chrono::steady_clock::now();
  const bool parsed = parser->parseFromFile(path, static_cast<int>(nvinfer1::ILogger::Severity::kWARNING));
  std::printf("%s: parsed %s, %d errors, %d layers, %.1f s\n", path, parsed ? "whole" : "in part",
              parser->getNbErrors(), network->getNbLayers(), seconds_since(start));
  for (int i = 0; i < parser->getNbErrors(); ++i) std::printf("  parser: %s\n", parser->getError(i)->desc());
  if (!parsed || parser->getNbErrors()) return 1;
  for (int i = 0; i < network->getNbInputs(); ++i) print_tensor("input", *network->getInput(i));
  for (int i = 0; i < network->getNbOutputs(); ++i) print_tensor("output", *network->getOutput(i));
  if (!build) return 0;
  const std::unique_ptr<nvinfer1::IBuilderConfig> config(builder->createBuilderConfig());
  start = std::chrono::steady_clock::now();
  const std::unique_ptr<nvinfer1::IHostMemory> engine(builder->buildSerializedNetwork(*network, *config));
  if (!engine) return std::printf("  no engine\n"), 1;
  const double megabytes = static_cast<double>(engine->size()) / 1e6;
  std::printf("  engine of %.1f MB, built in %.1f s\n", megabytes, seconds_since(start));
  return 0;
}

}  // namespace

int main(int count, char** words) {
  if (count < 2) return std::fprintf(stderr, "usage: probe FILE.onnx [--build]\n"), 2;
  std::printf("TensorRT-RTX library %d, headers %d\n", getInferLibVersion(), static_cast<int>(NV_TENSORRT_VERSION));
  return probe(words[1], count > 2 && !std::strcmp(words[2], "--build"));
}
