abi::protocol! {
    /// Stores.
    shed = 0x7f00;

    /// Gives back one byte more than there is room for.
    1 fetch {} returns { pile: abi::Bytes<110>, tools: u16 } fails [] from PROGRAM;
}

fn main() {}
