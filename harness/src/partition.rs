//! A share of the tests, for one of several machines that run the suite together.

use crate::scenario::Scenario;
use std::num::NonZeroU64;
use std::str::FromStr;
use twox_hash::XxHash64;

/// Which share, written as cargo-nextest has it: `hash:1/2`, `count:1/2` or `slice:1/2`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partition {
    way: Way,
    /// Counted from 0.
    share: u64,
    shares: NonZeroU64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By name, so that a new test doesn't move the others.
    Hash,
    /// One after the other, so that the shares are of equal size.
    Slice,
}

impl FromStr for Partition {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let read = || {
            let (way, fraction) = text.split_once(':')?;
            let way = match way {
                "hash" => Way::Hash,
                // They only differ where tests are in several binaries.
                "count" | "slice" => Way::Slice,
                _ => return None,
            };
            let (share, shares) = fraction.split_once('/')?;
            let (share, shares): (u64, NonZeroU64) = (share.parse().ok()?, shares.parse().ok()?);
            (1..=shares.get()).contains(&share).then(|| Self { way, share: share - 1, shares })
        };
        read().ok_or_else(|| "write hash:M/N, count:M/N or slice:M/N, with M from 1 to N".to_owned())
    }
}

impl Partition {
    /// The tests that are in this share.
    #[must_use]
    pub fn of(self, tests: Vec<Scenario>) -> Vec<Scenario> {
        let is_ours = |place: u64, test: &Scenario| match self.way {
            Way::Hash => hash(&test.name) % self.shares == self.share,
            Way::Slice => place % self.shares == self.share,
        };
        (0..).zip(tests).filter(|(place, test)| is_ours(*place, test)).map(|(_, test)| test).collect()
    }
}

/// The hash that cargo-nextest takes, so that a test is in the same share there.
fn hash(name: &str) -> u64 {
    XxHash64::oneshot(0, name.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tests(names: &[&str]) -> Vec<Scenario> {
        names.iter().map(|name| Scenario::of_machine(name, "", &[]).expect("a machine")).collect()
    }

    fn share(partition: &str, names: &[&str]) -> Vec<String> {
        let partition: Partition = partition.parse().expect("a partition");
        partition.of(tests(names)).into_iter().map(|test| test.name).collect()
    }

    #[test]
    fn slices_are_dealt_out_in_turn() {
        let names = ["a", "b", "c", "d", "e"];
        assert_eq!(share("slice:1/2", &names), ["a", "c", "e"]);
        assert_eq!(share("count:2/2", &names), ["b", "d"]);
        assert_eq!(share("slice:7/9", &names), [""; 0]);
        assert_eq!(share("slice:1/1", &names), names);
    }

    #[test]
    fn a_hashed_share_does_not_depend_on_the_other_tests() {
        let names: Vec<String> = (0..100).map(|number| format!("test_{number}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let shares: Vec<Vec<String>> =
            (1..=3).map(|share_number| share(&format!("hash:{share_number}/3"), &names)).collect();
        assert_eq!(shares.iter().map(Vec::len).sum::<usize>(), names.len());
        for (number, one) in shares.iter().enumerate() {
            assert!(one.len() > 15, "share {number} has {}", one.len());
            let alone: Vec<&str> = one.iter().map(String::as_str).collect();
            assert_eq!(share(&format!("hash:{}/3", number + 1), &alone), *one);
        }
    }

    #[test]
    fn hashes_are_nextests() {
        // What cargo-nextest 0.9.143 makes of a package with tests of these names.
        let names = [
            "a_failing_program_fails_the_machine",
            "a_panic_shows_where",
            "boots_through_seabios",
            "equals_take_turns",
            "image_is_noise",
            "timers_are_measured",
            "uptime_counts_nanoseconds",
            "when_everybody_waits_the_machine_hangs",
        ];
        assert_eq!(share("hash:1/3", &names), names[..2]);
        assert_eq!(share("hash:2/3", &names), [names[2], names[3], names[6]]);
        assert_eq!(share("hash:3/3", &names), [names[4], names[5], names[7]]);
    }

    #[test]
    fn what_is_no_share_is_refused() {
        for wrong in
            ["", "hash", "hash:", "hash:1", "hash:0/2", "hash:3/2", "slice:1/0", "half:1/2", "hash:1/2/3"]
        {
            assert!(wrong.parse::<Partition>().is_err(), "{wrong}");
        }
    }
}
