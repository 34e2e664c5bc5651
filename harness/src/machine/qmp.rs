//! QEMU's control channel.

use super::{Channel, Output, Signal};
use anyhow::{Context, Result, bail};
use qapi::qmp::{Event, GuestPanicAction, ShutdownCause};
use qapi::{Qmp, Stream};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, ErrorKind, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::Sender;
use std::time::Duration;

/// A channel: our end, and the one that becomes QEMU's standard input and output.
pub(super) fn pair() -> Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair().context("failed to make a socket pair")?;
    Ok((ours, theirs.into()))
}

/// Gives QEMU commands.
pub(super) struct Control(UnixStream);

impl Control {
    /// Sends a command, whose answer comes as a [`Signal::Answer`].
    pub(super) fn send(&mut self, command: &str, arguments: &Value) -> std::io::Result<()> {
        let line = format!("{}\n", json!({ "execute": command, "arguments": arguments }));
        self.0.write_all(line.as_bytes())
    }
}

/// Shakes hands. What is returned gives commands, and reads events and answers until the channel closes.
pub(super) fn start(
    stream: UnixStream,
    to: Sender<Signal>,
    patience: Duration,
) -> Result<(Control, impl FnOnce() + Send + 'static)> {
    stream.set_write_timeout(Some(patience)).context("failed to set a timeout")?;
    stream.set_read_timeout(Some(patience)).context("failed to set a timeout")?;
    let reader = BufReader::new(stream.try_clone().context("failed to share a socket")?);
    let mut qmp = Qmp::new(Stream::new(reader, stream));
    greeting(qmp.inner_mut(), patience)?;
    qmp.handshake().context("failed to shake hands with QEMU over QMP")?;
    let early: Vec<Event> = qmp.events().collect();
    let (mut reader, writer) = qmp.into_inner().into_inner();
    writer.set_read_timeout(None).context("failed to set a timeout")?;
    let control = Control(writer.try_clone().context("failed to share a socket")?);
    let read = move || {
        // The writer stays open as long as events are read: QEMU would take its closing for input.
        let _writer = writer;
        early.iter().for_each(|event| tell(event, &to));
        let mut line = Vec::new();
        while let Ok(1..) = reader.read_until(b'\n', &mut line) {
            read_line(&line, &to);
            line.clear();
        }
        // If nobody listens any more, nobody waits for it either.
        let _ = to.send(Signal::Closed(Channel::Qmp));
    };
    Ok((control, read))
}

fn read_line(line: &[u8], to: &Sender<Signal>) {
    // Events that this version of the protocol doesn't know are none of ours.
    if let Ok(event) = serde_json::from_slice(line) {
        return tell(&event, to);
    }
    let Ok(answer) = serde_json::from_slice::<Value>(line) else { return };
    let answer = match (answer.get("return"), answer.get("error")) {
        (Some(value), _) => Ok(value.clone()),
        (None, Some(error)) => Err(error["desc"].as_str().unwrap_or("it doesn't say why").to_owned()),
        (None, None) => return,
    };
    // If nobody listens any more, nobody waits for it either.
    let _ = to.send(Signal::Answer(answer));
}

/// Waits until QEMU says something: the handshake would panic at an end of file.
fn greeting(from: &mut impl BufRead, patience: Duration) -> Result<()> {
    loop {
        return match from.fill_buf() {
            Ok([]) => bail!("QEMU ended before it ran anything"),
            Ok(_) => Ok(()),
            // A read with a time limit isn't taken up again by itself (signal(7)).
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            // What a socket whose time is over says would help nobody.
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                bail!("QEMU doesn't greet over QMP: it was silent for {} s", patience.as_secs_f64())
            }
            Err(error) => Err(error).context("QEMU doesn't greet over QMP"),
        };
    }
}

fn tell(event: &Event, to: &Sender<Signal>) {
    let output = match event {
        Event::SHUTDOWN { data, .. } if data.reason == ShutdownCause::guest_reset => Output::Reset,
        Event::SHUTDOWN { data, .. } if data.reason == ShutdownCause::guest_shutdown => Output::ShutDown,
        Event::GUEST_PANICKED { data, .. } if data.action == GuestPanicAction::pause => Output::Paused,
        _ => return,
    };
    // If nobody listens any more, nobody waits for it either.
    let _ = to.send(Signal::Output(output));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    /// Fails with each of the errors in turn, and then gives a greeting.
    struct Interrupted(Vec<ErrorKind>);

    impl Read for Interrupted {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.pop() {
                Some(kind) => Err(kind.into()),
                None => b"{".as_slice().read(buffer),
            }
        }
    }

    #[test]
    fn a_signal_does_not_end_the_wait_for_a_greeting() {
        let wait = |errors: &[ErrorKind]| {
            greeting(&mut BufReader::new(Interrupted(errors.to_vec())), Duration::from_secs(2))
        };
        wait(&[ErrorKind::Interrupted, ErrorKind::Interrupted]).expect("a greeting");
        let silent = wait(&[ErrorKind::WouldBlock, ErrorKind::Interrupted]).expect_err("silence");
        assert_eq!(silent.to_string(), "QEMU doesn't greet over QMP: it was silent for 2 s");
    }
}
