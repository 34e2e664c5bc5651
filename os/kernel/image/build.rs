//! Links the kernel by its own script.

fn main() {
    link::with_script(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel.ld"));
}
