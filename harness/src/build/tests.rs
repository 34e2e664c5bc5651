use super::{Build, executables};
use crate::project::Project;
use std::path::Path;

fn project() -> Project {
    Project::at("/project").expect("an absolute path")
}

fn message(manifest: &str, name: &str) -> String {
    format!(
        r#"{{"reason":"compiler-artifact","manifest_path":"/project/{manifest}/Cargo.toml","target":{{"kind":["bin"],"name":"{name}"}},"executable":"/out/{name}"}}"#
    )
}

#[test]
fn cargo_tells_where_the_programs_are() {
    let lines = [
        message("os/kernel/image", "kernel"),
        message("os/drivers/tty", "tty"),
        message("fixtures/guest", "hello"),
        message("os/programs/monitor", "monitor"),
        r#"{"reason":"compiler-artifact","manifest_path":"/x","target":{"name":"abi"},"executable":null}"#
            .into(),
        r#"{"reason":"build-finished","success":true}"#.into(),
        "a build script's chatter".into(),
    ];
    let mut build = Build::default();
    executables(lines.join("\n").as_bytes(), &project(), &mut build).expect("text");
    assert_eq!(build.kernel, Path::new("/out/kernel"));
    assert_eq!(build.services.into_iter().collect::<Vec<_>>(), [("tty".into(), "/out/tty".into())]);
    assert_eq!(build.guest_tests.keys().collect::<Vec<_>>(), ["hello"]);
    assert_eq!(build.monitor, Path::new("/out/monitor"));
}

#[test]
fn a_guest_test_may_be_called_like_a_service() {
    let lines = [message("fixtures/guest", "kernel"), message("os/kernel/image", "kernel")];
    let mut build = Build::default();
    executables(lines.join("\n").as_bytes(), &project(), &mut build).expect("text");
    assert!(build.guest("kernel").is_some());
    assert!(build.guest("init").is_none());
}
