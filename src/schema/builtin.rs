//! The schema files that ship inside the binary.

const FILES: [(&str, &str); 4] = [
    ("singlequdit", include_str!("../../schemas/backends/singlequdit.json")),
    ("multiqudit", include_str!("../../schemas/backends/multiqudit.json")),
    ("fermions", include_str!("../../schemas/backends/fermions.json")),
    ("rydberg", include_str!("../../schemas/backends/rydberg.json")),
];

/// The built-in schemas: name and text of the file.
pub fn builtin() -> impl Iterator<Item = (&'static str, &'static str)> {
    FILES.into_iter()
}
