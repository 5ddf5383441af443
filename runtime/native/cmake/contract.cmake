# Writes bounds.h and names.h into OUT: the constants of runtime/contract.
function(write_contract_headers contract out)
  set_property(DIRECTORY APPEND PROPERTY
    CMAKE_CONFIGURE_DEPENDS ${contract}/bounds.json ${contract}/names.json)
  file(READ ${contract}/bounds.json bounds)
  file(READ ${contract}/names.json names)
  string(JSON values GET "${names}" values)
  string(JSON stages GET "${names}" stages)
  string(JSON tensors GET "${names}" tensors)
  string(JSON dtypes GET "${names}" dtypes)

  set(constants "")
  _members("${bounds}" keys)
  foreach(key IN LISTS keys)
    string(JSON value GET "${bounds}" ${key})
    string(APPEND constants "inline constexpr std::int64_t ${key} = ${value};\n")
  endforeach()
  _write_header(${out} bounds
    "The largest values that a manifest or a request may hold." "#include <cstdint>\n\n")

  set(constants "")
  _members("${values}" keys)
  foreach(key IN LISTS keys)
    string(JSON value GET "${values}" ${key})
    string(APPEND constants "inline constexpr const char* ${key} = \"${value}\";\n")
  endforeach()
  foreach(group IN ITEMS "${stages}" "${tensors}" "${dtypes}")
    _members("${group}" keys)
    foreach(key IN LISTS keys)
      string(APPEND constants "inline constexpr const char* ${key} = \"${key}\";\n")
    endforeach()
  endforeach()
  _write_header(${out} names "Names in a manifest: stages, tensors, and values with a meaning." "")
endfunction()

# The keys of a JSON object.
function(_members object result)
  string(JSON count LENGTH "${object}")
  math(EXPR last "${count} - 1")
  set(keys "")
  foreach(index RANGE ${last})
    string(JSON key MEMBER "${object}" ${index})
    list(APPEND keys ${key})
  endforeach()
  set(${result} ${keys} PARENT_SCOPE)
endfunction()

function(_write_header out name about includes)
  file(CONFIGURE OUTPUT ${out}/${name}.h @ONLY CONTENT [[
// @about@
// Generated from runtime/contract/@name@.json.
#pragma once

@includes@namespace arcmobile::@name@ {

@constants@
}  // namespace arcmobile::@name@
]])
endfunction()
