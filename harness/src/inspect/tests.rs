use super::{Found, Person, PostMortem, Process, Tables, circle};
use crate::dump::tests::{MEMORY, open, put};
use abi::inspect::Layout;
use abi::state::{Stops, Wait};
use abi::{Endpoint, Message};

#[test]
fn tables_that_hold_anything_give_a_report() {
    let mut state = 1u64;
    let mut random = || {
        // Knuth's MMIX generator: the upper bits are good.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 32
    };
    for _ in 0..200 {
        let mut memory: Vec<u8> = (0..MEMORY).map(|_| random().to_le_bytes()[0]).collect();
        let small: [u64; Layout::WORDS] = std::array::from_fn(|_| random() % MEMORY as u64);
        let huge = small.map(|word| if random() % 4 == 0 { u64::MAX - word } else { word });
        let layout =
            Layout { magic: Layout::MAGIC, entry_count: 64, entry_bytes: 512, ..Layout::from_words(huge) };
        put(&mut memory, 0, &layout.to_words());
        let dump = open(&memory, 0, 0);
        match Tables::at(dump.space(), 0) {
            Ok(tables) => {
                // They end, whatever they find.
                let _ = (tables.culprit(), tables.exception(), tables.idle());
                assert!(tables.processes().len() <= 64);
                assert!(tables.events().len() <= 1 << 16);
            }
            Err(error) => assert!(error.to_string().contains("impossible"), "{error}"),
        }
    }
}

#[test]
fn a_kernel_that_has_not_started_says_nothing() {
    let dump = open(&[0; MEMORY], 0, 0);
    let error = Tables::at(dump.space(), 0).err().expect("there is no magic number");
    assert_eq!(error.to_string(), "the kernel hasn't written down where its tables are");
    assert!(Tables::at(dump.space(), u64::MAX - 8).is_err());
}

fn waiting(slot: u16, wait: Wait<'static>) -> Found {
    let person =
        Person { name: format!("p{slot}"), shown: format!("p{slot}({slot})"), root: 0, rip: 0, rbp: 0 };
    let (message, stops) = (Message::zeroed(), Stops::NONE);
    Found { person, endpoint: Endpoint::at_boot(slot), wait, message, stops }
}

#[test]
fn a_circle_is_found_and_those_who_wait_for_it_are_not_in_it() {
    let [three, four, five] = [3, 4, 5].map(Endpoint::at_boot);
    let send = |to| Wait::Sending { to, message: None };
    let receive = |from| Wait::Receiving { from };
    let all = [
        waiting(2, send(three)),
        waiting(3, receive(four)),
        waiting(4, send(five)),
        waiting(5, send(three)),
        waiting(6, receive(Endpoint::ANY)),
    ];
    assert_eq!(circle(&all), [three, four, five]);
    assert_eq!(circle(&all[..3]), []);
    assert_eq!(circle(&[waiting(3, receive(three))]), [three]);
}

#[test]
fn a_bundle_without_a_dump_is_an_error() {
    let project = crate::project::Project::at(env!("CARGO_MANIFEST_DIR")).expect("an absolute path");
    let directory = tempfile::tempdir().expect("a directory");
    let error = super::examine_bundle(&project, directory.path()).expect_err("it is empty");
    assert!(format!("{error:#}").contains("failed to read"), "{error:#}");
    let images = directory.path().join(crate::report::bundles::IMAGES);
    std::fs::create_dir(images).expect("a directory");
    let error = super::examine_bundle(&project, directory.path()).expect_err("it has no dump");
    assert!(format!("{error:#}").contains("memory.core"), "{error:#}");
}

#[test]
fn all_of_many_processes_are_shown() {
    let process = Process { state: "crowd(7): runnable".into(), stack: vec![] };
    let found = PostMortem { processes: vec![process; 1000], ..PostMortem::default() };
    assert_eq!(crate::report::inspected(&found).lines().count(), 1001);
}

#[test]
fn a_report_is_lines() {
    let process = Process { state: "ds(6): running".into(), stack: vec!["main at ds.rs:7".into()] };
    let circle = vec!["a(3)".into(), "b(4)".into()];
    let found = PostMortem { processes: vec![process], circle, ..PostMortem::default() };
    assert_eq!(
        crate::report::inspected(&found),
        "processes:\n  ds(6): running\n      main at ds.rs:7\nthey wait for each other: a(3) -> b(4) -> a(3)\n"
    );
}
