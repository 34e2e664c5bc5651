//! The layers of the source tree, as `ARCHITECTURE.md` draws them.
//!
//! The rule is a function of a package, its directory and what it depends on. It looks at what is
//! linked and at build scripts; a test may use whatever it needs.

use cargo_metadata::{DependencyKind, MetadataCommand};
use std::path::{Path, PathBuf};

/// Libraries that the kernel shares with user mode. They know nothing of either.
const COMMON: [&str; 3] = ["heap", "link", "memory-functions"];
/// Libraries of `os/lib` that are pure, so that the kernel and host tools can use them too.
const PURE: [&str; 1] = ["wire"];

/// A package of the workspace.
#[derive(Clone, Debug)]
struct Package {
    name: String,
    /// Relative to the workspace's root.
    directory: PathBuf,
    dependencies: Vec<Dependency>,
}

/// What a package is built with or linked to.
#[derive(Clone, Debug)]
enum Dependency {
    /// A package of the workspace, by its directory.
    Member(PathBuf),
    /// A package from elsewhere.
    External(String),
}

/// Where a package stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layer {
    /// What everything else meets in.
    Abi,
    /// `os/kernel`
    Kernel,
    /// Of `os/lib`, one of [`COMMON`].
    Common,
    /// Of `os/lib`, one of [`PURE`].
    Pure,
    /// The rest of `os/lib`: what user mode is built on.
    Library,
    /// Servers, drivers, file systems, programs.
    Part,
    /// What guest tests are built on.
    TestLibrary,
    /// Guest tests.
    Test,
    /// The harness.
    Harness,
    /// The commands.
    Commands,
}

impl Layer {
    fn of(directory: &Path) -> Option<Self> {
        let words: Vec<&str> = directory.iter().filter_map(|word| word.to_str()).collect();
        Some(match words[..] {
            ["os", "abi"] => Self::Abi,
            ["os", "kernel", _] => Self::Kernel,
            ["os", "lib", name] if COMMON.contains(&name) => Self::Common,
            ["os", "lib", name] if PURE.contains(&name) => Self::Pure,
            ["os", "lib", _] => Self::Library,
            ["os", "servers" | "drivers" | "filesystems" | "programs", _] => Self::Part,
            ["fixtures", "library"] => Self::TestLibrary,
            ["fixtures", "guest"] => Self::Test,
            ["harness"] => Self::Harness,
            ["xtask"] => Self::Commands,
            _ => return None,
        })
    }

    /// The layers that this one may depend on.
    fn allowed(self) -> &'static [Self] {
        match self {
            Self::Abi | Self::Common => &[],
            Self::Kernel => &[Self::Abi, Self::Common, Self::Pure, Self::Kernel],
            Self::Pure => &[Self::Abi, Self::Pure],
            Self::Library | Self::Part => &[Self::Abi, Self::Common, Self::Pure, Self::Library],
            Self::TestLibrary => &[Self::Abi, Self::Common, Self::Pure, Self::Library],
            Self::Test => &[Self::Abi, Self::Common, Self::Pure, Self::Library, Self::TestLibrary],
            Self::Harness => &[Self::Abi, Self::Pure],
            Self::Commands => &[Self::Abi, Self::Pure, Self::Harness],
        }
    }
}

/// What is wrong with a package's place among the layers.
fn violations(package: &Package) -> Vec<String> {
    let Package { name, directory, dependencies } = package;
    let Some(layer) = Layer::of(directory) else {
        return vec![format!("{name} is in {}, which is in no layer: see Layer::of", directory.display())];
    };
    let complaint = |dependency: &Dependency| match dependency {
        Dependency::External(external) => {
            (layer == Layer::Abi).then(|| format!("{name} depends on {external}: abi depends on nothing"))
        }
        Dependency::Member(other) => {
            let is_allowed = Layer::of(other).is_some_and(|other| layer.allowed().contains(&other));
            (!is_allowed).then(|| {
                format!(
                    "{name} ({layer:?}) depends on {}: allowed are {:?}",
                    other.display(),
                    layer.allowed()
                )
            })
        }
    };
    dependencies.iter().filter_map(complaint).collect()
}

fn workspace() -> Vec<Package> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the harness is in the workspace");
    let metadata =
        MetadataCommand::new().current_dir(root).no_deps().exec().expect("cargo knows the workspace");
    let relative = |path: &Path| path.strip_prefix(&metadata.workspace_root).expect("a member").to_path_buf();
    let dependency = |dependency: &cargo_metadata::Dependency| match &dependency.path {
        Some(path) => Dependency::Member(relative(path.as_std_path())),
        None => Dependency::External(dependency.name.clone()),
    };
    let packages = metadata.packages.iter().map(|package| Package {
        name: package.name.to_string(),
        directory: relative(package.manifest_path.parent().expect("a directory").as_std_path()),
        dependencies: package
            .dependencies
            .iter()
            .filter(|dependency| dependency.kind != DependencyKind::Development)
            .map(dependency)
            .collect(),
    });
    packages.collect()
}

#[test]
fn the_workspace_keeps_its_layers() {
    let packages = workspace();
    assert!(packages.iter().any(|package| package.name == "kernel"), "the workspace was not read");
    let violations: Vec<String> = packages.iter().flat_map(violations).collect();
    assert!(violations.is_empty(), "\n{}\n", violations.join("\n"));
}

/// A package that depends on members, by their directories.
fn package(directory: &str, members: &[&str]) -> Package {
    let dependencies = members.iter().map(|member| Dependency::Member(member.into())).collect();
    Package { name: "it".into(), directory: directory.into(), dependencies }
}

#[test]
fn what_the_layers_forbid_is_found() {
    let forbidden = [
        // Kernel and services meet only in abi.
        ("os/servers/ds", "os/kernel/core"),
        ("os/drivers/tty", "os/kernel/x86_64"),
        ("os/lib/sys", "os/kernel/core"),
        ("os/kernel/core", "os/lib/sys"),
        ("os/kernel/image", "os/servers/ds"),
        ("os/lib/heap", "os/lib/sys"),
        ("os/lib/memory-functions", "os/kernel/core"),
        // What everybody can use knows nobody.
        ("os/lib/wire", "os/kernel/core"),
        ("os/lib/wire", "os/lib/sys"),
        ("os/lib/wire", "harness"),
        // The parts never depend on each other.
        ("os/servers/ds", "os/servers/pm"),
        ("os/servers/vfs", "os/filesystems/mfs"),
        ("os/programs/monitor", "os/drivers/tty"),
        ("os/lib/service", "os/servers/ds"),
        // The harness must not know what it judges.
        ("harness", "os/kernel/core"),
        ("harness", "os/lib/sys"),
        ("harness", "os/lib/service"),
        ("harness", "os/servers/ds"),
        ("harness", "fixtures/guest"),
        ("xtask", "os/kernel/image"),
        // Nothing that boots knows the host's tools.
        ("os/kernel/core", "harness"),
        ("os/servers/ds", "harness"),
        ("fixtures/guest", "harness"),
        ("harness", "xtask"),
        // Guest tests talk to servers, they don't contain them.
        ("fixtures/guest", "os/servers/ds"),
        ("os/servers/ds", "fixtures/guest"),
        // Whatever it is, abi doesn't need it.
        ("os/abi", "os/lib/link"),
        ("os/servers/ds", "os/unknown/thing"),
    ];
    for (directory, dependency) in forbidden {
        let found = violations(&package(directory, &["os/abi", dependency]));
        let about_it =
            found.iter().filter(|text| text.contains(&format!("depends on {dependency}:"))).count();
        assert_eq!(about_it, 1, "{directory} -> {dependency}: {found:?}");
    }
}

#[test]
fn abi_depends_on_nothing_at_all() {
    let external =
        Package { dependencies: vec![Dependency::External("serde".into())], ..package("os/abi", &[]) };
    assert_eq!(violations(&external), ["it depends on serde: abi depends on nothing"]);
    assert_eq!(violations(&package("os/abi", &[])), [""; 0]);
}

#[test]
fn a_package_in_no_layer_is_found() {
    assert!(violations(&package("os/tools/x", &[]))[0].contains("in no layer"));
    assert!(violations(&package("examples", &[]))[0].contains("in no layer"));
}

#[test]
fn what_the_layers_are_for_is_allowed() {
    let allowed = [
        package("os/kernel/image", &["os/abi", "os/kernel/core", "os/lib/memory-functions", "os/lib/link"]),
        package("os/servers/ds", &["os/abi", "os/lib/service", "os/lib/link"]),
        package("os/kernel/core", &["os/abi", "os/lib/wire"]),
        package("fixtures/guest", &["os/abi", "os/lib/console", "os/lib/sys", "os/lib/wire"]),
        package("harness", &["os/abi", "os/lib/wire"]),
        package("xtask", &["harness"]),
    ];
    for package in allowed {
        assert_eq!(violations(&package), [""; 0], "{package:?}");
    }
}
