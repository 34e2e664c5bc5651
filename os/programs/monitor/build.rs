//! Links the program.

fn main() {
    link::program();
}
