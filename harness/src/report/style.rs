//! Colours, where they are wanted.

use std::io::IsTerminal as _;

/// Whether words are coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// With ANSI escapes.
    Coloured,
    /// Without.
    Plain,
}

impl Style {
    /// What standard output wants: colours on a terminal, unless `NO_COLOR` or `CARGO_TERM_COLOR`
    /// says otherwise.
    #[must_use]
    pub fn of_stdout() -> Self {
        if std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
            return Self::Plain;
        }
        match std::env::var("CARGO_TERM_COLOR").as_deref() {
            Ok("always") => Self::Coloured,
            Ok("never") => Self::Plain,
            _ if std::io::stdout().is_terminal() => Self::Coloured,
            _ => Self::Plain,
        }
    }

    /// A word that says that all is well.
    #[must_use]
    pub fn good(self, word: &str) -> String {
        self.paint("\x1b[1;32m", word)
    }

    /// A word that says that something isn't.
    #[must_use]
    pub fn bad(self, word: &str) -> String {
        self.paint("\x1b[1;31m", word)
    }

    /// A word that stands out.
    #[must_use]
    pub fn bold(self, word: &str) -> String {
        self.paint("\x1b[1m", word)
    }

    fn paint(self, start: &str, word: &str) -> String {
        match self {
            Self::Coloured => format!("{start}{word}\x1b[0m"),
            Self::Plain => word.to_owned(),
        }
    }
}
