abi::protocol! {
    /// Stores.
    shed = 0x7f00;

    /// Takes one byte more than there is room for.
    1 store { pile: abi::Bytes<110>, tools: u16 } returns {} fails [] from PROGRAM;
}

fn main() {}
