//! Serial ports (National Semiconductor 16550A), which the kernel drives without interrupts, and the debugger's line.

use crate::apic::{self, DEBUGGER};
use crate::{port, trap};
use core::sync::atomic::{AtomicBool, Ordering};
use kernel_debug::machine::Line;

/// A serial port, by its first register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Uart(u16);

const ENABLE: u16 = 1;
const FIFO: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const MODEM_STATUS: u16 = 6;
const SCRATCH: u16 = 7;

/// Of [`LINE_STATUS`]: a byte has come.
const HAS_BYTE: u8 = 0x01;
/// There is room for a byte.
const HAS_ROOM: u8 = 0x20;
/// The last byte has left.
const IS_DRAINED: u8 = 0x40;

/// When a port interrupts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interrupts {
    None,
    /// At the first byte.
    OnByte,
    /// At 14 bytes, or when no more follow them.
    OnBytes,
}

impl Uart {
    /// The console's.
    pub(crate) const COM1: Self = Self(0x3f8);
    const COM2: Self = Self(0x2f8);
    /// A line that takes no byte for so many looks is not there. At 115200 bits a second it takes one in 87 µs, and a
    /// look lasts most of one; but QEMU takes none while whoever reads at its other end, gdb for example, has no turn
    /// on a busy host, and that can be seconds.
    const PATIENCE: u32 = 20_000_000;
    /// A line that was not there is given so many.
    const IMPATIENCE: u32 = 100;

    fn read(self, register: u16) -> u8 {
        port::read_u8(self.0 + register)
    }

    fn write(self, register: u16, value: u8) {
        port::write_u8(self.0 + register, value);
    }

    /// Sets the port up: 115200 bits a second, 8 data bits. `false` if there is no such port.
    pub(crate) fn init(self, interrupts: Interrupts) -> bool {
        self.write(SCRATCH, 0x5a);
        if self.read(SCRATCH) != 0x5a {
            return false;
        }
        // The first two registers are the divisor's meanwhile.
        self.write(LINE_CONTROL, 0x80);
        self.write(0, 1);
        self.write(ENABLE, 0);
        self.write(LINE_CONTROL, 0x03);
        // Empty, and enabled.
        let (fifo, on_bytes) = match interrupts {
            Interrupts::None => (0x07, 0x00),
            Interrupts::OnByte => (0x07, 0x01),
            Interrupts::OnBytes => (0xc7, 0x01),
        };
        self.write(FIFO, fifo);
        // Ready, and its interrupt gets through.
        self.write(MODEM_CONTROL, 0x0b);
        self.write(ENABLE, on_bytes);
        true
    }

    /// Whether the line took no byte when one was last sent.
    fn is_dead(self) -> &'static AtomicBool {
        static IS_DEAD: [AtomicBool; 2] = [const { AtomicBool::new(false) }; 2];
        &IS_DEAD[usize::from(self != Self::COM1)]
    }

    fn wait_for(self, status: u8) -> bool {
        let looks = if self.is_dead().load(Ordering::Relaxed) { Self::IMPATIENCE } else { Self::PATIENCE };
        let is_so = (0..looks).any(|_| self.read(LINE_STATUS) & status != 0);
        self.is_dead().store(!is_so, Ordering::Relaxed);
        is_so
    }

    /// Sends a byte, unless the line takes none.
    pub(crate) fn send(self, byte: u8) {
        if self.wait_for(HAS_ROOM) {
            self.write(0, byte);
        }
    }

    /// Waits until there is room for as many bytes as the port takes at a time: who has seen that there is need
    /// not know of those that were sent in between.
    pub(crate) fn make_room(self) {
        self.wait_for(HAS_ROOM);
    }

    /// Waits until all that was sent has left.
    pub(crate) fn drain(self) {
        self.wait_for(IS_DRAINED);
    }

    /// Takes a byte that has come.
    pub(crate) fn receive(self) -> Option<u8> {
        (self.read(LINE_STATUS) & HAS_BYTE != 0).then(|| self.read(0))
    }
}

/// The second serial port, the debugger's, set up.
#[derive(Clone, Copy, Debug)]
pub struct Com2(());

/// The interrupt line that it raises.
const IRQ: u8 = 3;

impl Com2 {
    /// Sets the port up, with an interrupt for each byte that comes. `None` if there is no such port.
    #[must_use]
    pub fn init() -> Option<Self> {
        if !Uart::COM2.init(Interrupts::OnByte) {
            return None;
        }
        apic::route(IRQ, DEBUGGER);
        Some(Self(()))
    }
}

impl Line for Com2 {
    fn send(&mut self, byte: u8) {
        Uart::COM2.send(byte);
    }

    fn receive(&mut self) -> Option<u8> {
        Uart::COM2.receive()
    }

    fn take_interrupt(&mut self) {
        if apic::is_debugger_held_back() {
            return;
        }
        apic::with_only(DEBUGGER, || {
            if trap::poll_aside() != 0 {
                apic::end_of_interrupt();
            }
        });
        if Uart::COM2.read(LINE_STATUS) & HAS_BYTE != 0 {
            self.interrupt_again();
        }
    }

    fn interrupt_again(&mut self) {
        // The interrupt controller sees edges only.
        Uart::COM2.write(ENABLE, 0);
        Uart::COM2.write(ENABLE, 1);
    }

    fn wait(&mut self) -> bool {
        // A cable whose other end is let go of has no data set ready any longer. One of three wires never has, and
        // none has before somebody is there. QEMU always says ready.
        static WAS_READY: AtomicBool = AtomicBool::new(false);
        let is_ready = Uart::COM2.read(MODEM_STATUS) & 0x20 != 0;
        if WAS_READY.swap(is_ready, Ordering::Relaxed) && !is_ready {
            return false;
        }
        // Where the kernel stopped in the middle of an interrupt nobody would wake it.
        if apic::is_debugger_held_back() {
            core::hint::spin_loop();
            return true;
        }
        apic::with_only(DEBUGGER, || {
            if Uart::COM2.read(LINE_STATUS) & HAS_BYTE == 0 && trap::wait_aside() != 0 {
                apic::end_of_interrupt();
            }
        });
        true
    }
}
