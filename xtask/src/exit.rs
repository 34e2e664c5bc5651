//! Exit codes: cargo-nextest's, so that tools which know it know us.

use harness::build::BuildFailed;
use harness::run::NoSuchProgram;
use harness::tools::Missing;
use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Good,
    NoTests,
    /// What was run passed, but tests that failed in the run before were not asked for.
    Outstanding,
    TestsFailed,
    ChecksFailed,
    SetUp,
}

/// The tests can't be listed.
#[derive(Debug)]
pub(crate) struct ListingFailed;

impl std::fmt::Display for ListingFailed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("failed to list the tests")
    }
}

impl std::error::Error for ListingFailed {}

/// Prints an error, and finds the code for it.
pub(crate) fn report(outcome: anyhow::Result<Exit>) -> ExitCode {
    let code = match outcome {
        Ok(Exit::Good) => 0,
        Ok(Exit::NoTests) => 4,
        Ok(Exit::Outstanding) => 5,
        Ok(Exit::TestsFailed) => 100,
        Ok(Exit::ChecksFailed) => 101,
        Ok(Exit::SetUp) => 105,
        Err(error) => {
            eprintln!("error: {error:#}");
            code_of(&error)
        }
    };
    ExitCode::from(code)
}

fn code_of(error: &anyhow::Error) -> u8 {
    if error.downcast_ref::<BuildFailed>().is_some() {
        101
    } else if error.downcast_ref::<NoSuchProgram>().is_some() {
        4
    } else if error.downcast_ref::<ListingFailed>().is_some() {
        104
    } else if error.downcast_ref::<Missing>().is_some() {
        105
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context as _, anyhow};

    #[test]
    fn errors_have_the_codes_of_the_help_text() {
        assert_eq!(code_of(&BuildFailed.into()), 101);
        assert_eq!(code_of(&NoSuchProgram("nosuch".into()).into()), 4);
        assert_eq!(code_of(&Missing("type this".into()).into()), 105);
        assert_eq!(
            code_of(&Err::<(), _>(anyhow!("no section")).context(ListingFailed).expect_err("an error")),
            104
        );
        assert_eq!(code_of(&anyhow!("anything else")), 1);
    }
}
