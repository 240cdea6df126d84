"""Every setting: fields, sections, TOML recipes, bundled files; no torch, no numpy."""
