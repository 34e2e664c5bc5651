//! `cargo xtask review`

use super::project;
use crate::exit::Exit;
use anyhow::{Context as _, Result};
use harness::build::cargo;
use harness::report::stdout;
use harness::snapshot::{pending, review as review_by_hand};
use harness::tools;
use std::io::{IsTerminal as _, Write as _};

pub(crate) fn review() -> Result<Exit> {
    let project = project()?;
    let waiting = pending(&project.snapshots())?;
    let mut out = stdout();
    if waiting.is_empty() {
        writeln!(out, "nothing waits for review")?;
        return Ok(Exit::Good);
    }
    if std::io::stdin().is_terminal() && tools::find("cargo-insta").is_some() {
        let mut command = cargo();
        command.args(["insta", "review"]).current_dir(project.root());
        let status = command.status().context("failed to run cargo insta")?;
        return Ok(if status.success() { Exit::Good } else { Exit::TestsFailed });
    }
    let done = review_by_hand(&waiting, std::io::stdin().lock(), &mut out)?;
    writeln!(out, "\n{} accepted, {} rejected, {} left", done.accepted, done.rejected, done.left)?;
    Ok(Exit::Good)
}
