//! Links the driver at its own address.

fn main() {
    link::service();
}
