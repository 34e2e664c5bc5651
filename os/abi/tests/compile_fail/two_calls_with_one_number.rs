abi::protocol! {
    /// Opens and closes.
    gate = 0x7f00;

    /// Opens.
    1 open {} returns {} fails [] from PROGRAM;

    /// Closes, under the number of the other.
    1 close {} returns {} fails [] from PROGRAM;
}

fn main() {}
