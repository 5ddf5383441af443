#include "program_calls.h"

#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/backend/backend_options_map.h>
#include <executorch/runtime/backend/options.h>

#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "errors.h"

namespace arcmobile {
namespace {

using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::runtime::BackendOptions;
using Code = executorch::runtime::Error;
using executorch::runtime::EValue;
using executorch::runtime::LoadBackendOptionsMap;
using executorch::runtime::Program;

[[noreturn]] void fail(const std::string& where, const char* what, Code code) {
  throw Error(where + ": " + what + " failed with ExecuTorch error " +
              std::to_string(static_cast<unsigned>(code)));
}

std::unique_ptr<Module> load(const std::string& path, bool weight_cache) {
  auto module = std::make_unique<Module>(path, Module::LoadMode::Mmap);
  BackendOptions<1> options;
  LoadBackendOptionsMap map;
  options.set_option("weight_cache_enabled", weight_cache);
  map.set_options("XnnpackBackend", options.view());
  const Code code = module->load(map, Program::Verification::InternalConsistency);
  if (code != Code::Ok) fail(path, "loading", code);
  return module;
}

void run(Module& module, const nlohmann::json& call) {
  const std::string method = call.at("method");
  const std::string where = call.at("program").get<std::string>() + "." + method;
  const auto meta = module.method_meta(method);
  if (!meta.ok()) fail(where, "looking it up", meta.error());
  std::vector<std::vector<char>> bytes;
  std::vector<TensorPtr> tensors;
  std::vector<EValue> values;
  for (const std::string path : call.at("inputs")) {
    const auto tensor = meta->input_tensor_meta(tensors.size());
    if (!tensor.ok()) fail(where, "its inputs", tensor.error());
    std::ifstream file(path, std::ios::binary);
    bytes.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
    if (bytes.back().size() != tensor->nbytes()) throw Error(path + ": another size");
    const auto sizes = tensor->sizes();
    tensors.push_back(executorch::extension::from_blob(
        bytes.back().data(), std::vector<std::int32_t>(sizes.begin(), sizes.end()),
        tensor->scalar_type()));
    values.emplace_back(tensors.back());
  }
  const auto outputs = module.execute(method, values);
  if (!outputs.ok()) fail(where, "running it", outputs.error());
  std::size_t index = 0;
  for (const std::string path : call.at("outputs")) {
    const auto& tensor = outputs->at(index++).toTensor();
    std::ofstream file(path, std::ios::binary);
    file.write(static_cast<const char*>(tensor.const_data_ptr()),
               static_cast<std::streamsize>(tensor.nbytes()));
    if (!file.flush()) throw Error(path + ": cannot be written");
  }
}

}  // namespace

void run_program_calls(const std::string& list, bool weight_cache) {
  std::ifstream file(list);
  const auto calls = nlohmann::json::parse(file);
  std::map<std::string, std::unique_ptr<Module>> modules;
  for (const auto& call : calls) {
    auto& module = modules[call.at("program")];
    if (module == nullptr) module = load(call.at("program"), weight_cache);
    const Code code = module->load_method(call.at("method"));
    if (code != Code::Ok) fail(call.at("program"), "loading a method", code);
  }
  for (const auto& call : calls) run(*modules.at(call.at("program")), call);
}

}  // namespace arcmobile
