use super::{GDB, Host, MANAGERS, Manager, Permission, Plan, QEMU, Version, find, plan};

fn host(manager: &str) -> Host {
    let manager: &'static Manager =
        MANAGERS.iter().find(|known| known.program == manager).expect("a manager");
    Host { manager: Some(manager), is_root: false, is_ci: false, has_sudo: false }
}

fn commands(plan: Plan) -> Vec<String> {
    match plan {
        Plan::Run(commands) => commands.iter().map(|command| command.join(" ")).collect(),
        Plan::Say(text) => panic!("only said: {text}"),
    }
}

fn said(plan: Plan) -> String {
    match plan {
        Plan::Say(text) => text,
        Plan::Run(commands) => panic!("would run {commands:?}"),
    }
}

#[test]
fn nothing_is_installed_without_leave() {
    let text = said(plan(&host("apt-get"), QEMU, Permission::NotAsked));
    assert!(text.contains("    sudo apt-get update && sudo apt-get install --yes"), "{text}");
    assert!(text.contains("cargo xtask test --install"), "{text}");
    let text = said(plan(&host("dnf"), GDB, Permission::NotAsked));
    assert!(text.starts_with("gdb is not installed. Type this"), "{text}");
    // To be able to isn't leave.
    said(plan(&Host { has_sudo: true, ..host("dnf") }, QEMU, Permission::NotAsked));
    said(plan(&host("brew"), QEMU, Permission::NotAsked));
}

#[test]
fn root_and_ci_install() {
    let root = Host { is_root: true, ..host("apt-get") };
    let expected = ["apt-get update", "apt-get install --yes --no-install-recommends qemu-system-x86 gdb"];
    assert_eq!(commands(plan(&root, QEMU, Permission::NotAsked)), expected);
    let ci = Host { is_ci: true, has_sudo: true, ..host("pacman") };
    let expected = ["sudo pacman -Sy --needed --noconfirm qemu-system-x86 gdb"];
    assert_eq!(commands(plan(&ci, QEMU, Permission::NotAsked)), expected);
    // A CI run can't type a password.
    said(plan(&Host { has_sudo: false, ..ci }, QEMU, Permission::NotAsked));
}

#[test]
fn a_user_who_asks_for_it_gets_it() {
    let expected = ["sudo dnf install --assumeyes qemu-system-x86 gdb"];
    assert_eq!(commands(plan(&host("dnf"), QEMU, Permission::Given)), expected);
    assert_eq!(commands(plan(&host("brew"), QEMU, Permission::Given)), ["brew install qemu gdb"]);
}

#[test]
fn a_system_without_a_known_manager_is_told_what_is_needed() {
    let host = Host { manager: None, ..host("brew") };
    assert!(said(plan(&host, QEMU, Permission::Given)).contains("install QEMU 7.2 or later"));
}

#[test]
fn versions_are_found_in_what_programs_say() {
    assert_eq!(Version::find("QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)"), Some(Version(7, 2)));
    assert_eq!(Version::find("GNU gdb (Debian 13.1-3) 13.1"), Some(Version(13, 1)));
    assert_eq!(Version::find("rustc 1.95.0 (59807616e 2026-04-14)"), Some(Version(1, 95)));
    assert_eq!(Version::find("rustc 1.97.0-nightly"), Some(Version(1, 97)));
    assert_eq!(Version::find("version unknown 3"), None);
    assert!(Version(10, 0) > Version(7, 2) && Version(7, 10) > Version(7, 2));
}

#[test]
fn programs_are_found_in_the_path() {
    assert!(find("sh").is_some());
    assert_eq!(find("no-such-program-anywhere"), None);
}
