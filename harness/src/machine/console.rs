//! The console's pseudo-terminal.

use super::{Channel, Output, Signal};
use anyhow::{Context, Result};
use serialport::{SerialPort as _, TTYPort};
use std::hash::{BuildHasher as _, RandomState};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::Sender;
use std::time::Duration;

/// Both ends of the pair. QEMU opens the slave by its path.
///
/// We keep the slave open too. Otherwise the end of QEMU would close it, and what stood in the
/// terminal's buffer could be lost: a hang-up is reported before the bytes in front of it. The
/// end is marked by a secret that we write ourselves when QEMU is gone.
pub(super) struct Console {
    master: TTYPort,
    slave: TTYPort,
    path: PathBuf,
    mark: [u8; 16],
}

impl Console {
    pub(super) fn open() -> Result<Self> {
        let (master, mut slave) = TTYPort::pair().context("failed to open a pseudo-terminal")?;
        // An exclusive terminal could not be opened a second time, by QEMU.
        slave.set_exclusive(false).context("failed to share a pseudo-terminal")?;
        // The reader has its turn some time, however busy the host is.
        slave.set_timeout(super::PATIENCE).context("failed to set a timeout")?;
        let path = slave.name().context("failed to find the path of a pseudo-terminal")?.into();
        let mut mark = [0; 16];
        for half in mark.chunks_exact_mut(8) {
            half.copy_from_slice(&RandomState::new().hash_one(0).to_le_bytes());
        }
        Ok(Self { master, slave, path, mark })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says that nobody writes any more.
    pub(super) fn end(&mut self) -> Result<()> {
        self.slave.write_all(&self.mark).context("failed to write to the pseudo-terminal")
    }

    /// What reads the console in a thread of its own: always, so that the guest never waits for us.
    pub(super) fn reader(&self, to: Sender<Signal>) -> Result<impl FnOnce() + Send + 'static> {
        let mut master = self.master.try_clone_native().context("failed to share a pseudo-terminal")?;
        master.set_timeout(Duration::from_secs(3600)).context("failed to set a timeout")?;
        let mark = self.mark;
        Ok(move || {
            read(&mut master, &mark, &to);
            // If nobody listens any more, nobody waits for it either.
            let _ = to.send(Signal::Closed(Channel::Console));
        })
    }
}

fn read(master: &mut TTYPort, mark: &[u8], to: &Sender<Signal>) {
    let mut buffer = [0; 4096];
    // What may be the start of the mark is held back until more is known.
    let mut held = Vec::new();
    loop {
        match master.read(&mut buffer) {
            Ok(0) => return,
            Ok(size) => held.extend_from_slice(&buffer[..size]),
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut | ErrorKind::Interrupted) => continue,
            // The slave is closed: the machine was dropped.
            Err(_) => return,
        }
        let is_end = held.ends_with(mark);
        let rest = if is_end { held.len() - mark.len() } else { held.len() - overlap(&held, mark) };
        let bytes: Vec<u8> = held.drain(..rest).collect();
        let is_lost = !bytes.is_empty() && to.send(Signal::Output(Output::Console(bytes))).is_err();
        if is_end || is_lost {
            return;
        }
    }
}

/// How many bytes at the end of `bytes` are the start of `mark`.
fn overlap(bytes: &[u8], mark: &[u8]) -> usize {
    (1..mark.len()).rev().find(|&size| bytes.ends_with(&mark[..size])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn all_bytes_before_the_end_arrive() {
        let mut console = Console::open().expect("a pseudo-terminal");
        let (sender, signals) = channel();
        let thread = std::thread::spawn(console.reader(sender).expect("a reader"));
        let mut text: Vec<u8> = (0..=255).collect();
        // The start of the secret is not its end.
        text.extend_from_slice(&console.mark[..15]);
        for _ in 0..100 {
            console.slave.write_all(&text).expect("a pseudo-terminal takes bytes");
        }
        console.end().expect("a pseudo-terminal takes bytes");
        thread.join().expect("the reader ends");
        let mut read = Vec::new();
        let mut ends = 0;
        for signal in signals {
            match signal {
                Signal::Output(Output::Console(bytes)) => read.extend(bytes),
                Signal::Closed(Channel::Console) => ends += 1,
                _ => panic!("a console gives nothing else"),
            }
        }
        assert_eq!((read == text.repeat(100), ends), (true, 1));
    }

    #[test]
    fn a_reader_ends_with_its_console() {
        let console = Console::open().expect("a pseudo-terminal");
        let (sender, signals) = channel();
        let thread = std::thread::spawn(console.reader(sender).expect("a reader"));
        drop(console);
        thread.join().expect("the reader ends");
        assert!(matches!(signals.iter().next(), Some(Signal::Closed(Channel::Console))));
    }
}
