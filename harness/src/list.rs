//! The list of tests, for people and for other programs.

use crate::project::Project;
use crate::scenario::Scenario;
use serde_json::json;
use std::io::{Result, Write};

/// How the list is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Names, and the rows that each test proves.
    Human,
    /// `NAME: test`, as libtest and cargo-nextest have it.
    Terse,
    /// One object a line, as libtest has it, and the rows.
    Json,
}

/// Writes the list.
///
/// # Errors
/// If `out` can't be written to.
pub fn write(mut out: impl Write, project: &Project, tests: &[Scenario], format: Format) -> Result<()> {
    match format {
        Format::Human => tests.iter().try_for_each(|test| match test.rows.as_slice() {
            [] => writeln!(out, "{}", test.name),
            rows => writeln!(out, "{:<32} {}", test.name, rows.join(" ")),
        }),
        Format::Terse => tests.iter().try_for_each(|test| writeln!(out, "{}: test", test.name)),
        Format::Json => json(out, project, tests),
    }
}

fn json(mut out: impl Write, project: &Project, tests: &[Scenario]) -> Result<()> {
    writeln!(out, "{}", json!({ "type": "suite", "event": "discovery" }))?;
    for test in tests {
        let source = test.source(project);
        let line = json!({
            "type": "test",
            "event": "discovered",
            "name": test.name,
            "ignore": false,
            "ignore_message": "",
            "source_path": project.shorten(&source).display().to_string(),
            "rows": test.rows,
            "ends": test.ends.to_string(),
        });
        writeln!(out, "{line}")?;
    }
    let count = tests.len();
    let end = json!({
        "type": "suite", "event": "completed", "tests": count, "benchmarks": 0, "total": count, "ignored": 0,
    });
    writeln!(out, "{end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(format: Format) -> String {
        let project = Project::at("/project").expect("an absolute path");
        let test = |name, text| Scenario::of_machine(name, text, &[]).expect("a machine");
        let tests = [test("hello", "rows = [\"F1\", \"I3\"]"), test("plain", "ends = \"hang\"")];
        let mut out = Vec::new();
        write(&mut out, &project, &tests, format).expect("a vector takes bytes");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn people_see_names_and_rows() {
        assert_eq!(list(Format::Human), "hello                            F1 I3\nplain\n");
    }

    #[test]
    fn a_terse_list_is_libtests() {
        assert_eq!(list(Format::Terse), "hello: test\nplain: test\n");
    }

    #[test]
    fn a_json_list_is_libtests_with_a_few_fields_more() {
        let lines: Vec<serde_json::Value> =
            list(Format::Json).lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        let [discovery, hello, plain, completed] = &lines[..] else { panic!("four lines") };
        assert_eq!(*discovery, json!({ "type": "suite", "event": "discovery" }));
        assert_eq!(hello["event"], "discovered");
        assert_eq!(hello["name"], "hello");
        assert_eq!(hello["rows"], json!(["F1", "I3"]));
        assert_eq!(hello["source_path"], "fixtures/machines/hello.toml");
        assert_eq!(plain["ends"], "hang");
        assert_eq!(completed["total"], 2);
    }
}
