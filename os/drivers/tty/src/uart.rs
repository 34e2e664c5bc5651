//! The first serial port of a PC (National Semiconductor 16550A).

use abi::protocols::{Width, kernel};
use abi::{Bytes, Errno};
use service::kernel_call;

/// The port, set up to interrupt when a byte has come in.
pub(crate) struct Com1;

const BASE: u16 = 0x3f8;
const DATA: u16 = BASE;
const INTERRUPT_ENABLE: u16 = BASE + 1;
const FIFO_CONTROL: u16 = BASE + 2;
const LINE_CONTROL: u16 = BASE + 3;
const MODEM_CONTROL: u16 = BASE + 4;
const LINE_STATUS: u16 = BASE + 5;
const LINE: u8 = 4;

impl Com1 {
    /// Sets the port up: 115200 baud, 8 bits, no parity.
    pub(crate) fn start() -> Result<Self, Errno> {
        const DIVISOR_LATCH: u8 = 0x80;
        const EIGHT_BITS: u8 = 3;
        for (port, value) in [
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, DIVISOR_LATCH),
            (DATA, 1),
            (INTERRUPT_ENABLE, 0),
            (LINE_CONTROL, EIGHT_BITS),
            // Enabled, interrupting at the first byte; what has been typed already stays.
            (FIFO_CONTROL, 0x05),
            // Ready, and interrupts let through.
            (MODEM_CONTROL, 0x0b),
            // On received data.
            (INTERRUPT_ENABLE, 1),
        ] {
            kernel_call(&kernel::devio_write::Request { port, width: Width::Byte, value: u32::from(value) })?;
        }
        kernel_call(&kernel::irq_attach::Request { line: LINE, bit: 0, reenable: true })?;
        Ok(Self)
    }

    fn read_port(port: u16) -> Result<u8, Errno> {
        let value = kernel_call(&kernel::devio_read::Request { port, width: Width::Byte })?.value;
        u8::try_from(value).map_err(|_| Errno::EIO)
    }
}

impl tty::Uart for Com1 {
    fn line_status(&mut self) -> Result<u8, Errno> {
        Self::read_port(LINE_STATUS)
    }

    fn receive(&mut self) -> Result<u8, Errno> {
        Self::read_port(DATA)
    }

    fn transmit(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        kernel_call(&kernel::devio_write_bytes::Request { port: DATA, bytes: Bytes::first_of(bytes) })
            .map(|_| ())
    }
}
