"""The networks of Stable Audio Open Small, written to lower well."""
