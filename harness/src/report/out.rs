//! Standard output whose reader may leave.

use std::io::{ErrorKind, Result, Write};

/// A writer that goes on when nobody reads any more, as in `cargo xtask test --list | head -1`:
/// that is no failure of what writes.
#[derive(Debug)]
pub struct Out<W> {
    to: W,
    is_read: bool,
}

impl<W: Write> Out<W> {
    /// A writer to `to`.
    pub fn new(to: W) -> Self {
        Self { to, is_read: true }
    }

    fn unless_gone<T>(&mut self, otherwise: T, write: impl FnOnce(&mut W) -> Result<T>) -> Result<T> {
        if !self.is_read {
            return Ok(otherwise);
        }
        match write(&mut self.to) {
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.is_read = false;
                Ok(otherwise)
            }
            result => result,
        }
    }
}

impl<W: Write> Write for Out<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.unless_gone(bytes.len(), |to| to.write(bytes))
    }

    fn flush(&mut self) -> Result<()> {
        self.unless_gone((), Write::flush)
    }
}

/// Standard output.
#[must_use]
pub fn stdout() -> Out<std::io::Stdout> {
    Out::new(std::io::stdout())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails with each of the errors in turn.
    struct Failing(Vec<ErrorKind>);

    impl Write for Failing {
        fn write(&mut self, bytes: &[u8]) -> Result<usize> {
            self.0.pop().map_or(Ok(bytes.len()), |kind| Err(kind.into()))
        }

        fn flush(&mut self) -> Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_leaves_is_no_error() {
        let mut out = Out::new(Failing(vec![ErrorKind::StorageFull, ErrorKind::BrokenPipe]));
        writeln!(out, "one").expect("nobody reads");
        writeln!(out, "two").expect("nobody reads");
        out.flush().expect("nobody reads");
        assert_eq!(out.to.0, [ErrorKind::StorageFull], "nothing more is written");
    }

    #[test]
    fn other_errors_are_errors() {
        let mut out = Out::new(Failing(vec![ErrorKind::StorageFull]));
        assert_eq!(out.write(b"one").map_err(|error| error.kind()), Err(ErrorKind::StorageFull));
    }
}
