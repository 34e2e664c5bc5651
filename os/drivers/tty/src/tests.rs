//! The terminal on a serial port made of two queues.

use super::*;
use abi::protocols::tty::dispatch;
use abi::{Call, Callers, Message, describe};

#[derive(Debug, Default)]
struct Line {
    typed: VecDeque<u8>,
    shown: Vec<u8>,
    is_stuck: bool,
}

impl Uart for Line {
    fn line_status(&mut self) -> Result<u8, Errno> {
        let empty = if self.is_stuck { 0 } else { TRANSMITTER_EMPTY };
        Ok(empty | if self.typed.is_empty() { 0 } else { DATA_READY })
    }
    fn receive(&mut self) -> Result<u8, Errno> {
        self.typed.pop_front().ok_or(Errno::EIO)
    }
    fn transmit(&mut self, bytes: &[u8]) -> Result<(), Errno> {
        assert!(bytes.len() <= FIFO, "the transmitter holds {FIFO} bytes");
        self.shown.extend_from_slice(bytes);
        Ok(())
    }
}

fn terminal() -> Terminal<Line> {
    Terminal::new(Line::default())
}

fn ask(terminal: &mut Terminal<Line>, caller: u16, call: &impl Call) -> Option<String> {
    let source = Endpoint::at_boot(caller);
    let request = Message { source, class: Callers::PROGRAM, ..call.to_message(0) };
    dispatch(terminal, &request).map(|answer| describe(&answer.message).to_string())
}

/// Types text; gives what the reader is answered.
fn type_text(terminal: &mut Terminal<Line>, text: &[u8]) -> Option<String> {
    terminal.uart.typed.extend(text);
    terminal.interrupt().map(|Answer { to, message }| format!("{to}: {}", describe(&message)))
}

#[test]
fn output_is_sent_whole_with_returns_before_newlines() {
    let mut terminal = terminal();
    let text = b"fifteen letters\nand a line that is longer than the transmitter\n\n";
    let request = write::Request { bytes: Bytes::first_of(text) };
    assert_eq!(ask(&mut terminal, 9, &request).unwrap(), "tty.write = {}");
    let expected = "fifteen letters\r\nand a line that is longer than the transmitter\r\n\r\n";
    assert_eq!(String::from_utf8_lossy(&terminal.uart.shown), expected);
}

#[test]
fn a_line_that_takes_no_bytes_is_an_error_not_a_hang() {
    let mut terminal = terminal();
    terminal.uart.is_stuck = true;
    let request = write::Request { bytes: Bytes::first_of(b"x") };
    assert_eq!(ask(&mut terminal, 9, &request).unwrap(), "tty.write = EIO");
}

#[test]
fn a_reader_is_answered_when_its_line_is_complete() {
    let mut terminal = terminal();
    let read = read::Request { limit: 96 };
    assert_eq!(ask(&mut terminal, 9, &read), None);
    assert_eq!(ask(&mut terminal, 10, &read).unwrap(), "tty.read = EBUSY");
    assert_eq!(type_text(&mut terminal, b"helpp\x7f"), None);
    assert_eq!(type_text(&mut terminal, b" me\rmore").unwrap(), r#"9: tty.read = { bytes: "help me\n" }"#);
    assert_eq!(ask(&mut terminal, 9, &read), None);
    assert_eq!(type_text(&mut terminal, b"\n").unwrap(), r#"9: tty.read = { bytes: "more\n" }"#);
    assert_eq!(String::from_utf8_lossy(&terminal.uart.shown), "helpp\x08 \x08 me\r\nmore\r\n");
}

#[test]
fn a_long_line_comes_in_the_pieces_that_were_asked_for() {
    let mut terminal = terminal();
    assert_eq!(type_text(&mut terminal, b"abcdef\n"), None);
    assert_eq!(
        ask(&mut terminal, 9, &read::Request { limit: 4 }).unwrap(),
        r#"tty.read = { bytes: "abcd" }"#
    );
    assert_eq!(
        ask(&mut terminal, 9, &read::Request { limit: 4 }).unwrap(),
        r#"tty.read = { bytes: "ef\n" }"#
    );
    assert_eq!(ask(&mut terminal, 9, &read::Request { limit: 0 }).unwrap(), "tty.read = EINVAL");
    assert_eq!(ask(&mut terminal, 9, &read::Request { limit: 97 }).unwrap(), "tty.read = EINVAL");
}

#[test]
fn whoever_types_without_end_hears_a_bell_and_loses_nothing_that_was_taken() {
    let mut terminal = terminal();
    type_text(&mut terminal, &[b'x'; 300]);
    assert_eq!(terminal.line.len(), MAX_CANON);
    assert_eq!(terminal.uart.shown.iter().filter(|byte| **byte == BELL).count(), 300 - MAX_CANON);
    for _ in 0..40 {
        type_text(&mut terminal, &[b"\n".as_slice(), &[b'y'; 255]].concat());
    }
    assert!(terminal.input.len() <= MAX_INPUT);
    assert_eq!(terminal.input.iter().filter(|byte| **byte == b'\n').count(), MAX_INPUT / 256);
    type_text(&mut terminal, b"\x00\x1b\x03");
    assert!(terminal.uart.shown.ends_with(&[BELL; 3]));
}
