//! A review on a terminal, for those who have no `cargo insta`.

use super::Pending;
use anyhow::{Context, Result};
use std::io::{BufRead, Write};

/// What a review came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// How many are what was reviewed now.
    pub accepted: usize,
    /// How many are gone.
    pub rejected: usize,
    /// How many still wait.
    pub left: usize,
}

enum Answer {
    Accept,
    Reject,
    Skip,
    Quit,
}

/// Shows each of them and asks what to do with it. The end of the answers leaves the rest.
///
/// # Errors
/// If a file can't be read or written, or `input` or `out` fails.
pub fn review(pending: &[Pending], mut input: impl BufRead, mut out: impl Write) -> Result<Review> {
    let mut review = Review { left: pending.len(), ..Review::default() };
    for (number, one) in (1..).zip(pending) {
        writeln!(out, "[{number}/{}] {}\n{}", pending.len(), one.name, one.difference()?)?;
        match ask(&mut input, &mut out)? {
            Answer::Accept => {
                one.accept()?;
                review.accepted += 1;
            }
            Answer::Reject => {
                one.discard()?;
                review.rejected += 1;
            }
            Answer::Skip => continue,
            Answer::Quit => break,
        }
        review.left -= 1;
    }
    Ok(review)
}

fn ask(input: &mut impl BufRead, out: &mut impl Write) -> Result<Answer> {
    loop {
        write!(out, "(a)ccept, (r)eject, (s)kip, (q)uit: ")?;
        out.flush()?;
        let mut line = String::new();
        let size = input.read_line(&mut line).context("failed to read an answer")?;
        return Ok(match line.trim() {
            "" if size == 0 => Answer::Quit,
            "a" | "accept" => Answer::Accept,
            "r" | "reject" => Answer::Reject,
            "s" | "skip" => Answer::Skip,
            "q" | "quit" => Answer::Quit,
            _ => continue,
        });
    }
}
