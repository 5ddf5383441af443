#include "bundle.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <climits>
#include <cstdio>
#include <cstdlib>

#include "bounds.h"
#include "errors.h"
#include "json_document.h"
#include "manifest.h"
#include "names.h"
#include "verified_files.h"

namespace arcmobile {
namespace {

std::string real_path(const std::string& path) {
  char real[PATH_MAX];
  return realpath(path.c_str(), real) == nullptr ? "" : real;
}

// The folder, also of a manifest that was named itself, without slashes at its end.
std::string folder_of(std::string given) {
  const auto trim = [&given] {
    while (given.size() > 1 && given.back() == '/') given.pop_back();
  };
  trim();
  const std::string name = names::manifest_file;
  struct stat status {};
  const bool is_file = stat(given.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  if (is_file && given == name) return ".";
  if (is_file && given.size() > name.size() &&
      given.compare(given.size() - name.size() - 1, std::string::npos, "/" + name) == 0) {
    given.resize(given.size() - name.size());
    trim();
  }
  return given;
}

// Checks that a recorded file is there, inside the folder, as it was exported.
void check_file(const std::string& folder, const FileRecord& record) {
  const std::string path = folder + "/" + record.name;
  struct stat status {};
  if (stat(path.c_str(), &status) != 0) {
    throw Error(path + ": missing; copy the whole bundle folder or export the bundle again");
  }
  // A plain name can still be a link to somewhere else.
  const std::string inside = real_path(folder) + "/";
  if (real_path(path).compare(0, inside.size(), inside) != 0) {
    throw Error(path + ": is a link that leaves the bundle folder; export the bundle again");
  }
  if (!S_ISREG(status.st_mode)) {
    throw Error(path + ": is not a regular file; copy the whole bundle folder");
  }
  if (status.st_size != record.bytes) {
    throw Error(path + ": " + std::to_string(status.st_size) + " bytes, the manifest says " +
                std::to_string(record.bytes) + "; copy the file again or export the bundle again");
  }
  verify_file(path, record);
}

// 1.10.0 as {1, 10, 0}; numbers that are missing are 0.
std::array<int, 3> release_numbers(const std::string& version) {
  std::array<int, 3> numbers{};
  std::sscanf(version.c_str(), "%4d.%4d.%4d", &numbers[0], &numbers[1], &numbers[2]);
  return numbers;
}

// Checks that this ExecuTorch computes the programs right: older ones give noise for some,
// without an error. Exporters that did not say made programs for the release of their time.
void check_release(const Bundle& bundle) {
  const std::string present = ARCMOBILE_EXECUTORCH_VERSION;
  const bool stated = !bundle.minimum_runtime.empty();
  const std::string needed = stated ? bundle.minimum_runtime : "1.5.1";
  if (release_numbers(present) >= release_numbers(needed)) return;
  throw Error(bundle.folder + ": " + (stated ? "needs" : "was made for") + " ExecuTorch " + needed +
              " or later, this runner has " + present +
              "; use a newer runner or export the bundle again");
}

}  // namespace

std::size_t TensorSpec::size() const {
  std::size_t elements = 1;
  for (const auto length : shape) elements *= static_cast<std::size_t>(length);
  return elements;
}

const TensorSpec* Entry::find(const std::string& tensor) const {
  for (const auto* list : {&inputs, &outputs}) {
    for (const TensorSpec& spec : *list) {
      if (spec.name == tensor) return &spec;
    }
  }
  return nullptr;
}

const Entry& Component::entry_for(int frames) const {
  for (const Entry& entry : entries) {
    if (entry.frames == frames) return entry;
  }
  throw Error(path + ": no entry for " + std::to_string(frames) + " frames; export the bundle again");
}

std::string decoder_part(std::size_t index) {
  return std::string(names::decoder) + "_" + std::to_string(index + 1);
}

Bundle open_bundle(const std::string& given) {
  const std::string folder = folder_of(given);
  const std::string manifest = folder + "/" + names::manifest_file;
  struct stat status {};
  if (stat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
    throw Error(folder + ": no such folder; give the folder of an exported bundle");
  }
  if (stat(manifest.c_str(), &status) != 0) {
    throw Error(folder + ": no " + names::manifest_file +
                " in it; give the folder of an exported bundle");
  }
  Bundle bundle = read_manifest(read_small_file(manifest, bounds::manifest_bytes), manifest);
  bundle.folder = folder;
  if (bundle.backend != names::native_backend) {
    throw Error(folder + ": a bundle for " + bundle.backend + "; this runner takes " +
                names::native_backend + ": export it again with --backend " +
                names::native_backend);
  }
  check_release(bundle);
  for (const FileRecord& record : bundle.files) check_file(folder, record);
  const auto place = [&folder](std::string& name) { name.insert(0, folder + "/"); };
  place(bundle.tokenizer.json_path);
  place(bundle.conditioner.path);
  place(bundle.dit.path);
  for (DecoderPart& part : bundle.decoder) place(part.component.path);
  return bundle;
}

}  // namespace arcmobile
