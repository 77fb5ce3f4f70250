//! The profiles that come with the crate.

/// Name and text of each profile in `hw-profiles/`.
const PROFILES: [(&str, &str); 14] = [
    ("a100", include_str!("../../../hw-profiles/a100.toml")),
    ("bismo-cloud", include_str!("../../../hw-profiles/bismo-cloud.toml")),
    ("bismo-edge", include_str!("../../../hw-profiles/bismo-edge.toml")),
    ("bismo-pynq-z1", include_str!("../../../hw-profiles/bismo-pynq-z1.toml")),
    ("bitfusion", include_str!("../../../hw-profiles/bitfusion.toml")),
    ("bitfusion-cloud", include_str!("../../../hw-profiles/bitfusion-cloud.toml")),
    ("edge-tpu", include_str!("../../../hw-profiles/edge-tpu.toml")),
    ("eyeriss-like", include_str!("../../../hw-profiles/eyeriss-like.toml")),
    ("h100", include_str!("../../../hw-profiles/h100.toml")),
    ("loom-1b", include_str!("../../../hw-profiles/loom-1b.toml")),
    ("stripes", include_str!("../../../hw-profiles/stripes.toml")),
    ("t4", include_str!("../../../hw-profiles/t4.toml")),
    ("t4-tensorrt", include_str!("../../../hw-profiles/t4-tensorrt.toml")),
    ("tpu-v1", include_str!("../../../hw-profiles/tpu-v1.toml")),
];

/// The text of the profile of that name, with or without `.toml`.
pub fn builtin(name: &str) -> Option<&'static str> {
    let name = name.strip_suffix(".toml").unwrap_or(name);
    PROFILES.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
}

/// The names of all profiles that come with the crate, in alphabetical order.
pub fn builtin_names() -> impl ExactSizeIterator<Item = &'static str> {
    PROFILES.iter().map(|(name, _)| *name)
}
