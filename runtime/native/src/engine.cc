#include "engine.h"

#include <unistd.h>

#include <executorch/devtools/etdump/etdump_flatcc.h>
#include <executorch/extension/module/module.h>
#include <executorch/extension/tensor/tensor.h>
#include <executorch/runtime/executor/program.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "errors.h"
#include "library_log.h"
#include "signals.h"
#include "threads.h"
#include "whole_file.h"

#if __has_include(<executorch/extension/threadpool/threadpool.h>)
#include <executorch/extension/threadpool/threadpool.h>
#else
// The Python package ships the library without this header; these are its symbols.
namespace executorch::extension::threadpool {
class ThreadPool {
 public:
  std::size_t get_thread_count() const;
  bool _unsafe_reset_threadpool(std::uint32_t count);
};
ThreadPool* get_threadpool();
}  // namespace executorch::extension::threadpool
#endif

namespace arcmobile {
namespace {

using executorch::aten::ScalarType;
using executorch::etdump::ETDumpGen;
using executorch::extension::Module;
using executorch::extension::TensorPtr;
using executorch::runtime::EValue;
using Code = executorch::runtime::Error;

std::string say(Code code) {
  char text[32];
  std::snprintf(text, sizeof text, "ExecuTorch error 0x%x", static_cast<unsigned>(code));
  return last_library_error(text);
}

ScalarType scalar_type(Dtype dtype) {
  return dtype == Dtype::int32 ? ScalarType::Int : ScalarType::Float;
}

template <typename Sizes>
bool same_shape(const TensorSpec& spec, const Sizes& sizes) {
  if (sizes.size() != spec.shape.size()) return false;
  for (std::size_t i = 0; i < spec.shape.size(); ++i) {
    if (static_cast<std::int64_t>(sizes[i]) != spec.shape[i]) return false;
  }
  return true;
}

// Buffers that a program plans are filled with zeros, however large a broken one says they are.
bool fits_into_memory(Module& module, const std::string& method) {
  auto meta = module.method_meta(method);
  if (!meta.ok()) return true;  // refused when it is loaded
  const auto whole = static_cast<std::uint64_t>(sysconf(_SC_PHYS_PAGES)) *
                     static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  std::uint64_t planned = 0;
  for (std::size_t i = 0; i < meta->num_memory_planned_buffers(); ++i) {
    const auto size = meta->memory_planned_buffer_size(i);
    if (!size.ok() || *size < 0 || static_cast<std::uint64_t>(*size) > whole) return false;
    planned += static_cast<std::uint64_t>(*size);
  }
  return planned <= whole;
}

// The entry takes and gives what the manifest says, in the same order.
void expect_signature(Module& module, const Component& component, const Entry& entry) {
  const auto meta = module.method_meta(entry.name);
  const auto expect = [&component](bool same, const char* what) {
    if (same) return;
    throw Error(component.path + ": its " + what +
                " are not those of the manifest; export the bundle again");
  };
  if (!meta.ok()) {
    throw Error(component.path + ": ExecuTorch finds no entry " + entry.name + " in it (" +
                say(meta.error()) + "); export the bundle again");
  }
  expect(meta->num_inputs() == entry.inputs.size(), "inputs");
  expect(meta->num_outputs() == entry.outputs.size(), "outputs");
  for (std::size_t i = 0; i < entry.inputs.size(); ++i) {
    const auto tensor = meta->input_tensor_meta(i);
    expect(tensor.ok() && same_shape(entry.inputs[i], tensor->sizes()) &&
               tensor->scalar_type() == scalar_type(entry.inputs[i].dtype),
           "inputs");
  }
  for (std::size_t i = 0; i < entry.outputs.size(); ++i) {
    const auto tensor = meta->output_tensor_meta(i);
    expect(tensor.ok() && same_shape(entry.outputs[i], tensor->sizes()) &&
               tensor->scalar_type() == ScalarType::Float,
           "outputs");
  }
}

// Loads all but the entry.
void load_program(Module& module, const Component& component, const Entry& entry) {
  // The minimal verification of the default follows offsets of a broken file out of bounds.
  const auto verification = executorch::runtime::Program::Verification::InternalConsistency;
  if (const Code code = module.load(verification); code != Code::Ok) {
    throw Error(component.path + ": ExecuTorch refuses it (" + say(code) +
                "); export the bundle again");
  }
  expect_signature(module, component, entry);
  if (!fits_into_memory(module, entry.name)) {
    throw Error(component.path + ": needs more memory than this machine has; use a smaller " +
                "recipe, or export the bundle again");
  }
}

}  // namespace

void set_thread_count(int threads) {
  expect_threads(threads);
  auto* pool = executorch::extension::threadpool::get_threadpool();
  const auto count = static_cast<std::uint32_t>(threads);
  if (pool == nullptr ||
      (pool->get_thread_count() != count && !pool->_unsafe_reset_threadpool(count))) {
    throw Error("--threads " + std::to_string(threads) + ": no such thread pool here");
  }
}

const char* executorch_version() { return ARCMOBILE_EXECUTORCH_VERSION; }

struct ComponentProgram::Loaded {
  ETDumpGen* trace;  // owned by the module
  Module module;
};

ComponentProgram::ComponentProgram(const Component& component, const Entry& entry, LoadMode mode,
                                   bool trace)
    : entry_(entry), path_(component.path), where_(component.name + "." + entry.name) {
  blame_faults_on(path_);
  auto tracer = trace ? std::make_unique<ETDumpGen>() : nullptr;
  auto* kept = tracer.get();
  const auto load_mode = mode == LoadMode::mmap ? Module::LoadMode::Mmap : Module::LoadMode::File;
  loaded_.reset(new Loaded{kept, Module(path_, load_mode, std::move(tracer))});
  load_program(loaded_->module, component, entry);
  if (const Code code = loaded_->module.load_method(entry.name); code != Code::Ok) {
    throw Error(where_ + ": ExecuTorch cannot load it (" + say(code) + "); export the bundle again");
  }
}

void check_program(const Component& component, const Entry& entry) {
  Module module(component.path, Module::LoadMode::File);
  load_program(module, component, entry);
}

ComponentProgram::~ComponentProgram() {
  blame_faults_on(path_);
  loaded_.reset();
}

Floats ComponentProgram::run(const Inputs& inputs) {
  blame_faults_on(path_);
  std::vector<TensorPtr> tensors;
  std::vector<EValue> values;
  for (const TensorSpec& spec : entry_.inputs) {
    const bool integers = spec.dtype == Dtype::int32;
    // ExecuTorch reads inputs only, but its interface has no pointer to const.
    void* data = integers ? static_cast<void*>(const_cast<std::int32_t*>(
                                inputs.integers.at(spec.name).data()))
                          : const_cast<float*>(inputs.floats.at(spec.name).data());
    tensors.push_back(executorch::extension::from_blob(data, spec.shape, scalar_type(spec.dtype)));
    values.emplace_back(tensors.back());
  }
  const auto outputs = loaded_->module.execute(entry_.name, values);
  if (!outputs.ok()) {
    throw Error(where_ + ": ExecuTorch failed (" + say(outputs.error()) + ")");
  }
  Floats named;
  for (std::size_t i = 0; i < entry_.outputs.size(); ++i) {
    const EValue& output = outputs->at(i);
    if (!output.isTensor() || !same_shape(entry_.outputs[i], output.toTensor().sizes())) {
      throw Error(path_ + ": its outputs are not those of the manifest; export the bundle again");
    }
    const auto& tensor = output.toTensor();
    const auto* data = tensor.const_data_ptr<float>();
    std::vector<float> copied(data, data + entry_.outputs[i].size());
    for (const float value : copied) {
      if (!std::isfinite(value)) {
        throw Error(where_ + " gave NaN or infinite values; export the bundle again " +
                               "with another recipe");
      }
    }
    named.emplace(entry_.outputs[i].name, std::move(copied));
  }
  return named;
}

void ComponentProgram::write_trace(const std::string& path) {
  const auto result = loaded_->trace->get_etdump_data();
  const std::unique_ptr<void, void (*)(void*)> owner(result.buf, std::free);
  WholeFile file(path, true, "--etdump");
  file.append({static_cast<const char*>(result.buf), result.size});
  file.finish();
}

}  // namespace arcmobile
