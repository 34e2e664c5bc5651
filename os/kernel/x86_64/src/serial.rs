//! The second serial port: the debugger's line (16550 data sheet).

use crate::apic::{self, DEBUGGER};
use crate::{port, trap};
use kernel_debug::machine::Line;

/// The port, set up.
#[derive(Clone, Copy, Debug)]
pub struct Com2(());

const DATA: u16 = 0x2f8;
const INTERRUPTS: u16 = DATA + 1;
const FIFO: u16 = DATA + 2;
const LINE_CONTROL: u16 = DATA + 3;
const MODEM_CONTROL: u16 = DATA + 4;
const LINE_STATUS: u16 = DATA + 5;
const MODEM_STATUS: u16 = DATA + 6;
/// The interrupt line that the port raises.
const IRQ: u8 = 3;
/// A line that takes no byte for so many looks is not there.
const PATIENCE: u32 = 1_000_000;

impl Com2 {
    /// Sets the port up: 115200 bits a second, 8 data bits, an interrupt for each byte that comes. `None` if there is
    /// no such port.
    #[must_use]
    pub fn init() -> Option<Self> {
        const SCRATCH: u16 = DATA + 7;
        port::write_u8(SCRATCH, 0x5a);
        if port::read_u8(SCRATCH) != 0x5a {
            return None;
        }
        port::write_u8(LINE_CONTROL, 0x80);
        port::write_u8(DATA, 1);
        port::write_u8(INTERRUPTS, 0);
        port::write_u8(LINE_CONTROL, 0x03);
        port::write_u8(FIFO, 0x07);
        // Ready, and its interrupt gets through.
        port::write_u8(MODEM_CONTROL, 0x0b);
        port::write_u8(INTERRUPTS, 0x01);
        apic::route(IRQ, DEBUGGER);
        Some(Self(()))
    }
}

impl Line for Com2 {
    fn send(&mut self, byte: u8) {
        let is_ready = || port::read_u8(LINE_STATUS) & 0x20 != 0;
        if (0..PATIENCE).any(|_| is_ready()) {
            port::write_u8(DATA, byte);
        }
    }

    fn receive(&mut self) -> Option<u8> {
        (port::read_u8(LINE_STATUS) & 1 != 0).then(|| port::read_u8(DATA))
    }

    fn wait(&mut self) -> bool {
        // A cable without a debugger at its other end has no data set ready. QEMU always says ready.
        if port::read_u8(MODEM_STATUS) & 0x20 == 0 {
            return false;
        }
        // Where the kernel stopped in the middle of an interrupt nobody would wake it.
        if apic::is_debugger_held_back() {
            core::hint::spin_loop();
            return true;
        }
        apic::with_only(DEBUGGER, || {
            if port::read_u8(LINE_STATUS) & 1 == 0 && trap::wait_aside() != 0 {
                apic::end_of_interrupt();
            }
        });
        true
    }
}
