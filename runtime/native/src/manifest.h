// The text of a manifest.json, checked: see runtime/bundle_schema.py, which defines it.
#pragma once

#include <string>
#include <string_view>

#include "bundle.h"

namespace arcmobile {

// A bundle whose `path`s are the plain file names of the manifest. `file` names the manifest in
// messages. Throws Error naming the field and the way out; does not look at any file.
Bundle read_manifest(std::string_view text, const std::string& file);

}  // namespace arcmobile
