//! Text to and from the console, through the terminal driver.
#![no_std]
#![forbid(unsafe_code)]

use abi::protocols::{address, tty};
use abi::{Bytes, Errno};
use core::fmt::{self, Write};

const PIECE: usize = 96;

/// Collects text and passes it on in pieces, the last one when it is dropped.
#[derive(Debug)]
pub struct Output {
    text: [u8; PIECE],
    len: usize,
}

impl Output {
    /// Starts with no text.
    #[must_use]
    pub const fn new() -> Self {
        Self { text: [0; PIECE], len: 0 }
    }

    fn flush(&mut self) -> Result<(), Errno> {
        let bytes = Bytes::first_of(&self.text[..self.len]);
        self.len = 0;
        if bytes.as_slice().is_empty() {
            return Ok(());
        }
        sys::call(address::TTY, &tty::write::Request { bytes }).map(|_| ())
    }
}

impl Default for Output {
    fn default() -> Self {
        Self::new()
    }
}

impl Write for Output {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if self.len == PIECE {
                self.flush().map_err(|_| fmt::Error)?;
            }
            self.text[self.len] = byte;
            self.len += 1;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Like any console output: there is nobody to tell.
        let _ = self.flush();
    }
}

/// Writes bytes as they are.
///
/// # Errors
/// If the terminal driver can't be reached, or its device fails.
pub fn write(bytes: &[u8]) -> Result<(), Errno> {
    for piece in bytes.chunks(PIECE) {
        sys::call(address::TTY, &tty::write::Request { bytes: Bytes::first_of(piece) })?;
    }
    Ok(())
}

/// Reads a line, or as much of one as fits in a message.
///
/// # Errors
/// If the terminal driver can't be reached, or somebody else is reading.
pub fn read_line() -> Result<Bytes<PIECE>, Errno> {
    let limit = u8::try_from(PIECE).expect("a message is shorter than 256 bytes");
    sys::call(address::TTY, &tty::read::Request { limit }).map(|reply| reply.bytes)
}

/// Prints to the console.
#[macro_export]
macro_rules! print {
    ($($text:tt)*) => {{
        let _ = ::core::fmt::Write::write_fmt(&mut $crate::Output::new(), ::core::format_args!($($text)*));
    }};
}

/// Prints a line to the console.
#[macro_export]
macro_rules! println {
    () => { $crate::print!("\n") };
    ($($text:tt)*) => {{
        let mut output = $crate::Output::new();
        let _ = ::core::fmt::Write::write_fmt(&mut output, ::core::format_args!($($text)*));
        let _ = ::core::fmt::Write::write_str(&mut output, "\n");
    }};
}
