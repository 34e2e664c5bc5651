//! Links the server at its own address.

fn main() {
    link::service();
}
